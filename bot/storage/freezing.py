"""Which LoRAs a plan covers: freezing, thawing and deleting in sets, and how much their files take."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection

_COVERED = """EXISTS (SELECT 1 FROM holdings WHERE holdings.user_id = loras.owner_id
        AND starts_at <= :now AND (ends_at IS NULL OR ends_at > :now))
    OR EXISTS (SELECT 1 FROM holdings WHERE holdings.guild_id = loras.guild_id
        AND starts_at <= :now AND (ends_at IS NULL OR ends_at > :now))"""


@dataclass(frozen=True)
class Touched:
    """LoRAs of one person that one step concerned."""

    owner_id: int
    names: tuple[str, ...]
    since: float  # unix seconds: the earliest of their times of freezing


async def freeze(tx: Connection, now: float) -> list[Touched]:
    """Freeze what is ready and no plan covers any more."""
    sql = f"UPDATE loras SET frozen_at = :now, warned = 0 WHERE state = 'ready' AND frozen_at IS NULL AND NOT ({_COVERED})"  # noqa: S608
    return await _touch(tx, sql, {"now": now})


async def thaw(tx: Connection, now: float) -> list[Touched]:
    """Give back what a plan covers again."""
    # the old time is gone after the update, and nobody asks for it
    sql = f"UPDATE loras SET frozen_at = NULL, warned = 0 WHERE state = 'ready' AND frozen_at IS NOT NULL AND ({_COVERED})"  # noqa: S608
    return await _touch(tx, sql, {"now": now})


async def thaw_all(tx: Connection) -> list[Touched]:
    """Everything is covered, such as where nothing is sold."""
    return await _touch(tx, "UPDATE loras SET frozen_at = NULL, warned = 0 WHERE state = 'ready' AND frozen_at IS NOT NULL", {})


async def warn(tx: Connection, frozen_before: float) -> list[Touched]:
    """What was frozen before `frozen_before` and its owner has not been warned about."""
    sql = "UPDATE loras SET warned = 1 WHERE state = 'ready' AND frozen_at <= :before AND warned = 0"
    return await _touch(tx, sql, {"before": frozen_before})


async def expire(tx: Connection, frozen_before: float) -> list[Touched]:
    """`ready -> gone` for what was frozen before `frozen_before`; its files go with the library's next purge."""
    expired = await _touch(tx, "UPDATE loras SET state = 'gone' WHERE state = 'ready' AND frozen_at <= :before", {"before": frozen_before})
    if expired:
        await tx.execute("DELETE FROM cast_members WHERE lora_id IN (SELECT lora_id FROM loras WHERE state = 'gone')")
    return expired


async def stored_bytes(db: Connection, owner_id: int) -> int:
    """What the LoRA files of a person take, all versions."""
    rows = await db.execute_fetchall(
        """SELECT coalesce(sum(json_extract(lora_versions.file, '$.size')), 0) AS size FROM loras
        JOIN lora_versions ON lora_versions.lora_id = loras.lora_id WHERE owner_id = ? AND state <> 'gone'""",
        (owner_id,),
    )
    return int(next(iter(rows))["size"])


async def frozen_of(db: Connection, owner_id: int) -> tuple[int, float | None]:
    """How many LoRAs of a person are frozen, and since when the oldest is."""
    rows = await db.execute_fetchall(
        "SELECT count(frozen_at) AS loras, min(frozen_at) AS since FROM loras WHERE owner_id = ? AND state = 'ready'", (owner_id,)
    )
    row = next(iter(rows))
    return row["loras"], row["since"]


async def _touch(tx: Connection, sql: str, values: dict[str, float]) -> list[Touched]:
    """Run an update of `loras` and group what it changed by owner."""
    by_owner: dict[int, list[tuple[str, float]]] = {}
    for row in await tx.execute_fetchall(f"{sql} RETURNING owner_id, name, frozen_at", values):
        by_owner.setdefault(row["owner_id"], []).append((row["name"], row["frozen_at"] or 0.0))
    return [
        Touched(owner, tuple(sorted(name for name, _ in found)), min(since for _, since in found))
        for owner, found in sorted(by_owner.items())
    ]
