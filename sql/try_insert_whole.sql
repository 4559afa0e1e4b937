-- As try_insert, for insert_whole_leads: the server also asks for INSERT on the columns that RETURNING reads, such as generated
-- ones.
INSERT INTO {target} ({target_columns}) VALUES ({nulls})
RETURNING (SELECT {stored_whole} FROM {source} AS source WHERE source.lead_id = {target}.lead_id), {fingerprint}
