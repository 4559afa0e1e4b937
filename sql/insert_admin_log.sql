-- Tell supervisors of a batch in Vicidial's Admin Change Log, as Vicidial's own archiving script does. The time is local, as in
-- all of Vicidial's tables.
INSERT INTO vicidial_admin_log
    (event_date, user, ip_address, event_section, event_type, record_id, event_code, event_sql, event_notes)
VALUES (
    CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@GLOBAL.time_zone),
    {user}, {ip_address}, 'LISTS', 'MODIFY', 'leads', {event_code}, '', {event_notes}
)
