"""The library over `loras` and `lora_versions`: pages, versions, what an owner changes, what is left to delete."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from sqlite3 import Row

from aiosqlite import Connection

from bot.storage import loras
from bot.storage.loras import LoraState, Visibility, Withheld
from engine.contracts.lora import LoraKind, LoraManifest
from engine.contracts.model import StoredObject
from engine.contracts.results import LoraTrained


class Scope(StrEnum):
    """Which shelf somebody looks at."""

    ALL = "all"  # everything they may use
    MINE = "mine"
    SERVER = "server"
    PUBLIC = "public"


@dataclass(frozen=True)
class Filters:
    """What a page shows. `text` is looked for in names, triggers and makers' names."""

    scope: Scope = Scope.ALL
    kind: LoraKind | None = None
    owner_id: int | None = None
    text: str = ""


@dataclass(frozen=True)
class Version:
    """One trained or imported state of a LoRA."""

    lora_id: str
    version: int
    job_id: str | None
    file: StoredObject
    preview: StoredObject | None
    poster: StoredObject | None
    loss_curve: StoredObject | None
    manifest: LoraManifest
    created_at: float

    @property
    def objects(self) -> list[StoredObject]:
        """Everything it keeps in the store."""
        return [obj for obj in (self.file, self.preview, self.poster, self.loss_curve) if obj is not None]


# each shelf is read from one covering index in the order of its pages, and no LoRA stands on two of them
_WANTED = """state <> 'gone' AND (withheld IS NULL OR owner_id = :me) AND (:kind IS NULL OR kind = :kind)
    AND (:owner IS NULL OR owner_id = :owner) AND (:text = '%%' OR name LIKE :text ESCAPE '\\' OR trigger_word LIKE :text ESCAPE '\\'
        OR owner_name LIKE :text ESCAPE '\\')"""
_MINE = f"FROM loras WHERE owner_id = :me AND {_WANTED}"
_SERVER = f"FROM loras WHERE guild_id = :guild AND visibility <> 'private' AND {_WANTED}"
_PUBLIC = f"FROM loras WHERE visibility = 'public' AND {_WANTED}"
_SHELVES: Mapping[Scope, Sequence[str]] = {
    Scope.MINE: (_MINE,),
    Scope.SERVER: (_SERVER,),
    Scope.PUBLIC: (_PUBLIC,),
    Scope.ALL: (_MINE, f"{_SERVER} AND owner_id <> :me", f"{_PUBLIC} AND owner_id <> :me AND guild_id IS NOT :guild"),
}


async def shelf(db: Connection, viewer_id: int, guild_id: int | None, filters: Filters, offset: int, limit: int) -> list[str]:
    """Ids of a stretch of a shelf, newest LoRA first. What is withheld is shown to its owner only.

    Nothing beyond the stretch is read: a page never costs a walk through everything.
    """
    listing = " UNION ALL ".join(f"SELECT lora_id {part}" for part in _SHELVES[filters.scope])
    rows = await db.execute_fetchall(
        f"{listing} ORDER BY lora_id DESC LIMIT :limit OFFSET :offset",
        _wanted(viewer_id, guild_id, filters) | {"limit": limit, "offset": offset},
    )
    return [row["lora_id"] for row in rows]


async def shelf_length(db: Connection, viewer_id: int, guild_id: int | None, filters: Filters) -> int:
    """How many LoRAs `shelf` would list in all; reads every one of them."""
    counting = " + ".join(f"(SELECT count(*) {part})" for part in _SHELVES[filters.scope])
    rows = await db.execute_fetchall(f"SELECT {counting} AS total", _wanted(viewer_id, guild_id, filters))
    return int(next(iter(rows))["total"])


def _wanted(viewer_id: int, guild_id: int | None, filters: Filters) -> dict[str, object]:
    pattern = "%" + filters.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    return {"me": viewer_id, "guild": guild_id, "kind": filters.kind, "owner": filters.owner_id, "text": pattern}


async def add_version(tx: Connection, files: Version) -> int:
    """The newest version of a LoRA, in use from now on; its number. `files.version` is not read."""
    rows = await tx.execute_fetchall(
        """INSERT INTO lora_versions (lora_id, version, job_id, file, preview, poster, loss_curve, manifest, created_at)
        SELECT ?, coalesce(max(version), 0) + 1, ?, ?, ?, ?, ?, ?, ? FROM lora_versions WHERE lora_id = ? RETURNING version""",
        (
            *(files.lora_id, files.job_id, files.file.model_dump_json()),
            *(obj.model_dump_json() if obj else None for obj in (files.preview, files.poster, files.loss_curve)),
            *(files.manifest.model_dump_json(), files.created_at, files.lora_id),
        ),
    )
    number = int(next(iter(rows))["version"])
    await use_version(tx, files.lora_id, number)
    return number


async def mark_ready(tx: Connection, job_id: str, trained: LoraTrained, now: float) -> None:
    """A training's files become the newest version of its LoRA. Of one that was deleted meanwhile they become litter to purge."""
    lora = await loras.get(tx, trained.lora_id)
    if lora is None:
        return
    if lora.state is LoraState.GONE:
        await tx.execute("UPDATE loras SET purged = 0 WHERE lora_id = ?", (trained.lora_id,))
        return
    chosen = Version(
        lora_id=trained.lora_id,
        version=0,
        job_id=job_id,
        file=trained.file,
        preview=trained.preview,
        poster=trained.poster,
        loss_curve=trained.chart or trained.loss_curve,
        manifest=trained.manifest,
        created_at=now,
    )
    for kept in trained.kept:  # to pick instead; what was chosen comes last and is in use
        manifest = trained.manifest.model_copy(update={"steps": kept.step, "final_loss": None})
        await add_version(tx, replace(chosen, file=kept.file, manifest=manifest, preview=None, poster=None))
    await add_version(tx, chosen)


async def versions(db: Connection, lora_id: str) -> list[Version]:
    """All versions, newest first."""
    rows = await db.execute_fetchall("SELECT * FROM lora_versions WHERE lora_id = ? ORDER BY version DESC", (lora_id,))
    return [_version(row) for row in rows]


async def use_version(tx: Connection, lora_id: str, version: int) -> bool:
    """Make a version the one in use; False when there is none of this number."""
    cursor = await tx.execute(
        """UPDATE loras SET state = 'ready', version = chosen.version, file = chosen.file, preview = chosen.preview, poster = chosen.poster,
            loss_curve = chosen.loss_curve, manifest = chosen.manifest
        FROM lora_versions AS chosen
        WHERE loras.lora_id = ? AND loras.state <> 'gone' AND chosen.lora_id = loras.lora_id AND chosen.version = ?""",
        (lora_id, version),
    )
    return cursor.rowcount == 1


async def edit(tx: Connection, lora_id: str, *, name: str, visibility: Visibility, examples: Sequence[str]) -> None:
    """What an owner may change.

    Raises:
        sqlite3.IntegrityError: the name is taken where the LoRA would be seen.
    """
    await tx.execute(
        "UPDATE loras SET name = ?, visibility = ?, examples = ? WHERE lora_id = ?",
        (name, visibility, json.dumps(list(examples), ensure_ascii=False), lora_id),
    )


async def copies(db: Connection, lora_id: str) -> list[str]:
    """Other LoRAs made of the same data: imported from a file of this one, or of such a copy, or trained on the same set."""
    rows = await db.execute_fetchall(
        """SELECT DISTINCT theirs.lora_id FROM lora_versions AS mine CROSS JOIN lora_versions AS theirs
            ON json_extract(theirs.manifest, '$.data_sha256') = json_extract(mine.manifest, '$.data_sha256')
        WHERE mine.lora_id = ? AND theirs.lora_id <> mine.lora_id ORDER BY 1""",
        (lora_id,),
    )
    return [row["lora_id"] for row in rows]


async def withheld_data(db: Connection, data_sha256: str) -> Withheld | None:
    """Why a LoRA that was made of this data may not be used; None when there is no such LoRA, or it may."""
    rows = await db.execute_fetchall(
        """SELECT withheld FROM lora_versions JOIN loras USING (lora_id)
        WHERE json_extract(lora_versions.manifest, '$.data_sha256') = ? AND withheld IS NOT NULL LIMIT 1""",
        (data_sha256,),
    )
    return next((Withheld(row["withheld"]) for row in rows), None)


async def withhold(tx: Connection, lora_id: str, reason: Withheld | None) -> None:
    """Keep everybody from using it, or give it back (None)."""
    await tx.execute("UPDATE loras SET withheld = ? WHERE lora_id = ?", (reason, lora_id))


async def mark_gone(tx: Connection, lora_id: str) -> bool:
    """`ready -> gone`; False when it was not there. Casts lose this member."""
    if (await tx.execute("UPDATE loras SET state = 'gone' WHERE lora_id = ? AND state = 'ready'", (lora_id,))).rowcount == 0:
        return False
    await tx.execute("DELETE FROM cast_members WHERE lora_id = ?", (lora_id,))
    return True


async def to_purge(db: Connection, limit: int = 50) -> list[str]:
    """Gone LoRAs whose files are still there and that no open job loads."""
    rows = await db.execute_fetchall(
        """SELECT lora_id FROM loras WHERE state = 'gone' AND purged = 0 AND NOT EXISTS (
            SELECT 1 FROM jobs, json_each(jobs.request, '$.adapters') AS used
            WHERE jobs.finished_at IS NULL AND json_extract(used.value, '$.lora_id') = loras.lora_id) LIMIT ?""",
        (limit,),
    )
    return [row["lora_id"] for row in rows]


async def mark_purged(tx: Connection, lora_id: str) -> None:
    """Its files are deleted, so its versions are forgotten."""
    await tx.execute("DELETE FROM lora_versions WHERE lora_id = ?", (lora_id,))
    await tx.execute(
        "UPDATE loras SET purged = 1, file = NULL, preview = NULL, poster = NULL, loss_curve = NULL WHERE lora_id = ? AND state = 'gone'",
        (lora_id,),
    )


async def open_jobs_using(db: Connection, lora_id: str) -> list[str]:
    """Ids of the jobs that have not ended and load the LoRA."""
    rows = await db.execute_fetchall(
        """SELECT job_id FROM jobs, json_each(jobs.request, '$.adapters') AS used
        WHERE jobs.finished_at IS NULL AND json_extract(used.value, '$.lora_id') = ? ORDER BY job_id""",
        (lora_id,),
    )
    return [row["job_id"] for row in rows]


async def open_trainings_of(db: Connection, lora_id: str) -> list[str]:
    """Ids of the trainings that have not ended and make the LoRA, or a new version of it."""
    rows = await db.execute_fetchall(
        "SELECT job_id FROM jobs WHERE finished_at IS NULL AND kind = 'train_lora' AND json_extract(request, '$.lora_id') = ?", (lora_id,)
    )
    return [row["job_id"] for row in rows]


def _version(row: Row) -> Version:
    def stored(column: str) -> StoredObject | None:
        return StoredObject.model_validate_json(row[column]) if row[column] is not None else None

    return Version(
        lora_id=row["lora_id"],
        version=row["version"],
        job_id=row["job_id"],
        file=StoredObject.model_validate_json(row["file"]),
        preview=stored("preview"),
        poster=stored("poster"),
        loss_curve=stored("loss_curve"),
        manifest=LoraManifest.model_validate_json(row["manifest"]),
        created_at=row["created_at"],
    )
