-- "/verify" asks whether a file is, byte for byte, a result of ours.
CREATE INDEX jobs_by_result_file ON jobs (json_extract(result, '$.file.sha256')) WHERE result IS NOT NULL;
CREATE INDEX jobs_by_result_preview ON jobs (json_extract(result, '$.preview.sha256')) WHERE result IS NOT NULL;
