"""Test copies of the tables of Vicidial that the service reads or writes, as Vicidial's schema of 2024-11 makes them

Revision ID: 0001
"""

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None

# In Vicidial's order. modify_date is just "TIMESTAMP" there: what servers before MariaDB 10.10 made of that is spelled out.
VICIDIAL_LIST = """
    lead_id INT(9) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
    entry_date DATETIME,
    modify_date TIMESTAMP NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
    status VARCHAR(6),
    user VARCHAR(20),
    vendor_lead_code VARCHAR(20),
    source_id VARCHAR(50),
    list_id BIGINT(14) UNSIGNED NOT NULL DEFAULT '0',
    gmt_offset_now DECIMAL(4,2) DEFAULT '0.00',
    called_since_last_reset ENUM('Y','N','Y1','Y2','Y3','Y4','Y5','Y6','Y7','Y8','Y9','Y10','D') DEFAULT 'N',
    phone_code VARCHAR(10),
    phone_number VARCHAR(18) NOT NULL,
    title VARCHAR(4),
    first_name VARCHAR(30),
    middle_initial VARCHAR(1),
    last_name VARCHAR(30),
    address1 VARCHAR(100),
    address2 VARCHAR(100),
    address3 VARCHAR(100),
    city VARCHAR(50),
    state VARCHAR(2),
    province VARCHAR(50),
    postal_code VARCHAR(10),
    country_code VARCHAR(3),
    gender ENUM('M','F','U') DEFAULT 'U',
    date_of_birth DATE,
    alt_phone VARCHAR(12),
    email VARCHAR(70),
    security_phrase VARCHAR(100),
    comments VARCHAR(255),
    called_count SMALLINT(5) UNSIGNED DEFAULT '0',
    last_local_call_time DATETIME,
    `rank` SMALLINT(5) NOT NULL DEFAULT '0',
    owner VARCHAR(20) DEFAULT '',
    entry_list_id BIGINT(14) UNSIGNED NOT NULL DEFAULT '0',
    INDEX (phone_number),
    INDEX (list_id),
    INDEX (called_since_last_reset),
    INDEX (status),
    INDEX (gmt_offset_now),
    INDEX (postal_code),
    INDEX (last_local_call_time),
    INDEX (`rank`),
    INDEX (owner),
    INDEX phone_list (phone_number, list_id),
    INDEX list_phone (list_id, phone_number),
    INDEX list_status (list_id, status)
"""

VICIDIAL_HOPPER = """
    hopper_id INT(9) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
    lead_id INT(9) UNSIGNED NOT NULL,
    campaign_id VARCHAR(8),
    status ENUM('READY','QUEUE','INCALL','DONE','HOLD','DNC','RHOLD','RQUEUE'),
    INDEX (lead_id)
"""

VICIDIAL_LIVE_AGENTS = """
    live_agent_id INT(9) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
    user VARCHAR(20),
    status ENUM('READY','QUEUE','INCALL','PAUSED','CLOSER','MQUEUE'),
    lead_id INT(9) UNSIGNED NOT NULL,
    campaign_id VARCHAR(8),
    preview_lead_id INT(9) UNSIGNED DEFAULT '0',
    external_lead_id INT(9) UNSIGNED DEFAULT '0'
"""

VICIDIAL_AUTO_CALLS = """
    auto_call_id INT(9) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
    campaign_id VARCHAR(20),
    status ENUM('SENT','RINGING','LIVE','XFER','PAUSED','CLOSER','BUSY','DISCONNECT','IVR'),
    lead_id INT(9) UNSIGNED NOT NULL
"""

VICIDIAL_CALLBACKS = """
    callback_id INT(9) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
    lead_id INT(9),
    list_id BIGINT(14) UNSIGNED,
    campaign_id VARCHAR(20),
    status VARCHAR(10),
    entry_time DATETIME,
    callback_time DATETIME,
    user VARCHAR(20),
    INDEX (lead_id)
"""


def upgrade() -> None:
    drop_marked_tables()  # MariaDB does not roll CREATE TABLE back: an upgrade that failed half-way may have left some
    options = op.get_context().opts
    table_options = f"ENGINE={options['vicidial_engine']} COMMENT='{options['vicidial_mark']}'"
    op.execute(f"CREATE TABLE vicidial_list ({VICIDIAL_LIST}) {table_options}")
    # Vicidial has no archive of its own: its documentation tells the administrator to run these two.
    op.execute("CREATE TABLE vicidial_list_archive LIKE vicidial_list")
    op.execute("ALTER TABLE vicidial_list_archive MODIFY lead_id INT(9) UNSIGNED NOT NULL")
    op.execute(f"CREATE TABLE vicidial_hopper ({VICIDIAL_HOPPER}) {table_options}")
    op.execute(f"CREATE TABLE vicidial_live_agents ({VICIDIAL_LIVE_AGENTS}) {table_options}")
    op.execute(f"CREATE TABLE vicidial_auto_calls ({VICIDIAL_AUTO_CALLS}) {table_options}")
    op.execute(f"CREATE TABLE vicidial_callbacks ({VICIDIAL_CALLBACKS}) {table_options}")


def downgrade() -> None:
    drop_marked_tables()


def drop_marked_tables() -> None:
    """Drop the tables that an upgrade made, and by their mark no others: this may run on a database that has real ones."""
    marked = text(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name LIKE 'vicidial%' AND table_comment = :mark"
    )
    for name in op.get_bind().scalars(marked, {"mark": op.get_context().opts["vicidial_mark"]}).all():
        op.execute(f"DROP TABLE `{name}`")
