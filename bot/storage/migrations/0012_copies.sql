-- A LoRA's passport says what data it was made of, also in a file that somebody brings back; copies share the fate of the original.
CREATE INDEX lora_versions_of_data ON lora_versions (json_extract(manifest, '$.data_sha256'), lora_id);
