-- A server's days, added up: every reservation asks for the server's window, and reports for its days, however many members it has.
CREATE TABLE server_days (
    guild_id INTEGER NOT NULL,  -- 0: direct messages
    day REAL NOT NULL,
    held INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    PRIMARY KEY (guild_id, day)
) STRICT, WITHOUT ROWID;
INSERT INTO server_days SELECT guild_id, day, sum(held), sum(spent) FROM balances GROUP BY 1, 2;
CREATE TRIGGER server_days_count AFTER INSERT ON ledger BEGIN
    INSERT OR IGNORE INTO server_days VALUES (coalesce(new.guild_id, 0), new.window_start, 0, 0);
    UPDATE server_days SET held = held + new.held, spent = spent + new.spent
    WHERE guild_id = coalesce(new.guild_id, 0) AND day = new.window_start;
END;
CREATE TRIGGER server_days_move AFTER UPDATE OF guild_id ON ledger WHEN old.guild_id IS NOT new.guild_id BEGIN
    UPDATE server_days SET held = held - old.held, spent = spent - old.spent
    WHERE guild_id = coalesce(old.guild_id, 0) AND day = old.window_start;
    DELETE FROM server_days WHERE guild_id = coalesce(old.guild_id, 0) AND day = old.window_start AND held = 0 AND spent = 0;
    INSERT OR IGNORE INTO server_days VALUES (coalesce(new.guild_id, 0), new.window_start, 0, 0);
    UPDATE server_days SET held = held + new.held, spent = spent + new.spent
    WHERE guild_id = coalesce(new.guild_id, 0) AND day = new.window_start;
END;

-- Who spent most reads one person's days after the other, and everything of one person is found without reading every job.
CREATE INDEX balances_of_member ON balances (guild_id, user_id, day, spent);
DROP INDEX jobs_of_owner;
CREATE INDEX jobs_of_owner ON jobs (owner_id, finished_at, job_id);
