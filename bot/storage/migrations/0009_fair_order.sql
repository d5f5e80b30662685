-- The order of dispatch in seconds (bot/services/scheduling.py), per pool of workers: 'shared', or 'guild:<id>' for a server's own.
ALTER TABLE jobs ADD COLUMN plan TEXT NOT NULL DEFAULT 'free';
ALTER TABLE jobs ADD COLUMN pool TEXT NOT NULL DEFAULT 'shared';
ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;  -- jobs of the owner that waited in the lane before it
ALTER TABLE jobs ADD COLUMN contract_version INTEGER NOT NULL DEFAULT 1;  -- the lowest a worker needs
ALTER TABLE jobs ADD COLUMN spill_at REAL;  -- from then on any shared worker may run it; NULL: never
DROP INDEX jobs_fair_share;
ALTER TABLE jobs RENAME COLUMN fair_finish TO fair_due;  -- the place before the head start of its plan
UPDATE jobs SET fair_start = created_at, fair_due = created_at;

DROP INDEX jobs_waiting;
CREATE INDEX jobs_waiting ON jobs (base, lane, pool, status, fair_start, job_id, units, contract_version);
CREATE INDEX jobs_of_server ON jobs (guild_id, base, lane, pool, turn) WHERE status = 'queued';
CREATE INDEX jobs_spilling ON jobs (spill_at) WHERE status = 'queued' AND spill_at IS NOT NULL;

DROP TABLE lane_clocks;
CREATE TABLE lanes (
    base TEXT NOT NULL,
    lane TEXT NOT NULL,
    pool TEXT NOT NULL,
    ahead_s REAL NOT NULL DEFAULT 0,  -- how far the lane's clock is before real time
    PRIMARY KEY (base, lane, pool)
) STRICT, WITHOUT ROWID;
INSERT INTO lanes (base, lane, pool) SELECT DISTINCT base, lane, pool FROM jobs;
