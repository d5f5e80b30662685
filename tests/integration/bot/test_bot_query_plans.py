"""No question grows with the house: every statement that commands and tasks run finds its rows by an index."""

from __future__ import annotations

import re
import sqlite3

import pytest

from tests.support.bot_core import Core, PlayedWorker
from tests.support.crowd import Size, background, fill, operations

SMALL = {
    "guilds",
    "guild_channels",
    "guild_roles",
    "role_limits",
    "lanes",
    "shelf",
    "migrations",
    "cursors",
    "casts",
    "cast_members",
    "erasures",
}
"""Tables with a handful of rows per server, or one row in all."""
READ_WHOLE = {
    # autocomplete answers from memory; this fills it again after the table has changed
    "SELECT lora_id, owner_id, guild_id, visibility, name, kind, base FROM loras",
    # sweeps: every ready LoRA is looked at, in the background
    "UPDATE loras SET frozen_at",
    # an export looks into what notices say of others, too
    "SELECT * FROM notices WHERE user_id",
}

GROWING = {"jobs_by_result_file", "jobs_by_result_preview", "jobs_posted"}
"""Partial indexes over what has ended, which is more every day."""


async def _statements(core: Core, name: str, heard: set[str]) -> None:
    """Run one operation; `heard` gets what SQLite was asked."""
    crowd = core.crowd  # type: ignore[attr-defined]
    for connection in (core.database.reader, core.database._writer):
        await connection.set_trace_callback(heard.add)
    await {**operations(), **background()}[name](core, crowd)
    for connection in (core.database.reader, core.database._writer):
        await connection.set_trace_callback(None)


@pytest.fixture
async def house(core: Core, played_worker: PlayedWorker) -> Core:
    """A small crowd: the planner chooses the same way without statistics."""
    core.crowd = await fill(core.database, Size(loras=40, jobs=400, members=20, open_jobs=60))  # type: ignore[attr-defined]
    await core.queue.workers()
    return core


@pytest.mark.parametrize("name", [*operations(), *background()])
async def test_statement_uses_an_index(house: Core, name: str) -> None:
    """`EXPLAIN QUERY PLAN` shows no walk through a whole table that grows, but through partial indexes of what is open now."""
    heard: set[str] = set()
    await _statements(house, name, heard)
    partial = {
        row[0] for row in await house.database.reader.execute_fetchall("SELECT name FROM sqlite_master WHERE sql LIKE '% WHERE %'")
    } - GROWING
    walks = []
    for statement in heard:
        if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)", statement, re.IGNORECASE) or _whole(statement):
            continue
        try:
            steps = await house.database._writer.execute_fetchall(f"EXPLAIN QUERY PLAN {statement}")
        except sqlite3.OperationalError:  # a statement of a trigger, which has no plan of its own
            continue
        for step in steps:
            # a search that compares nothing is a walk, too
            walk = re.match(r"(?:SCAN|SEARCH) (\w+)(?: AS \w+)?(?: USING (?:COVERING )?INDEX (\w+))?(?!.*\()", step["detail"])
            table = await _table(house, walk[1]) if walk else None
            if walk and table is not None and table not in SMALL and walk[2] not in partial:
                walks.append(f"{step['detail']}: {' '.join(statement.split())[:300]}")
    assert heard
    assert walks == []


def _whole(statement: str) -> bool:
    return any(" ".join(statement.split()).startswith(start) for start in READ_WHOLE)


async def _table(core: Core, name: str) -> str | None:
    """`name` when it is a table; aliases of this code base are written out in full."""
    aliases = {"other": "jobs", "mine": "jobs", "theirs": "jobs", "settled": "ledger", "opened": "ledger"}
    rows = await core.database.reader.execute_fetchall(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?", (aliases.get(name, name),)
    )
    return next((row["name"] for row in rows), None)
