"""Rows of `takedowns`: fingerprints of content that may never be shown again."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aiosqlite import Connection


async def put(tx: Connection, fingerprints: Sequence[str], reason: str, now: float) -> None:
    """Take content down for good."""
    rows = [(fingerprint, reason, now) for fingerprint in fingerprints]
    await tx.executemany("INSERT INTO takedowns (fingerprint, reason, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)


async def known(db: Connection, fingerprints: Sequence[str]) -> set[str]:
    """Those of `fingerprints` that were taken down."""
    rows = await db.execute_fetchall(
        "SELECT fingerprint FROM takedowns WHERE fingerprint IN (SELECT value FROM json_each(?))", (json.dumps(list(fingerprints)),)
    )
    return {row["fingerprint"] for row in rows}
