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


class Visibility(StrEnum):
    """Who sees a LoRA besides its owner."""

    PRIVATE = "private"
    SERVER = "server"  # everybody in the server it was made in
    PUBLIC = "public"  # everybody


class Withheld(StrEnum):
    """Why a LoRA that exists may not be used by anybody."""

    LIKENESS = "likeness"  # the person it shows has not agreed, or no longer does
    TAKEDOWN = "takedown"  # a report was upheld


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
    job_id: str | None  # None: imported
    file: StoredObject | None
    preview: StoredObject | None  # MP4
    poster: StoredObject | None  # PNG
    loss_curve: StoredObject | None  # PNG
    manifest: LoraManifest | None
    uses: int
    created_at: float
    visibility: Visibility = Visibility.SERVER
    version: int = 1
    examples: tuple[str, ...] = ()
    withheld: Withheld | None = None
    frozen_at: float | None = None  # since when no plan covers it; None: it may be used


@dataclass(frozen=True)
class Offer:
    """What autocomplete needs of a LoRA that can be used."""

    lora_id: str
    owner_id: int
    guild_id: int | None
    visibility: Visibility
    name: str
    kind: LoraKind
    base: str


async def belongs_to(db: Connection, subject: str) -> tuple[int, int | None] | None:
    """Owner of a LoRA (`subject`: its id, or `id.version`), and the server it is shown in; a private one is shown in none."""
    rows = await db.execute_fetchall(
        """SELECT owner_id, CASE visibility WHEN 'private' THEN NULL ELSE guild_id END AS guild_id FROM loras
        WHERE lora_id = ? AND state <> 'gone'""",
        (subject.partition(".")[0],),
    )
    return next(((row["owner_id"], row["guild_id"]) for row in rows), None)


async def insert(tx: Connection, record: LoraRecord) -> None:
    """Reserve a name for a training.

    Raises:
        sqlite3.IntegrityError: the name is taken by this owner, in this server, or among public ones.
    """
    await tx.execute(
        """INSERT INTO loras (lora_id, owner_id, owner_name, guild_id, name, kind, trigger_word, base, state, job_id, created_at,
            visibility, withheld)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'training', ?, ?, ?, ?)""",
        (
            *(record.lora_id, record.owner_id, record.owner_name, record.guild_id, record.name, record.kind, record.trigger),
            *(record.base, record.job_id, record.created_at, record.visibility, record.withheld),
        ),
    )


async def named(db: Connection, name: str, owner_id: int, guild_id: int | None) -> LoraRecord | None:
    """The LoRA that a name means to one person in one server: their own, else the server's, else the public one."""
    rows = await db.execute_fetchall(
        # three looks by name, each with its own index: one condition with OR walks through all of a server's
        """SELECT loras.* FROM (
            SELECT lora_id, 0 AS place FROM loras WHERE owner_id = :me AND name = :name AND state <> 'gone'
            UNION ALL SELECT lora_id, 1 FROM loras
                WHERE guild_id = :guild AND guild_id IS NOT NULL AND name = :name AND state <> 'gone' AND visibility <> 'private'
            UNION ALL SELECT lora_id, 2 FROM loras WHERE name = :name AND state <> 'gone' AND visibility = 'public'
        ) AS found CROSS JOIN loras ON loras.lora_id = found.lora_id ORDER BY place LIMIT 1""",
        {"name": name, "me": owner_id, "guild": guild_id},
    )
    return next(map(_record, rows), None)


async def taken(db: Connection, name: str, owner_id: int, guild_id: int | None, visibility: Visibility, but: str = "") -> LoraRecord | None:
    """The LoRA (other than `but`) that keeps a new one of this visibility from having this name."""
    rows = await db.execute_fetchall(
        """SELECT * FROM loras WHERE name = :name AND state <> 'gone' AND lora_id <> :but AND (owner_id = :me
            OR :shown <> 'private' AND guild_id = :guild AND visibility <> 'private'
            OR :shown = 'public' AND visibility = 'public')
        ORDER BY owner_id = :me DESC LIMIT 1""",
        {"name": name, "me": owner_id, "guild": guild_id, "shown": visibility, "but": but},
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


async def get_many(db: Connection, lora_ids: Sequence[str]) -> dict[str, LoraRecord]:
    """Those LoRAs that exist, gone ones included, by id."""
    rows = await db.execute_fetchall("SELECT * FROM loras WHERE lora_id IN (SELECT value FROM json_each(?))", (json.dumps(list(lora_ids)),))
    return {row["lora_id"]: _record(row) for row in rows}


async def unusable(db: Connection, lora_ids: Sequence[str]) -> list[str]:
    """Those of `lora_ids` that no job may load now: gone, withheld, frozen, or never there."""
    rows = await db.execute_fetchall(
        """SELECT value AS lora_id FROM json_each(?) AS wanted WHERE NOT EXISTS
            (SELECT 1 FROM loras WHERE lora_id = wanted.value AND state = 'ready' AND withheld IS NULL AND frozen_at IS NULL)""",
        (json.dumps(list(lora_ids)),),
    )
    return [row["lora_id"] for row in rows]


async def changes(db: Connection) -> int:
    """Grows whenever `offers` would answer differently."""
    rows = await db.execute_fetchall("SELECT changes FROM shelf")
    return int(next(iter(rows))["changes"])


async def offers(db: Connection) -> list[Offer]:
    """Every LoRA that can be used, by name."""
    rows = await db.execute_fetchall(
        """SELECT lora_id, owner_id, guild_id, visibility, name, kind, base FROM loras
        WHERE state = 'ready' AND withheld IS NULL AND frozen_at IS NULL ORDER BY name, lora_id"""
    )
    return [
        Offer(
            lora_id=row["lora_id"],
            owner_id=row["owner_id"],
            guild_id=row["guild_id"],
            visibility=Visibility(row["visibility"]),
            name=row["name"],
            kind=LoraKind(row["kind"]),
            base=row["base"],
        )
        for row in rows
    ]


async def release_name(tx: Connection, job_id: str) -> None:
    """`training -> gone`: the training ended without a file."""
    await tx.execute("UPDATE loras SET state = 'gone' WHERE job_id = ? AND state = 'training'", (job_id,))


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
        visibility=Visibility(row["visibility"]),
        version=row["version"],
        examples=tuple(json.loads(row["examples"])),
        withheld=Withheld(row["withheld"]) if row["withheld"] is not None else None,
        frozen_at=row["frozen_at"],
    )
