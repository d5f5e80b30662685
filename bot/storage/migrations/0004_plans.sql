-- Who holds which plan, as its source reports it. A source reports again under the same reference when something changes.
CREATE TABLE holdings (
    source TEXT NOT NULL CHECK (source IN ('discord', 'operator', 'billing')),
    reference TEXT NOT NULL,  -- the source's own id: an entitlement, a grant, an invoice
    plan TEXT NOT NULL CHECK (plan IN ('premium', 'enterprise')),
    user_id INTEGER,
    guild_id INTEGER,
    starts_at REAL NOT NULL,
    ends_at REAL,  -- NULL: until the source says otherwise
    PRIMARY KEY (source, reference),
    CHECK ((user_id IS NULL) <> (guild_id IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX holdings_of_user ON holdings (user_id, ends_at, starts_at, plan) WHERE user_id IS NOT NULL;
CREATE INDEX holdings_of_guild ON holdings (guild_id, ends_at, starts_at, plan) WHERE guild_id IS NOT NULL;
