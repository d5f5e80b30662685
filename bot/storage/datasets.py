"""Rows of `datasets` and `dataset_items`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from sqlite3 import Row

from aiosqlite import Connection

from engine.contracts.controls import ControlKind
from engine.contracts.lora import LoraKind
from engine.contracts.media import ItemVerdict
from engine.contracts.model import StoredObject


class DatasetState(StrEnum):
    """A draft grows until it is started or dropped."""

    DRAFT = "draft"
    STARTED = "started"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class DatasetRecord:
    """One training set. `items` counts its pictures and clips."""

    dataset_id: str  # ULID
    owner_id: int
    guild_id: int | None
    name: str
    kind: LoraKind
    trigger: str | None
    state: DatasetState
    items: int
    job_id: str | None
    created_at: float
    lora_id: str | None = None  # the LoRA this set makes a new version of
    control: ControlKind | None = None  # what guides an effect; None: the base's own choice
    clips: int = 0  # of the items
    person_id: int | None = None  # the real person it shows
    captions_due: bool = False  # somebody is describing items that came without a caption


@dataclass(frozen=True)
class ItemRecord:
    """One picture or clip that was accepted, or (with `guides`) the guide of one."""

    media: StoredObject
    filename: str
    caption: str | None
    width: int
    height: int
    num_frames: int
    verdict: ItemVerdict | None = None  # what the check said
    thumb: bytes | None = None  # a small JPEG
    guides: str | None = None  # file name of the item this one guides
    suggested: str | None = None  # a caption from the base's own captioner

    @property
    def words(self) -> str | None:
        """The caption it is trained with: a person's, else the suggested one."""
        return self.caption or self.suggested

    @property
    def judged(self) -> ItemVerdict:
        """The verdict with the caption as it is now."""
        verdict = self.verdict or ItemVerdict(filename=self.filename, num_frames=self.num_frames, fps=24.0 if self.num_frames > 1 else None)
        return verdict.model_copy(update={"caption": self.words})


async def belongs_to(db: Connection, dataset_id: str) -> tuple[int, int | None] | None:
    """Owner and server of a data set; the id may have a page after a dot."""
    rows = await db.execute_fetchall("SELECT owner_id, guild_id FROM datasets WHERE dataset_id = ?", (dataset_id.partition(".")[0],))
    return next(((row["owner_id"], row["guild_id"]) for row in rows), None)


async def insert(tx: Connection, record: DatasetRecord) -> None:
    """Insert an empty draft."""
    await tx.execute(
        """INSERT INTO datasets (dataset_id, owner_id, guild_id, name, kind, trigger_word, state, created_at, lora_id, control, person_id)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            *(record.dataset_id, record.owner_id, record.guild_id, record.name, record.kind, record.trigger),
            *(record.state, record.created_at, record.lora_id, record.control, record.person_id),
        ),
    )


async def get(db: Connection, dataset_id: str) -> DatasetRecord | None:
    """One set."""
    rows = await db.execute_fetchall(f"{_SELECT} WHERE dataset_id = ?", (dataset_id,))
    return next(map(_record, rows), None)


async def drafts(db: Connection, owner_id: int, name: str) -> list[DatasetRecord]:
    """Drafts of one person under one name."""
    rows = await db.execute_fetchall(f"{_SELECT} WHERE owner_id = ? AND name = ? AND state = 'draft'", (owner_id, name))
    return [_record(row) for row in rows]


async def stale_drafts(db: Connection, before: float) -> list[DatasetRecord]:
    """Drafts opened before a time."""
    rows = await db.execute_fetchall(f"{_SELECT} WHERE state = 'draft' AND created_at < ?", (before,))
    return [_record(row) for row in rows]


async def items(db: Connection, dataset_id: str) -> list[ItemRecord]:
    """Items in the order they were added, without guides."""
    rows = await db.execute_fetchall("SELECT * FROM dataset_items WHERE dataset_id = ? AND guides IS NULL ORDER BY item_id", (dataset_id,))
    return [_item(row) for row in rows]


async def guides(db: Connection, dataset_id: str) -> dict[str, ItemRecord]:
    """Guides of a set, by the file name of what they guide."""
    rows = await db.execute_fetchall("SELECT * FROM dataset_items WHERE dataset_id = ? AND guides IS NOT NULL", (dataset_id,))
    return {row["guides"]: _item(row) for row in rows}


async def set_caption(tx: Connection, dataset_id: str, sha256: str, caption: str | None) -> bool:
    """Change the caption of one item of a draft, a suggested one left as it is being none; False when it is gone or the draft is closed."""
    cursor = await tx.execute(
        """UPDATE dataset_items SET caption = NULLIF(?, suggested) WHERE dataset_id = ? AND sha256 = ?
        AND dataset_id IN (SELECT dataset_id FROM datasets WHERE state = 'draft')""",
        (caption, dataset_id, sha256),
    )
    return cursor.rowcount == 1


async def await_captions(tx: Connection, dataset_id: str, job_id: str) -> None:
    """`job_id` describes the items of a draft from now on, and no other job."""
    await tx.execute("UPDATE datasets SET caption_job = ?, captions_due = 1 WHERE dataset_id = ? AND state = 'draft'", (job_id, dataset_id))


async def caption_job(db: Connection, dataset_id: str) -> str | None:
    """The job that describes its items, while it has not ended."""
    rows = await db.execute_fetchall("SELECT caption_job FROM datasets WHERE dataset_id = ? AND captions_due = 1", (dataset_id,))
    return next((row["caption_job"] for row in rows), None)


async def is_caption_job(db: Connection, job_id: str) -> bool:
    """True for a job whose answer a draft waits for."""
    sql = "SELECT 1 FROM datasets WHERE caption_job = ? AND captions_due = 1 AND state = 'draft'"
    return bool(list(await db.execute_fetchall(sql, (job_id,))))


async def end_captions(tx: Connection, job_id: str) -> None:
    """Nobody waits for this job any more."""
    await tx.execute("UPDATE datasets SET captions_due = 0 WHERE caption_job = ?", (job_id,))


async def suggest(tx: Connection, dataset_id: str, captions: Mapping[str, str]) -> None:
    """Keep suggested captions, by the content's hash, of a draft that is still one."""
    await tx.executemany(
        """UPDATE dataset_items SET suggested = ? WHERE dataset_id = ? AND sha256 = ?
        AND dataset_id IN (SELECT dataset_id FROM datasets WHERE state = 'draft')""",
        [(text, dataset_id, sha256) for sha256, text in captions.items()],
    )


async def add_item(tx: Connection, dataset_id: str, item: ItemRecord) -> bool:
    """Add one item to a draft; False when the set has the same bytes, or is no draft any more."""
    cursor = await tx.execute(
        """INSERT INTO dataset_items (dataset_id, sha256, media, filename, caption, width, height, num_frames, verdict, thumb, guides)
        SELECT dataset_id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM datasets WHERE dataset_id = ? AND state = 'draft'
        ON CONFLICT (dataset_id, sha256) DO NOTHING""",
        (
            *(item.media.sha256, item.media.model_dump_json(), item.filename, item.caption),
            *(item.width, item.height, item.num_frames, item.verdict.model_dump_json() if item.verdict else None, item.thumb, item.guides),
            dataset_id,
        ),
    )
    return cursor.rowcount == 1


async def count_items(db: Connection, dataset_id: str) -> int:
    """Items of one set."""
    rows = await db.execute_fetchall("SELECT count(*) AS items FROM dataset_items WHERE dataset_id = ? AND guides IS NULL", (dataset_id,))
    return int(next(iter(rows))["items"])


async def mark_started(tx: Connection, dataset_id: str, job_id: str) -> bool:
    """`draft -> started`; False when it is no draft any more."""
    sql = "UPDATE datasets SET state = 'started', job_id = ? WHERE dataset_id = ? AND state = 'draft'"
    return (await tx.execute(sql, (job_id, dataset_id))).rowcount == 1


async def discard(tx: Connection, dataset_id: str) -> bool:
    """`draft -> discarded`, items forgotten; False when it is no draft any more."""
    sql = "UPDATE datasets SET state = 'discarded' WHERE dataset_id = ? AND state = 'draft'"
    if (await tx.execute(sql, (dataset_id,))).rowcount == 0:
        return False
    await tx.execute("DELETE FROM dataset_items WHERE dataset_id = ?", (dataset_id,))
    return True


async def expired(db: Connection, before: float, limit: int = 100) -> list[str]:
    """Started sets that still have files, although their training ended before a time."""
    rows = await db.execute_fetchall(
        """SELECT dataset_id FROM datasets JOIN jobs USING (job_id) WHERE finished_at < ?
            AND EXISTS (SELECT 1 FROM dataset_items WHERE dataset_items.dataset_id = datasets.dataset_id) LIMIT ?""",
        (before, limit),
    )
    return [row["dataset_id"] for row in rows]


async def forget_items(tx: Connection, dataset_id: str) -> None:
    """Forget the files of a set; the set stays."""
    await tx.execute("DELETE FROM dataset_items WHERE dataset_id = ?", (dataset_id,))


async def person_of(db: Connection, lora_id: str) -> int | None:
    """Whom the first training of a LoRA showed."""
    rows = await db.execute_fetchall(
        """SELECT person_id FROM datasets JOIN jobs USING (job_id) WHERE json_extract(request, '$.lora_id') = ?
        ORDER BY dataset_id LIMIT 1""",
        (lora_id,),
    )
    return next((row["person_id"] for row in rows), None)


async def unreferenced(db: Connection, uploads: Sequence[StoredObject]) -> list[str]:
    """Keys of those uploads that no item and no job refers to."""
    free = []
    for upload in uploads:
        rows = await db.execute_fetchall(
            """SELECT 1 FROM dataset_items WHERE sha256 = ? AND json_extract(media, '$.key') = ? UNION ALL
            SELECT 1 FROM jobs WHERE kind = 'generate_video' AND json_extract(request, '$.image.key') = ? LIMIT 1""",
            (upload.sha256, upload.key, upload.key),
        )
        if not list(rows):
            free.append(upload.key)
    return free


_SELECT = """SELECT *,
    (SELECT count(*) FROM dataset_items AS item WHERE item.dataset_id = datasets.dataset_id AND guides IS NULL) AS items,
    (SELECT count(*) FROM dataset_items AS item WHERE item.dataset_id = datasets.dataset_id AND guides IS NULL AND num_frames > 1) AS clips
    FROM datasets"""


def _record(row: Row) -> DatasetRecord:
    return DatasetRecord(
        dataset_id=row["dataset_id"],
        owner_id=row["owner_id"],
        guild_id=row["guild_id"],
        name=row["name"],
        kind=LoraKind(row["kind"]),
        trigger=row["trigger_word"],
        state=DatasetState(row["state"]),
        items=row["items"],
        job_id=row["job_id"],
        created_at=row["created_at"],
        control=ControlKind(row["control"]) if row["control"] else None,
        clips=row["clips"],
        lora_id=row["lora_id"],
        person_id=row["person_id"],
        captions_due=bool(row["captions_due"]),
    )


def _item(row: Row) -> ItemRecord:
    return ItemRecord(
        media=StoredObject.model_validate_json(row["media"]),
        filename=row["filename"],
        caption=row["caption"],
        width=row["width"],
        height=row["height"],
        num_frames=row["num_frames"],
        verdict=ItemVerdict.model_validate_json(row["verdict"]) if row["verdict"] else None,
        thumb=row["thumb"],
        guides=row["guides"],
        suggested=row["suggested"],
    )
