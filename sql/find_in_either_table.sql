-- The leads that are in at least one of the two tables. Between two statements, a lead could be moved from the table that is
-- read last to the one that was read first. InnoDB reads both at one moment; on MyISAM, this must be repeated for leads that it
-- does not find.
SELECT lead_id
FROM {source}
WHERE lead_id IN ({lead_ids})
UNION
SELECT lead_id
FROM {target}
WHERE lead_id IN ({lead_ids})
