-- What the people who manage a server set there, and limits on three levels.
ALTER TABLE guilds RENAME COLUMN daily_units TO user_units;  -- one person's units per window; NULL: what their plan grants
ALTER TABLE guilds ADD COLUMN server_units INTEGER CHECK (server_units >= 0);  -- everybody's together; NULL: no limit
ALTER TABLE guilds ADD COLUMN quota_window TEXT NOT NULL DEFAULT 'day' CHECK (quota_window IN ('day', 'week', 'month'));
ALTER TABLE guilds ADD COLUMN running INTEGER CHECK (running >= 1);  -- one person's jobs at once; NULL: no limit of the server's
ALTER TABLE guilds ADD COLUMN waiting INTEGER CHECK (waiting >= 0);
ALTER TABLE guilds ADD COLUMN default_loras TEXT NOT NULL DEFAULT '';
ALTER TABLE guilds ADD COLUMN content_level TEXT NOT NULL DEFAULT 'channel' CHECK (content_level IN ('strict', 'channel'));
ALTER TABLE guilds ADD COLUMN language TEXT;  -- NULL: the reader's own
ALTER TABLE guilds ADD COLUMN log_channel_id INTEGER;

CREATE TABLE guild_channels (
    guild_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    PRIMARY KEY (guild_id, channel_id)
) STRICT, WITHOUT ROWID;  -- none: commands work everywhere

CREATE TABLE guild_roles (
    guild_id INTEGER NOT NULL,
    role_id INTEGER NOT NULL,
    PRIMARY KEY (guild_id, role_id)
) STRICT, WITHOUT ROWID;  -- none: everybody may use commands

CREATE TABLE role_limits (
    guild_id INTEGER NOT NULL,
    role_id INTEGER NOT NULL,
    user_units INTEGER CHECK (user_units >= 0),
    running INTEGER CHECK (running >= 1),
    waiting INTEGER CHECK (waiting >= 0),
    PRIMARY KEY (guild_id, role_id)
) STRICT, WITHOUT ROWID;  -- each replaces the server's; of several roles the most generous counts

CREATE TABLE blocks (
    guild_id INTEGER NOT NULL,  -- 0: everywhere
    user_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    blocked_by INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (guild_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_of_user ON blocks (user_id);

-- A job holds its owner's running limit of the moment it was submitted, so that the dispatcher needs no settings.
ALTER TABLE jobs ADD COLUMN max_running INTEGER CHECK (max_running >= 1);
CREATE INDEX jobs_of_guild ON jobs (guild_id, created_at, kind, owner_id, status, units, units_charged);
