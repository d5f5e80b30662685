"""Rows of `loras`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from sqlite3 import Row

from aiosqlite import Connection

from engine.contracts.lora import LoraKind, LoraManifest
from engine.contracts.model import StoredObject
from engine.contracts.results import LoraTrained


class LoraState(StrEnum):
    """A name is reserved while its training is open; a failed or cancelled training frees it."""

    TRAINING = "training"
    READY = "ready"
    GONE = "gone"


@dataclass(frozen=True)
class LoraRecord:
    """One LoRA. `file` and `manifest` are None until its training succeeded."""

    lora_id: str  # ULID
    owner_id: int
    owner_name: str
    guild_id: int | None
    name: str
    kind: LoraKind
    trigger: str | None
    base: str
    state: LoraState
    job_id: str
    file: StoredObject | None
    preview: StoredObject | None  # MP4
    poster: StoredObject | None  # PNG
    loss_curve: StoredObject | None  # PNG
    manifest: LoraManifest | None
    uses: int
    created_at: float


async def insert(tx: Connection, record: LoraRecord) -> None:
    """Reserve a name for a training.

    Raises:
        sqlite3.IntegrityError: the name is taken by this owner or in this server.
    """
    await tx.execute(
        """INSERT INTO loras (lora_id, owner_id, owner_name, guild_id, name, kind, trigger_word, base, state, job_id, created_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'training', ?, ?)""",
        (
            *(record.lora_id, record.owner_id, record.owner_name, record.guild_id, record.name, record.kind, record.trigger),
            *(record.base, record.job_id, record.created_at),
        ),
    )


async def named(db: Connection, name: str, owner_id: int, guild_id: int | None) -> LoraRecord | None:
    """The LoRA that a name means to one person in one server: their own before the server's."""
    rows = await db.execute_fetchall(
        "SELECT * FROM loras WHERE name = ? AND state <> 'gone' AND (owner_id = ? OR guild_id = ?) ORDER BY owner_id = ? DESC LIMIT 1",
        (name, owner_id, guild_id, owner_id),
    )
    return next(map(_record, rows), None)


async def get(db: Connection, lora_id: str) -> LoraRecord | None:
    """One LoRA."""
    rows = await db.execute_fetchall("SELECT * FROM loras WHERE lora_id = ?", (lora_id,))
    return next(map(_record, rows), None)


async def guilds_of(db: Connection, lora_ids: Sequence[str]) -> list[int]:
    """The servers that some of these LoRAs were trained in."""
    rows = await db.execute_fetchall(
        "SELECT DISTINCT guild_id FROM loras WHERE guild_id IS NOT NULL AND lora_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(lora_ids)),),
    )
    return [row["guild_id"] for row in rows]


async def visible(db: Connection, owner_id: int, guild_id: int | None) -> list[LoraRecord]:
    """LoRAs of one person and of one server, those in training included, newest first."""
    rows = await db.execute_fetchall(
        "SELECT * FROM loras WHERE state <> 'gone' AND (owner_id = ? OR guild_id = ?) ORDER BY created_at DESC", (owner_id, guild_id)
    )
    return [_record(row) for row in rows]


async def ready(db: Connection) -> list[LoraRecord]:
    """Every LoRA that can be used, by name."""
    return [_record(row) for row in await db.execute_fetchall("SELECT * FROM loras WHERE state = 'ready' ORDER BY name")]


async def mark_ready(tx: Connection, job_id: str, trained: LoraTrained) -> None:
    """`training -> ready` with the files of a finished training."""
    await tx.execute(
        """UPDATE loras SET state = 'ready', file = ?, preview = ?, poster = ?, loss_curve = ?, manifest = ?
        WHERE job_id = ? AND state = 'training'""",
        (
            trained.file.model_dump_json(),
            *(obj.model_dump_json() if obj else None for obj in (trained.preview, trained.poster, trained.loss_curve)),
            trained.manifest.model_dump_json(),
            job_id,
        ),
    )


async def release_name(tx: Connection, job_id: str) -> None:
    """`training -> gone`: the training ended without a file."""
    await tx.execute("UPDATE loras SET state = 'gone' WHERE job_id = ? AND state = 'training'", (job_id,))


async def mark_gone(tx: Connection, lora_id: str) -> bool:
    """`ready -> gone`; False when it was not there."""
    return (await tx.execute("UPDATE loras SET state = 'gone' WHERE lora_id = ? AND state = 'ready'", (lora_id,))).rowcount == 1


async def of_job(db: Connection, job_id: str) -> LoraRecord | None:
    """The LoRA a training makes."""
    rows = await db.execute_fetchall("SELECT * FROM loras WHERE job_id = ?", (job_id,))
    return next(map(_record, rows), None)


async def count_uses(tx: Connection, lora_ids: Sequence[str]) -> None:
    """A clip was made with these."""
    await tx.executemany("UPDATE loras SET uses = uses + 1 WHERE lora_id = ?", [(lora_id,) for lora_id in lora_ids])


def _record(row: Row) -> LoraRecord:
    def stored(column: str) -> StoredObject | None:
        text = row[column]
        return StoredObject.model_validate_json(text) if text is not None else None

    return LoraRecord(
        lora_id=row["lora_id"],
        owner_id=row["owner_id"],
        owner_name=row["owner_name"],
        guild_id=row["guild_id"],
        name=row["name"],
        kind=LoraKind(row["kind"]),
        trigger=row["trigger_word"],
        base=row["base"],
        state=LoraState(row["state"]),
        job_id=row["job_id"],
        file=stored("file"),
        preview=stored("preview"),
        poster=stored("poster"),
        loss_curve=stored("loss_curve"),
        manifest=LoraManifest.model_validate_json(row["manifest"]) if row["manifest"] is not None else None,
        uses=row["uses"],
        created_at=row["created_at"],
    )
