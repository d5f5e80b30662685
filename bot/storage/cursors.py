"""Rows of `cursors`: how far each event stream was applied, stored in the transaction of the effects."""

from __future__ import annotations

from aiosqlite import Connection

START = "0-0"
"""Before the first entry of a stream."""


async def get(db: Connection, stream: str) -> str:
    """Id of the last applied entry, `START` for none."""
    rows = await db.execute_fetchall("SELECT position FROM cursors WHERE stream = ?", (stream,))
    return next((str(row["position"]) for row in rows), START)


async def put(tx: Connection, stream: str, position: str) -> None:
    """Everything up to `position` is applied."""
    await tx.execute(
        "INSERT INTO cursors (stream, position) VALUES (?, ?) ON CONFLICT (stream) DO UPDATE SET position = excluded.position",
        (stream, position),
    )


def order(position: str) -> tuple[int, int]:
    """Stream ids compare by their two numbers."""
    milliseconds, _, sequence = position.partition("-")
    return int(milliseconds), int(sequence or 0)
