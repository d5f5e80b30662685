-- Terms, likenesses, prompt rules, reports, takedowns, the audit log, shared clips, people who asked to be forgotten.

CREATE TABLE terms (
    user_id INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    accepted_at REAL NOT NULL
) STRICT;

-- Whom a training shows. NULL: nobody real, says its owner.
ALTER TABLE datasets ADD COLUMN person_id INTEGER;
CREATE TABLE likenesses (
    dataset_id TEXT PRIMARY KEY REFERENCES datasets (dataset_id) ON DELETE CASCADE,
    lora_id TEXT,  -- NULL until its training is started
    person_id INTEGER NOT NULL,
    owner_id INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('stated', 'asked', 'granted', 'revoked')),
    changed_at REAL NOT NULL
) STRICT;
CREATE INDEX likenesses_of_person ON likenesses (person_id, state);
CREATE INDEX likenesses_of_owner ON likenesses (owner_id);
CREATE INDEX likenesses_of_lora ON likenesses (lora_id);

CREATE TABLE prompt_rules (
    rule_id TEXT PRIMARY KEY,
    guild_id INTEGER NOT NULL,  -- 0: everywhere
    kind TEXT NOT NULL CHECK (kind IN ('word', 'pattern')),
    expression TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_by INTEGER NOT NULL,
    created_at REAL NOT NULL,
    UNIQUE (guild_id, kind, expression)
) STRICT;

ALTER TABLE jobs ADD COLUMN adult_channel INTEGER NOT NULL DEFAULT 0;  -- the job's channel is marked for adults
ALTER TABLE jobs ADD COLUMN withheld TEXT CHECK (withheld IN ('adult', 'takedown', 'unchecked'));  -- NULL: its result may be seen

CREATE INDEX jobs_posted ON jobs (posted_message_id) WHERE posted_message_id IS NOT NULL;
CREATE INDEX cards_message ON cards (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE reports (
    report_id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    guild_id INTEGER,
    reporter_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    note TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'upheld', 'dismissed')),
    created_at REAL NOT NULL,
    decided_by INTEGER,
    decided_at REAL,
    UNIQUE (job_id, reporter_id)
) STRICT;
CREATE INDEX reports_open ON reports (guild_id, created_at) WHERE state = 'open';

-- Content that may never be shown again. Keyed with the installation's secret, so that the hash of a person's file is not in here.
CREATE TABLE takedowns (
    fingerprint TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE audit (
    entry_id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    actor_id INTEGER NOT NULL,  -- 0: nobody any more
    guild_id INTEGER,
    action TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;
CREATE INDEX audit_of_guild ON audit (guild_id, entry_id);
CREATE INDEX audit_of_actor ON audit (actor_id);

CREATE TABLE shares (
    share_id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL UNIQUE REFERENCES jobs (job_id) ON DELETE CASCADE,
    created_at REAL NOT NULL
) STRICT;

-- A person to forget, until nothing of them is left; then this row goes too.
CREATE TABLE erasures (
    user_id INTEGER PRIMARY KEY,
    requested_at REAL NOT NULL
) STRICT;
