"""Rows of `holdings`: who holds which plan, from when to when, as its source reports it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from sqlite3 import Row

from aiosqlite import Connection


class Plan(StrEnum):
    """What a person or a server may use. Compare with `rank`: a higher one includes the lower ones."""

    FREE = "free"
    PREMIUM = "premium"
    ENTERPRISE = "enterprise"

    @property
    def rank(self) -> int:
        """0 for free, 2 for enterprise."""
        return list(Plan).index(self)


class PlanSource(StrEnum):
    """Who says that somebody has a plan."""

    DISCORD = "discord"  # Premium Apps: an entitlement
    OPERATOR = "operator"  # `/admin grant`
    BILLING = "billing"  # anything else that takes money


@dataclass(frozen=True)
class Holding:
    """One plan of one person (everywhere) or one server (for everybody there). Times are unix seconds."""

    source: PlanSource
    reference: str  # the source's own id
    plan: Plan
    user_id: int | None
    guild_id: int | None
    starts_at: float
    ends_at: float | None  # None: until the source says otherwise

    def active(self, now: float) -> bool:
        """True while it counts."""
        return self.starts_at <= now and (self.ends_at is None or now < self.ends_at)


async def put(tx: Connection, holding: Holding) -> bool:
    """Note what a source reports; False when that was known already."""
    cursor = await tx.execute(
        """INSERT INTO holdings (source, reference, plan, user_id, guild_id, starts_at, ends_at) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (source, reference) DO UPDATE SET plan = excluded.plan, user_id = excluded.user_id, guild_id = excluded.guild_id,
            starts_at = excluded.starts_at, ends_at = excluded.ends_at
        WHERE (plan, starts_at) <> (excluded.plan, excluded.starts_at) OR ends_at IS NOT excluded.ends_at
            OR user_id IS NOT excluded.user_id OR guild_id IS NOT excluded.guild_id""",
        (
            *(holding.source, holding.reference, holding.plan, holding.user_id, holding.guild_id),
            *(holding.starts_at, holding.ends_at),
        ),
    )
    return cursor.rowcount == 1


async def end(tx: Connection, source: PlanSource, reference: str, now: float) -> bool:
    """It is over, such as after a refund; False when it was over already, or never known."""
    cursor = await tx.execute(
        "UPDATE holdings SET ends_at = :now WHERE source = :source AND reference = :reference AND (ends_at IS NULL OR ends_at > :now)",
        {"now": now, "source": source, "reference": reference},
    )
    return cursor.rowcount == 1


async def of(db: Connection, user_id: int, guild_id: int | None) -> list[Holding]:
    """Everything a person holds or held, and everything their server does."""
    rows = await db.execute_fetchall(
        "SELECT * FROM holdings WHERE user_id = ? UNION ALL SELECT * FROM holdings WHERE guild_id = ?", (user_id, guild_id)
    )
    return [_holding(row) for row in rows]


async def open_ones(
    db: Connection, source: PlanSource, now: float, user_ids: Collection[int] = (), guild_id: int | None = None
) -> list[Holding]:
    """A source's holdings that are not over, of these people and this server."""
    found: list[Holding] = []
    for column, value in [*(("user_id", user_id) for user_id in user_ids), ("guild_id", guild_id)]:
        rows = await db.execute_fetchall(
            f"SELECT * FROM holdings WHERE {column} = ? AND source = ? AND (ends_at IS NULL OR ends_at > ?)",  # noqa: S608
            (value, source, now),
        )
        found += [_holding(row) for row in rows]
    return found


async def references(db: Connection, source: PlanSource, now: float) -> list[str]:
    """A source's holdings that are not over."""
    rows = await db.execute_fetchall("SELECT reference FROM holdings WHERE source = ? AND (ends_at IS NULL OR ends_at > ?)", (source, now))
    return [str(row["reference"]) for row in rows]


def _holding(row: Row) -> Holding:
    return Holding(
        source=PlanSource(row["source"]),
        reference=row["reference"],
        plan=Plan(row["plan"]),
        user_id=row["user_id"],
        guild_id=row["guild_id"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
    )
