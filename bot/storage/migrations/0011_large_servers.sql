-- Reports about a server add up days, not jobs: how many of its jobs are in which status is kept beside them, by triggers.
CREATE TABLE job_counts (
    guild_id INTEGER NOT NULL,
    day REAL NOT NULL,  -- the UTC day they were submitted on
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    jobs INTEGER NOT NULL CHECK (jobs >= 0),
    PRIMARY KEY (guild_id, day, kind, status)
) STRICT, WITHOUT ROWID;
INSERT INTO job_counts
    SELECT guild_id, CAST(created_at / 86400 AS INTEGER) * 86400.0, kind, status, count(*) FROM jobs WHERE guild_id IS NOT NULL GROUP BY 1, 2, 3, 4;
CREATE TRIGGER job_counts_insert AFTER INSERT ON jobs WHEN new.guild_id IS NOT NULL BEGIN
    INSERT INTO job_counts VALUES (new.guild_id, CAST(new.created_at / 86400 AS INTEGER) * 86400.0, new.kind, new.status, 1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER job_counts_status AFTER UPDATE OF status ON jobs WHEN new.guild_id IS NOT NULL AND new.status <> old.status BEGIN
    UPDATE job_counts SET jobs = jobs - 1
    WHERE guild_id = new.guild_id AND day = CAST(new.created_at / 86400 AS INTEGER) * 86400.0 AND kind = new.kind AND status = old.status;
    INSERT INTO job_counts VALUES (new.guild_id, CAST(new.created_at / 86400 AS INTEGER) * 86400.0, new.kind, new.status, 1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER job_counts_delete AFTER DELETE ON jobs WHEN old.guild_id IS NOT NULL BEGIN
    UPDATE job_counts SET jobs = jobs - 1
    WHERE guild_id = old.guild_id AND day = CAST(old.created_at / 86400 AS INTEGER) * 86400.0 AND kind = old.kind AND status = old.status;
END;

-- What the report needed of this index it no longer needs.
DROP INDEX jobs_of_guild;
CREATE INDEX jobs_of_guild ON jobs (guild_id, created_at);

-- Foreign keys are checked from both ends: without these a job or LoRA that goes has every data set looked at.
CREATE INDEX datasets_of_job ON datasets (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX datasets_of_lora ON datasets (lora_id) WHERE lora_id IS NOT NULL;

-- Everything of one person, also what is gone or over: for their export, and to forget them.
CREATE INDEX loras_ever_of_owner ON loras (owner_id);
CREATE INDEX datasets_of_owner ON datasets (owner_id);
CREATE INDEX reports_of_reporter ON reports (reporter_id);
