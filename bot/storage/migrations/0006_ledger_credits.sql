-- A charge can be given back later: an entry of its own. Balances are kept beside the entries, by triggers, so that no check adds up years.
DROP TRIGGER ledger_keeps_entries;
DROP TRIGGER ledger_keeps_amounts;
CREATE TABLE entries (
    entry_id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL,
    user_id INTEGER NOT NULL,
    guild_id INTEGER,
    window_start REAL NOT NULL,  -- the UTC day of the reservation, also in the entries that end it
    kind TEXT NOT NULL CHECK (kind IN ('reserve', 'settle', 'refund', 'credit')),
    held INTEGER NOT NULL,   -- change of units held by open jobs
    spent INTEGER NOT NULL,  -- change of units spent for good
    created_at REAL NOT NULL,
    CHECK (CASE kind
        WHEN 'reserve' THEN held >= 0 AND spent = 0
        WHEN 'settle' THEN held <= 0 AND spent BETWEEN 0 AND -held
        WHEN 'credit' THEN held = 0 AND spent <= 0
        ELSE held <= 0 AND spent = 0 END)
) STRICT;
INSERT INTO entries SELECT entry_id, job_id, user_id, guild_id, window_start, kind, held, spent, created_at FROM ledger;
DROP TABLE ledger;
ALTER TABLE entries RENAME TO ledger;
CREATE UNIQUE INDEX ledger_one_reserve ON ledger (job_id) WHERE kind = 'reserve';
CREATE UNIQUE INDEX ledger_one_end ON ledger (job_id) WHERE kind IN ('settle', 'refund');
CREATE UNIQUE INDEX ledger_one_credit ON ledger (job_id) WHERE kind = 'credit';
CREATE INDEX ledger_of_user ON ledger (user_id, window_start);
CREATE TRIGGER ledger_keeps_entries BEFORE DELETE ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER ledger_keeps_amounts BEFORE UPDATE OF entry_id, job_id, window_start, kind, held, spent, created_at ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;

CREATE TABLE balances (
    guild_id INTEGER NOT NULL,  -- 0: direct messages
    day REAL NOT NULL,
    user_id INTEGER NOT NULL,
    held INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    PRIMARY KEY (guild_id, day, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX balances_of_user ON balances (user_id, day, held, spent);
INSERT INTO balances SELECT coalesce(guild_id, 0), window_start, user_id, sum(held), sum(spent) FROM ledger GROUP BY 1, 2, 3;
CREATE TRIGGER ledger_counts AFTER INSERT ON ledger BEGIN
    INSERT OR IGNORE INTO balances VALUES (coalesce(new.guild_id, 0), new.window_start, new.user_id, 0, 0);
    UPDATE balances SET held = held + new.held, spent = spent + new.spent
    WHERE guild_id = coalesce(new.guild_id, 0) AND day = new.window_start AND user_id = new.user_id;
END;
-- Only the person and the server of an entry may change, to forget them; their balance goes along and leaves no row behind.
CREATE TRIGGER ledger_moves AFTER UPDATE OF user_id, guild_id ON ledger BEGIN
    INSERT OR IGNORE INTO balances VALUES (coalesce(old.guild_id, 0), old.window_start, old.user_id, 0, 0);
    UPDATE balances SET held = held - old.held, spent = spent - old.spent
    WHERE guild_id = coalesce(old.guild_id, 0) AND day = old.window_start AND user_id = old.user_id;
    DELETE FROM balances
    WHERE guild_id = coalesce(old.guild_id, 0) AND day = old.window_start AND user_id = old.user_id AND held = 0 AND spent = 0;
    INSERT OR IGNORE INTO balances VALUES (coalesce(new.guild_id, 0), new.window_start, new.user_id, 0, 0);
    UPDATE balances SET held = held + new.held, spent = spent + new.spent
    WHERE guild_id = coalesce(new.guild_id, 0) AND day = new.window_start AND user_id = new.user_id;
END;
