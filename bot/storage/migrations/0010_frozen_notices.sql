ALTER TABLE guilds ADD COLUMN default_quality TEXT NOT NULL DEFAULT 'best';

-- LoRAs whose plan has ended are frozen: kept, not used. And messages that belong to no job.
ALTER TABLE loras ADD COLUMN frozen_at REAL;   -- NULL: covered by a plan
ALTER TABLE loras ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;  -- its owner was told that it will be deleted soon
CREATE INDEX loras_frozen ON loras (frozen_at) WHERE frozen_at IS NOT NULL AND state = 'ready';
CREATE INDEX loras_ready ON loras (owner_id, guild_id) WHERE state = 'ready';
CREATE TRIGGER shelf_freeze AFTER UPDATE OF frozen_at ON loras BEGIN UPDATE shelf SET changes = changes + 1; END;

CREATE TABLE notices (
    notice_id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    facts TEXT NOT NULL,  -- JSON: what the sentence needs
    user_id INTEGER,      -- a direct message to this person, …
    channel_id INTEGER,   -- … or a message in this channel
    guild_id INTEGER,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'undeliverable')),
    tries INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL NOT NULL,
    created_at REAL NOT NULL,
    CHECK ((user_id IS NULL) <> (channel_id IS NULL))
) STRICT;
CREATE INDEX notices_due ON notices (next_try_at) WHERE state = 'pending';
CREATE INDEX notices_of_user ON notices (user_id) WHERE user_id IS NOT NULL;
