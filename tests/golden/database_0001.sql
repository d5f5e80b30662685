BEGIN TRANSACTION;
CREATE TABLE cards (
    job_id TEXT PRIMARY KEY REFERENCES jobs (job_id),
    nonce TEXT NOT NULL UNIQUE CHECK (length(nonce) <= 25),
    message_id INTEGER,
    closed INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO "cards" VALUES('01JD0000000000000000000002','c1',99,1);
INSERT INTO "cards" VALUES('01JD0000000000000000000006','c2',NULL,0);
CREATE TABLE cursors (
    stream TEXT PRIMARY KEY,
    position TEXT NOT NULL
) STRICT;
INSERT INTO "cursors" VALUES('callsheet:events','12-0');
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
INSERT INTO "dataset_items" VALUES(1,'01JD0000000000000000000201','abababababababababababababababababababababababababababababababab','{"key":"uploads/1/a.png","sha256":"abababababababababababababababababababababababababababababababab","size":3,"media_type":"image/png"}','a.png',NULL,64,64,1);
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
INSERT INTO "datasets" VALUES('01JD0000000000000000000201',1,10,'zoko','character','zoko','started','01JD0000000000000000000001',1790000000.0);
INSERT INTO "datasets" VALUES('01JD0000000000000000000202',2,10,'dusk','style',NULL,'draft',NULL,1790000000.0);
CREATE TABLE guilds (
    guild_id INTEGER PRIMARY KEY,
    daily_units INTEGER CHECK (daily_units >= 0)
) STRICT;
INSERT INTO "guilds" VALUES(10,500);
INSERT INTO "guilds" VALUES(11,NULL);
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
INSERT INTO "jobs" VALUES('01JD0000000000000000000001','train_lora','train','tiny','succeeded','{"job_id": "01JD0000000000000000000001", "base": "tiny", "lora_id": "01JD0000000000000000000101", "name": "zoko", "lora_kind": "character", "trigger": "zoko", "items": [{"media": {"key": "uploads/1/a.png", "sha256": "abababababababababababababababababababababababababababababababab", "size": 3, "media_type": "image/png"}, "filename": "a.png"}], "rank": 16, "steps": 400, "learning_rate": 0.001, "batch_size": 8, "width": 32, "height": 32, "seed": 1, "preview_prompt": "zoko on a beach", "kind": "train_lora", "version": 1}',1,'maker',10,20,1000,200,200,0.0,200.0,1790000000.0,1790000000.0,1790000001.0,1790000005.0,1,-1,0,NULL,0,0,0,NULL,NULL,'{"lora_id": "01JD0000000000000000000101", "file": {"key": "loras/01JD0000000000000000000101/01JD0000000000000000000001.safetensors", "sha256": "abababababababababababababababababababababababababababababababab", "size": 3, "media_type": "application/x-safetensors"}, "manifest": {"name": "zoko", "kind": "character", "trigger": "zoko", "base": "tiny", "base_revision": "tiny-1", "rank": 16, "targets": ["attn1", "attn2", "ff"], "steps": 400, "learning_rate": 0.001, "width": 32, "height": 32, "items": 24, "data_sha256": "abababababababababababababababababababababababababababababababab", "seed": 1, "created_at": "2026-11-23T00:00:00Z"}, "preview": null, "poster": null, "loss_curve": null, "steps": 400, "seconds": 60.0, "kind": "lora_trained"}',NULL,NULL,NULL,0);
INSERT INTO "jobs" VALUES('01JD0000000000000000000002','generate_video','render','tiny','succeeded','{"job_id": "01JD0000000000000000000002", "base": "tiny", "prompt": "zoko walking left on a beach", "adapters": [{"lora_id": "01JD0000000000000000000101", "name": "zoko", "kind": "character", "trigger": "zoko", "file": {"key": "loras/lora1/x.safetensors", "sha256": "abababababababababababababababababababababababababababababababab", "size": 3, "media_type": "application/x-safetensors"}, "weight": 1.0}], "geometry": {"width": 32, "height": 32, "num_frames": 9, "fps": 8.0}, "seed": 7, "max_bytes": 10485760, "kind": "generate_video", "version": 1}',1,'maker',10,20,1001,2,2,1.0,3.0,1790000001.0,1790000001.0,1790000002.0,1790000006.0,1,-1,0,NULL,0,0,0,NULL,NULL,'{"file": {"key": "jobs/01JD0000000000000000000002/1/clip.mp4", "sha256": "abababababababababababababababababababababababababababababababab", "size": 3, "media_type": "video/mp4"}, "poster": null, "geometry": {"width": 32, "height": 32, "num_frames": 9, "fps": 8.0}, "posted_width": 256, "posted_height": 256, "seed": 7, "seconds": 2.0, "kind": "video_rendered"}',NULL,NULL,NULL,0);
INSERT INTO "jobs" VALUES('01JD0000000000000000000003','generate_video','render','tiny','failed','{"job_id": "01JD0000000000000000000003", "base": "tiny", "prompt": "zoko walking left on a beach", "adapters": [{"lora_id": "01JD0000000000000000000101", "name": "zoko", "kind": "character", "trigger": "zoko", "file": {"key": "loras/lora1/x.safetensors", "sha256": "abababababababababababababababababababababababababababababababab", "size": 3, "media_type": "application/x-safetensors"}, "weight": 1.0}], "geometry": {"width": 32, "height": 32, "num_frames": 9, "fps": 8.0}, "seed": 7, "max_bytes": 10485760, "kind": "generate_video", "version": 1}',1,'maker',10,20,1002,2,0,2.0,4.0,1790000002.0,1790000002.0,1790000003.0,1790000007.0,1,-1,0,NULL,0,0,0,'internal',NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "jobs" VALUES('01JD0000000000000000000004','train_lora','train','tiny','cancelled','{"job_id": "01JD0000000000000000000004", "base": "tiny", "lora_id": "01JD0000000000000000000101", "name": "zoko", "lora_kind": "character", "trigger": "zoko", "items": [{"media": {"key": "uploads/1/a.png", "sha256": "abababababababababababababababababababababababababababababababab", "size": 3, "media_type": "image/png"}, "filename": "a.png"}], "rank": 16, "steps": 400, "learning_rate": 0.001, "batch_size": 8, "width": 32, "height": 32, "seed": 1, "preview_prompt": "zoko on a beach", "kind": "train_lora", "version": 1}',2,'guest',10,20,1003,200,50,3.0,203.0,1790000003.0,1790000003.0,1790000004.0,1790000008.0,1,-1,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "jobs" VALUES('01JD0000000000000000000005','generate_video','render','tiny','running','{"job_id": "01JD0000000000000000000005", "base": "tiny", "prompt": "zoko walking left on a beach", "adapters": [{"lora_id": "01JD0000000000000000000101", "name": "zoko", "kind": "character", "trigger": "zoko", "file": {"key": "loras/lora1/x.safetensors", "sha256": "abababababababababababababababababababababababababababababababab", "size": 3, "media_type": "application/x-safetensors"}, "weight": 1.0}], "geometry": {"width": 32, "height": 32, "num_frames": 9, "fps": 8.0}, "seed": 7, "max_bytes": 10485760, "kind": "generate_video", "version": 1}',1,'maker',10,20,1004,2,NULL,4.0,6.0,1790000004.0,1790000004.0,1790000005.0,NULL,1,-1,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "jobs" VALUES('01JD0000000000000000000006','generate_video','render','tiny','queued','{"job_id": "01JD0000000000000000000006", "base": "tiny", "prompt": "zoko walking left on a beach", "adapters": [{"lora_id": "01JD0000000000000000000101", "name": "zoko", "kind": "character", "trigger": "zoko", "file": {"key": "loras/lora1/x.safetensors", "sha256": "abababababababababababababababababababababababababababababababab", "size": 3, "media_type": "application/x-safetensors"}, "weight": 1.0}], "geometry": {"width": 32, "height": 32, "num_frames": 9, "fps": 8.0}, "seed": 7, "max_bytes": 10485760, "kind": "generate_video", "version": 1}',2,'guest',10,20,1005,3,NULL,5.0,8.0,1790000005.0,NULL,NULL,NULL,0,-1,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "jobs" VALUES('01JD0000000000000000000007','generate_video','render','tiny','queued','{"job_id": "01JD0000000000000000000007", "base": "tiny", "prompt": "zoko walking left on a beach", "adapters": [{"lora_id": "01JD0000000000000000000101", "name": "zoko", "kind": "character", "trigger": "zoko", "file": {"key": "loras/lora1/x.safetensors", "sha256": "abababababababababababababababababababababababababababababababab", "size": 3, "media_type": "application/x-safetensors"}, "weight": 1.0}], "geometry": {"width": 32, "height": 32, "num_frames": 9, "fps": 8.0}, "seed": 7, "max_bytes": 10485760, "kind": "generate_video", "version": 1}',1,'maker',10,20,1006,2,NULL,6.0,8.0,1790000006.0,NULL,NULL,NULL,0,-1,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,0);
CREATE TABLE lane_clocks (
    base TEXT NOT NULL,
    lane TEXT NOT NULL,
    virtual_time REAL NOT NULL,
    PRIMARY KEY (base, lane)
) STRICT;
INSERT INTO "lane_clocks" VALUES('tiny','render',4.0);
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
INSERT INTO "ledger" VALUES(1,'01JD0000000000000000000001',1,10,1789948800.0,'reserve',200,0,1790000000.0);
INSERT INTO "ledger" VALUES(2,'01JD0000000000000000000001',1,10,1789948800.0,'settle',-200,200,1790000005.0);
INSERT INTO "ledger" VALUES(3,'01JD0000000000000000000002',1,10,1789948800.0,'reserve',2,0,1790000000.0);
INSERT INTO "ledger" VALUES(4,'01JD0000000000000000000002',1,10,1789948800.0,'settle',-2,2,1790000005.0);
INSERT INTO "ledger" VALUES(5,'01JD0000000000000000000003',1,10,1789948800.0,'reserve',2,0,1790000000.0);
INSERT INTO "ledger" VALUES(6,'01JD0000000000000000000003',1,10,1789948800.0,'refund',-2,0,1790000005.0);
INSERT INTO "ledger" VALUES(7,'01JD0000000000000000000004',2,10,1789948800.0,'reserve',200,0,1790000000.0);
INSERT INTO "ledger" VALUES(8,'01JD0000000000000000000004',2,10,1789948800.0,'settle',-200,50,1790000005.0);
INSERT INTO "ledger" VALUES(9,'01JD0000000000000000000005',1,10,1789948800.0,'reserve',2,0,1790000000.0);
INSERT INTO "ledger" VALUES(10,'01JD0000000000000000000006',2,10,1789948800.0,'reserve',3,0,1790000000.0);
INSERT INTO "ledger" VALUES(11,'01JD0000000000000000000007',1,10,1789948800.0,'reserve',2,0,1790000000.0);
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
INSERT INTO "loras" VALUES('01JD0000000000000000000101',1,'maker',10,'zoko','character','zoko','tiny','ready','01JD0000000000000000000001','{"key":"loras/x/y.safetensors","sha256":"abababababababababababababababababababababababababababababababab","size":1000,"media_type":"application/x-safetensors"}',NULL,NULL,NULL,'{"name": "zoko", "kind": "character", "trigger": "zoko", "base": "tiny", "base_revision": "tiny-1", "rank": 16, "targets": ["attn1", "attn2", "ff"], "steps": 400, "learning_rate": 0.001, "width": 32, "height": 32, "items": 24, "data_sha256": "abababababababababababababababababababababababababababababababab", "seed": 1, "created_at": "2026-11-23T00:00:00Z"}',3,1790000000.0);
CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at REAL NOT NULL) STRICT;
INSERT INTO "migrations" VALUES(1,'0001_initial.sql','eec50752b724f4e6be362dbabb2f2b360816ca93d0092a4dac98212160706c0b',1.79542125918944954869e+09);
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
INSERT INTO "outbox" VALUES(1,'01JD0000000000000000000002','result','r1','{}','sent',0,NULL,1790000000.0,NULL,NULL,NULL,1790000000.0);
CREATE TABLE users (
    user_id INTEGER PRIMARY KEY,
    display_name TEXT NOT NULL,
    daily_units INTEGER CHECK (daily_units >= 0),  -- NULL: the server's, else the installation's
    seen_at REAL NOT NULL
) STRICT;
INSERT INTO "users" VALUES(1,'maker',NULL,1790000000.0);
INSERT INTO "users" VALUES(2,'guest',7,1790000000.0);
CREATE INDEX jobs_waiting ON jobs (base, lane, status, fair_start, job_id, units);
CREATE INDEX jobs_of_owner ON jobs (owner_id, finished_at);
CREATE INDEX jobs_fair_share ON jobs (owner_id, base, lane, fair_finish);
CREATE INDEX jobs_open ON jobs (status) WHERE finished_at IS NULL;
CREATE INDEX jobs_measured ON jobs (base, lane, finished_at) WHERE status = 'succeeded';
CREATE INDEX jobs_image ON jobs (json_extract(request, '$.image.key')) WHERE kind = 'generate_video';
CREATE UNIQUE INDEX ledger_one_reserve ON ledger (job_id) WHERE kind = 'reserve';
CREATE UNIQUE INDEX ledger_one_end ON ledger (job_id) WHERE kind <> 'reserve';
CREATE INDEX ledger_balance ON ledger (user_id, window_start, held, spent);
CREATE TRIGGER ledger_keeps_entries BEFORE DELETE ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER ledger_keeps_amounts BEFORE UPDATE OF entry_id, job_id, window_start, kind, held, spent, created_at ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE INDEX datasets_drafts ON datasets (owner_id, name) WHERE state = 'draft';
CREATE INDEX datasets_age ON datasets (created_at) WHERE state = 'draft';
CREATE INDEX dataset_items_content ON dataset_items (sha256);
CREATE UNIQUE INDEX loras_name_of_owner ON loras (owner_id, name) WHERE state <> 'gone';
CREATE UNIQUE INDEX loras_name_in_guild ON loras (guild_id, name) WHERE state <> 'gone' AND guild_id IS NOT NULL;
CREATE INDEX loras_of_job ON loras (job_id);
CREATE INDEX outbox_due ON outbox (next_try_at) WHERE state = 'pending';
CREATE INDEX cards_live ON cards (job_id) WHERE closed = 0;
COMMIT;
