"""Test copies of four more tables of Vicidial that tell of leads in use, as Vicidial's schema of 2025 makes them

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = {
    "vicidial_inbound_callback_queue": """
        icbq_id INT(9) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
        icbq_date DATETIME,
        icbq_status VARCHAR(10),
        icbq_phone_number VARCHAR(20),
        icbq_phone_code VARCHAR(10),
        icbq_nextday_choice ENUM('Y','N','U') DEFAULT 'U',
        lead_id INT(9) UNSIGNED NOT NULL,
        group_id VARCHAR(20) NOT NULL,
        queue_priority TINYINT(2) DEFAULT '0',
        call_date DATETIME,
        gmt_offset_now DECIMAL(4,2) DEFAULT '0.00',
        modify_date TIMESTAMP NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
        INDEX (icbq_status),
        INDEX (group_id),
        INDEX (icbq_date),
        INDEX (call_date)
    """,
    "vicidial_email_list": """
        email_row_id INT(10) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
        lead_id INT(9) UNSIGNED,
        email_date DATETIME,
        status VARCHAR(10),
        direction ENUM('INBOUND','OUTBOUND') DEFAULT 'INBOUND',
        user VARCHAR(20),
        group_id VARCHAR(20),
        INDEX (lead_id)
    """,
    "vicidial_live_chats": """
        chat_id INT(9) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
        chat_start_time DATETIME,
        status VARCHAR(20),
        chat_creator VARCHAR(20),
        group_id VARCHAR(20),
        lead_id INT(9) UNSIGNED,
        INDEX (lead_id)
    """,
    "quality_control_queue": """
        qc_log_id INT(10) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
        lead_id INT(10) UNSIGNED,
        qc_status VARCHAR(20),
        INDEX (lead_id)
    """,
}


def upgrade() -> None:
    drop_tables()  # MariaDB does not roll CREATE TABLE back: an upgrade that failed half-way may have left some
    options = op.get_context().opts
    for name, columns in TABLES.items():
        op.execute(f"CREATE TABLE {name} ({columns}) ENGINE={options['vicidial_engine']} COMMENT='{options['vicidial_mark']}'")


def downgrade() -> None:
    drop_tables()


def drop_tables() -> None:
    """Drop the tables. They are test copies: env.py has refused a database with others of these names."""
    for name in TABLES:
        op.execute(f"DROP TABLE IF EXISTS {name}")
