"""Which objects of the store any row refers to. Read from whole tables, so that a table of tomorrow counts without anybody's help."""

from __future__ import annotations

import re

from aiosqlite import Connection

from engine.contracts.objects import PREFIXES

_KEY = re.compile(rf"(?<![A-Za-z0-9._/-])(?:{'|'.join(PREFIXES)})/[A-Za-z0-9._/-]+")

_SPECIAL = frozenset({"jobs", "loras", "outbox", "migrations"})
"""Tables of which not every row keeps its files."""

_ROWS = """
SELECT request || ' ' || coalesce(result, '') || ' ' || coalesce(preview, '') AS text, 0 AS clip FROM jobs WHERE finished_at IS NULL
UNION ALL
SELECT request || ' ' || coalesce(result, '') || ' ' || coalesce(preview, ''), 1 FROM jobs
    WHERE finished_at >= :keep_from AND deleted = 0
UNION ALL
SELECT payload, 0 FROM outbox WHERE state = 'pending'
"""


def keys_in(text: str) -> set[str]:
    """Every store key a text mentions."""
    return set(_KEY.findall(text))


async def referenced(db: Connection, keep_from: float) -> set[str]:
    """Keys that rows refer to.

    An open job keeps all its inputs; one that ended at `keep_from` (unix seconds) or later keeps its results, and the pictures it began
    with. The weights of a LoRA are kept by the LoRA and by open jobs, not by clips that were made with it.
    """
    found: set[str] = set()
    async with db.execute(_ROWS, {"keep_from": keep_from}) as cursor:
        async for row in cursor:
            keys = keys_in(row["text"])
            found |= {key for key in keys if not key.startswith("loras/")} if row["clip"] else keys
    await _whole_table(db, "loras", "WHERE state <> 'gone'", found)
    for table in await db.execute_fetchall("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"):
        if table["name"] not in _SPECIAL:
            await _whole_table(db, table["name"], "", found)
    return found


async def of_new_jobs(db: Connection, since: float) -> set[str]:
    """Keys that jobs submitted after a time refer to."""
    rows = await db.execute_fetchall("SELECT request FROM jobs WHERE finished_at IS NULL AND created_at >= ?", (since,))
    return {key for row in rows for key in keys_in(row["request"])}


async def open_job_ids(db: Connection) -> set[str]:
    """Jobs that have not ended."""
    return {row["job_id"] for row in await db.execute_fetchall("SELECT job_id FROM jobs WHERE finished_at IS NULL")}


async def _whole_table(db: Connection, table: str, where: str, found: set[str]) -> None:
    async with db.execute(f"SELECT * FROM {table} {where}") as cursor:  # noqa: S608 - names from sqlite_master
        async for row in cursor:
            for value in tuple(row):
                if isinstance(value, str) and "/" in value:
                    found |= keys_in(value)
