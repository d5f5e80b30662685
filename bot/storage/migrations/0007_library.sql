-- The library: LoRAs from elsewhere (made by no job of ours), who sees them, their versions, and stacks saved under a name.

DROP INDEX loras_of_job;
ALTER TABLE loras ADD COLUMN made_by TEXT REFERENCES jobs (job_id);  -- NULL: imported
UPDATE loras SET made_by = job_id;
ALTER TABLE loras DROP COLUMN job_id;
ALTER TABLE loras RENAME COLUMN made_by TO job_id;
CREATE INDEX loras_of_job ON loras (job_id);

ALTER TABLE loras ADD COLUMN visibility TEXT NOT NULL DEFAULT 'server' CHECK (visibility IN ('private', 'server', 'public'));
ALTER TABLE loras ADD COLUMN version INTEGER NOT NULL DEFAULT 1;       -- the one in use; its files are copied to this row
ALTER TABLE loras ADD COLUMN examples TEXT NOT NULL DEFAULT '[]';      -- JSON: prompts its owner recommends
ALTER TABLE loras ADD COLUMN withheld TEXT CHECK (withheld IN ('likeness', 'takedown'));  -- NULL: may be used
ALTER TABLE loras ADD COLUMN purged INTEGER NOT NULL DEFAULT 0;        -- of a gone one: its files are deleted

-- A private LoRA must not be found by trying to take its name: it only keeps its own owner from using it twice.
DROP INDEX loras_name_in_guild;
CREATE UNIQUE INDEX loras_name_in_guild ON loras (guild_id, name)
    WHERE state <> 'gone' AND guild_id IS NOT NULL AND visibility <> 'private';
CREATE UNIQUE INDEX loras_name_public ON loras (name) WHERE state <> 'gone' AND visibility = 'public';
CREATE INDEX loras_of_guild ON loras (guild_id, lora_id, kind, name, trigger_word, owner_id, owner_name, withheld)
    WHERE state <> 'gone' AND visibility <> 'private';
CREATE INDEX loras_of_owner ON loras (owner_id, lora_id, kind, name, trigger_word, owner_name, withheld) WHERE state <> 'gone';
CREATE INDEX loras_public ON loras (lora_id, kind, name, trigger_word, owner_id, owner_name, withheld)
    WHERE state <> 'gone' AND visibility = 'public';
CREATE INDEX loras_to_purge ON loras (lora_id) WHERE state = 'gone' AND purged = 0;

CREATE TABLE lora_versions (
    lora_id TEXT NOT NULL REFERENCES loras (lora_id) ON DELETE CASCADE,
    version INTEGER NOT NULL CHECK (version >= 1),
    job_id TEXT REFERENCES jobs (job_id),
    file TEXT NOT NULL,
    preview TEXT,
    poster TEXT,
    loss_curve TEXT,
    manifest TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (lora_id, version)
) STRICT;
CREATE INDEX lora_versions_of_job ON lora_versions (job_id);
INSERT INTO lora_versions (lora_id, version, job_id, file, preview, poster, loss_curve, manifest, created_at)
    SELECT lora_id, 1, job_id, file, preview, poster, loss_curve, manifest, created_at FROM loras WHERE state = 'ready' AND manifest IS NOT NULL;

ALTER TABLE datasets ADD COLUMN lora_id TEXT REFERENCES loras (lora_id);  -- the LoRA this set makes a new version of

-- Autocomplete answers from memory; this number says whether the memory is still true.
CREATE TABLE shelf (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    changes INTEGER NOT NULL
) STRICT;
INSERT INTO shelf (only, changes) VALUES (1, 0);
CREATE TRIGGER shelf_insert AFTER INSERT ON loras BEGIN UPDATE shelf SET changes = changes + 1; END;
CREATE TRIGGER shelf_delete AFTER DELETE ON loras BEGIN UPDATE shelf SET changes = changes + 1; END;
CREATE TRIGGER shelf_update AFTER UPDATE OF owner_id, guild_id, name, state, visibility, withheld ON loras
BEGIN UPDATE shelf SET changes = changes + 1; END;

CREATE TABLE casts (
    cast_id TEXT PRIMARY KEY,
    owner_id INTEGER NOT NULL,
    guild_id INTEGER,
    name TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE UNIQUE INDEX casts_of_owner ON casts (owner_id, name);
CREATE INDEX casts_of_guild ON casts (guild_id, name);

CREATE TABLE cast_members (
    cast_id TEXT NOT NULL REFERENCES casts (cast_id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    lora_id TEXT NOT NULL REFERENCES loras (lora_id) ON DELETE CASCADE,
    weight REAL NOT NULL,
    PRIMARY KEY (cast_id, position)
) STRICT;
CREATE INDEX cast_members_of_lora ON cast_members (lora_id);
