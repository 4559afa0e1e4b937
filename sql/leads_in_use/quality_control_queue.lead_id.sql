-- Leads that a supervisor has claimed for quality control. That page reads and writes vicidial_list only.
SELECT lead_id
FROM quality_control_queue{key_hint}
WHERE lead_id IN ({lead_ids})
    AND qc_status = 'CLAIMED'
