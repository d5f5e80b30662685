"""Rows of `likenesses`: real people in trainings, and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from sqlite3 import Row

from aiosqlite import Connection


class Consent(StrEnum):
    """What the person said last."""

    STATED = "stated"  # by the owner; the person knows of nothing yet
    ASKED = "asked"
    GRANTED = "granted"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Likeness:
    """One data set that shows a real person, and the LoRA it became."""

    dataset_id: str
    lora_id: str | None  # None until its training is started
    name: str  # of the LoRA now, or of the data set
    person_id: int
    owner_id: int
    state: Consent


async def put(tx: Connection, *, dataset_id: str, person_id: int, owner_id: int, state: Consent, now: float) -> None:
    """Note a person; a data set has one."""
    await tx.execute(
        """INSERT INTO likenesses (dataset_id, person_id, owner_id, state, changed_at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (dataset_id) DO NOTHING""",
        (dataset_id, person_id, owner_id, state, now),
    )


async def get(db: Connection, dataset_id: str) -> Likeness | None:
    """Who a data set shows."""
    return next(map(_record, await db.execute_fetchall(f"{_SELECT} WHERE likenesses.dataset_id = ?", (dataset_id,))), None)


async def of_person(db: Connection, person_id: int, limit: int) -> list[Likeness]:
    """Data sets and LoRAs that show somebody, newest first."""
    rows = await db.execute_fetchall(
        f"{_SELECT} WHERE likenesses.person_id = ? ORDER BY likenesses.dataset_id DESC LIMIT ?", (person_id, limit)
    )
    return [_record(row) for row in rows]


async def became(tx: Connection, dataset_id: str, lora_id: str) -> None:
    """The data set's training is started."""
    await tx.execute("UPDATE likenesses SET lora_id = ? WHERE dataset_id = ?", (lora_id, dataset_id))


async def of_lora(db: Connection, lora_id: str) -> list[Likeness]:
    """Everybody a LoRA shows, one per data set it was trained on."""
    rows = await db.execute_fetchall(f"{_SELECT} WHERE likenesses.lora_id = ?", (lora_id,))
    return [_record(row) for row in rows]


async def decide(tx: Connection, dataset_id: str, state: Consent, now: float) -> None:
    """The person answers, or changes their mind."""
    await tx.execute("UPDATE likenesses SET state = ?, changed_at = ? WHERE dataset_id = ?", (state, now, dataset_id))


_SELECT = """SELECT likenesses.*, coalesce(loras.name, datasets.name) AS name
FROM likenesses JOIN datasets USING (dataset_id) LEFT JOIN loras ON loras.lora_id = likenesses.lora_id"""


def _record(row: Row) -> Likeness:
    return Likeness(
        dataset_id=row["dataset_id"],
        lora_id=row["lora_id"],
        name=row["name"],
        person_id=row["person_id"],
        owner_id=row["owner_id"],
        state=Consent(row["state"]),
    )
