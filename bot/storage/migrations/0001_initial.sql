-- Times are unix seconds. JSON columns hold values of engine.contracts. Migrations are append-only: never edit this file, add the next.

CREATE TABLE users (
    user_id INTEGER PRIMARY KEY,
    display_name TEXT NOT NULL,
    daily_units INTEGER CHECK (daily_units >= 0),  -- NULL: the server's, else the installation's
    seen_at REAL NOT NULL
) STRICT;

CREATE TABLE guilds (
    guild_id INTEGER PRIMARY KEY,
    daily_units INTEGER CHECK (daily_units >= 0)
) STRICT;

CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    lane TEXT NOT NULL,
    base TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('queued', 'dispatched', 'running', 'succeeded', 'failed', 'cancelled')),
    request TEXT NOT NULL,
    owner_id INTEGER NOT NULL,
    owner_name TEXT NOT NULL,
    guild_id INTEGER,
    channel_id INTEGER NOT NULL,
    interaction_id INTEGER NOT NULL UNIQUE,
    units INTEGER NOT NULL CHECK (units >= 0),
    units_charged INTEGER CHECK (units_charged BETWEEN 0 AND units),
    fair_start REAL NOT NULL,   -- start-time fair queueing: order of dispatch within (base, lane)
    fair_finish REAL NOT NULL,
    created_at REAL NOT NULL,
    dispatched_at REAL,
    started_at REAL,
    finished_at REAL,
    attempt INTEGER NOT NULL DEFAULT 0,
    last_seq INTEGER NOT NULL DEFAULT -1,
    losses INTEGER NOT NULL DEFAULT 0,  -- times Redis or a worker lost the job
    worker_id TEXT,
    steps_done INTEGER NOT NULL DEFAULT 0,
    total_steps INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    failure TEXT,
    failure_detail TEXT,
    result TEXT,
    preview TEXT,
    posted_channel_id INTEGER,
    posted_message_id INTEGER,
    deleted INTEGER NOT NULL DEFAULT 0,
    CHECK ((status IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK ((finished_at IS NULL) = (units_charged IS NULL))
) STRICT;
CREATE INDEX jobs_waiting ON jobs (base, lane, status, fair_start, job_id, units);
CREATE INDEX jobs_of_owner ON jobs (owner_id, finished_at);
CREATE INDEX jobs_fair_share ON jobs (owner_id, base, lane, fair_finish);
CREATE INDEX jobs_open ON jobs (status) WHERE finished_at IS NULL;
CREATE INDEX jobs_measured ON jobs (base, lane, finished_at) WHERE status = 'succeeded';
CREATE INDEX jobs_image ON jobs (json_extract(request, '$.image.key')) WHERE kind = 'generate_video';

CREATE TABLE lane_clocks (
    base TEXT NOT NULL,
    lane TEXT NOT NULL,
    virtual_time REAL NOT NULL,
    PRIMARY KEY (base, lane)
) STRICT;

CREATE TABLE ledger (
    entry_id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL,
    user_id INTEGER NOT NULL,
    guild_id INTEGER,
    window_start REAL NOT NULL,  -- of the reservation, also in the entry that ends it
    kind TEXT NOT NULL CHECK (kind IN ('reserve', 'settle', 'refund')),
    held INTEGER NOT NULL,   -- change of units held by open jobs
    spent INTEGER NOT NULL,  -- change of units spent for good
    created_at REAL NOT NULL,
    CHECK (CASE kind
        WHEN 'reserve' THEN held >= 0 AND spent = 0
        WHEN 'settle' THEN held <= 0 AND spent BETWEEN 0 AND -held
        ELSE held <= 0 AND spent = 0 END)
) STRICT;
CREATE UNIQUE INDEX ledger_one_reserve ON ledger (job_id) WHERE kind = 'reserve';
CREATE UNIQUE INDEX ledger_one_end ON ledger (job_id) WHERE kind <> 'reserve';
CREATE INDEX ledger_balance ON ledger (user_id, window_start, held, spent);
CREATE TRIGGER ledger_keeps_entries BEFORE DELETE ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER ledger_keeps_amounts BEFORE UPDATE OF entry_id, job_id, window_start, kind, held, spent, created_at ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;

CREATE TABLE datasets (
    dataset_id TEXT PRIMARY KEY,
    owner_id INTEGER NOT NULL,
    guild_id INTEGER,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    trigger_word TEXT,
    state TEXT NOT NULL CHECK (state IN ('draft', 'started', 'discarded')),
    job_id TEXT REFERENCES jobs (job_id),
    created_at REAL NOT NULL,
    CHECK ((state = 'started') = (job_id IS NOT NULL))
) STRICT;
CREATE INDEX datasets_drafts ON datasets (owner_id, name) WHERE state = 'draft';
CREATE INDEX datasets_age ON datasets (created_at) WHERE state = 'draft';

CREATE TABLE dataset_items (
    item_id INTEGER PRIMARY KEY,
    dataset_id TEXT NOT NULL REFERENCES datasets (dataset_id) ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    media TEXT NOT NULL,
    filename TEXT NOT NULL,
    caption TEXT,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    num_frames INTEGER NOT NULL,
    UNIQUE (dataset_id, sha256)
) STRICT;
CREATE INDEX dataset_items_content ON dataset_items (sha256);

CREATE TABLE loras (
    lora_id TEXT PRIMARY KEY,
    owner_id INTEGER NOT NULL,
    owner_name TEXT NOT NULL,
    guild_id INTEGER,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    trigger_word TEXT,
    base TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('training', 'ready', 'gone')),
    job_id TEXT NOT NULL REFERENCES jobs (job_id),
    file TEXT,
    preview TEXT,
    poster TEXT,
    loss_curve TEXT,
    manifest TEXT,
    uses INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    CHECK (state <> 'ready' OR file IS NOT NULL)
) STRICT;
-- A name means one LoRA to its owner anywhere and to everybody in its server.
CREATE UNIQUE INDEX loras_name_of_owner ON loras (owner_id, name) WHERE state <> 'gone';
CREATE UNIQUE INDEX loras_name_in_guild ON loras (guild_id, name) WHERE state <> 'gone' AND guild_id IS NOT NULL;
CREATE INDEX loras_of_job ON loras (job_id);

CREATE TABLE outbox (
    post_id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (job_id),
    kind TEXT NOT NULL,
    nonce TEXT NOT NULL UNIQUE CHECK (length(nonce) <= 25),
    payload TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'undeliverable')),
    tries INTEGER NOT NULL DEFAULT 0,
    first_try_at REAL,
    next_try_at REAL NOT NULL,
    channel_id INTEGER,
    message_id INTEGER,
    error TEXT,
    created_at REAL NOT NULL,
    UNIQUE (job_id, kind)
) STRICT;
CREATE INDEX outbox_due ON outbox (next_try_at) WHERE state = 'pending';

CREATE TABLE cards (
    job_id TEXT PRIMARY KEY REFERENCES jobs (job_id),
    nonce TEXT NOT NULL UNIQUE CHECK (length(nonce) <= 25),
    message_id INTEGER,
    closed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX cards_live ON cards (job_id) WHERE closed = 0;

CREATE TABLE cursors (
    stream TEXT PRIMARY KEY,
    position TEXT NOT NULL
) STRICT;
