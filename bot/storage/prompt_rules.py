"""Rows of `prompt_rules`: what prompts may not say, in one server or everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from sqlite3 import Row

from aiosqlite import Connection

EVERYWHERE = 0
"""The server id of rules that hold in every server."""


class RuleKind(StrEnum):
    """How a rule is compared with a prompt."""

    WORD = "word"  # a word or phrase, whole words, whatever its case
    PATTERN = "pattern"  # a regular expression of RE2


@dataclass(frozen=True)
class PromptRule:
    """One rule and the reason people are told."""

    rule_id: str  # ULID
    guild_id: int
    kind: RuleKind
    expression: str
    reason: str
    created_by: int
    created_at: float


async def insert(tx: Connection, rule: PromptRule) -> None:
    """Add a rule; the same one again only gets the new reason."""
    await tx.execute(
        """INSERT INTO prompt_rules (rule_id, guild_id, kind, expression, reason, created_by, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (guild_id, kind, expression) DO UPDATE SET reason = excluded.reason""",
        (rule.rule_id, rule.guild_id, rule.kind, rule.expression, rule.reason, rule.created_by, rule.created_at),
    )


async def of(db: Connection, guild_id: int) -> list[PromptRule]:
    """Rules that hold in a server: its own and those for everywhere, oldest first."""
    rows = await db.execute_fetchall("SELECT * FROM prompt_rules WHERE guild_id IN (?, ?) ORDER BY rule_id", (guild_id, EVERYWHERE))
    return [_rule(row) for row in rows]


async def get(db: Connection, rule_id: str) -> PromptRule | None:
    """One rule."""
    return next(map(_rule, await db.execute_fetchall("SELECT * FROM prompt_rules WHERE rule_id = ?", (rule_id,))), None)


async def delete(tx: Connection, rule_id: str) -> None:
    """Forget a rule."""
    await tx.execute("DELETE FROM prompt_rules WHERE rule_id = ?", (rule_id,))


def _rule(row: Row) -> PromptRule:
    return PromptRule(
        rule_id=row["rule_id"],
        guild_id=row["guild_id"],
        kind=RuleKind(row["kind"]),
        expression=row["expression"],
        reason=row["reason"],
        created_by=row["created_by"],
        created_at=row["created_at"],
    )
