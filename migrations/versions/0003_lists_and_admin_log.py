"""Test copies of vicidial_lists, which says to which campaign a list belongs, and of vicidial_admin_log, the Admin Change Log

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = {
    "vicidial_lists": """
        list_id BIGINT(14) UNSIGNED PRIMARY KEY NOT NULL,
        list_name VARCHAR(30),
        campaign_id VARCHAR(8),
        active ENUM('Y','N'),
        list_description VARCHAR(255),
        list_changedate DATETIME,
        list_lastcalldate DATETIME
    """,
    "vicidial_admin_log": """
        admin_log_id INT(9) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
        event_date DATETIME NOT NULL,
        user VARCHAR(20) NOT NULL,
        ip_address VARCHAR(15) NOT NULL,
        event_section VARCHAR(30) NOT NULL,
        event_type ENUM('ADD','COPY','LOAD','RESET','MODIFY','DELETE','SEARCH','LOGIN','LOGOUT','CLEAR','OVERRIDE','EXPORT',
            'OTHER') DEFAULT 'OTHER',
        record_id VARCHAR(50) NOT NULL,
        event_code VARCHAR(255) NOT NULL,
        event_sql MEDIUMTEXT,
        event_notes MEDIUMTEXT,
        user_group VARCHAR(20) DEFAULT '---ALL---',
        INDEX (user),
        INDEX (event_section),
        INDEX (record_id)
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
