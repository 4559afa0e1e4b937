-- Which of the leads are in one of the two tables, at one moment: between two statements somebody may move a lead from the
-- table that is looked at last to the one that was looked at first.
SELECT lead_id
FROM {source}
WHERE lead_id IN ({lead_ids})
UNION
SELECT lead_id
FROM {target}
WHERE lead_id IN ({lead_ids})
