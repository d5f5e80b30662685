"""The clean-up of the store: what is in use stays, whatever the mixture; what is left behind goes."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ulid import ULID

from bot.config import BotSettings
from bot.services.garbage import Garbage
from bot.storage import jobs as jobs_table
from bot.storage.database import Database, open_database
from bot.storage.jobs import Ending
from bot.storage.references import keys_in
from engine.contracts import objects
from engine.contracts.model import StoredObject
from engine.contracts.results import LoraTrained
from engine.contracts.status import JobStatus
from engine.store import ObjectStore
from tests.support import contracts
from tests.support.bot_core import rendered
from tests.support.database import NOW, new_job

GRACE_S = 100.0
DAY_S = 24 * 3600.0


@dataclass
class Yard:
    """A store and a database, and what of the store is in use."""

    folder: Path
    database: Database
    store: ObjectStore
    needed: set[str]
    litter: set[str]

    async def put(self, key: str, *, used: bool, old: bool = True) -> StoredObject:
        """An object, as old as it has to be; a fresh one always stays."""
        obj = await self.store.put_bytes(key, key.encode(), "application/octet-stream")
        age_s = 2 * GRACE_S if old else 0.0
        await asyncio.to_thread(os.utime, self.folder / "store" / key, (NOW - age_s, NOW - age_s))
        (self.needed if used or not old else self.litter).add(key)
        return obj

    async def clip(self, *, status: str, deleted: bool, age_s: float, old: bool, keep_s: float | None, user: int) -> None:
        """A clip with a start picture, two tries' files and the LoRA of somebody."""
        job_id = str(ULID())
        is_open = status == "open"
        kept = is_open or (not deleted and (keep_s is None or age_s <= keep_s))
        image = await self.put(f"uploads/{user}/{job_id}.png", used=kept, old=old)
        lora = await self.put(f"loras/lora{job_id[-6:]}/{job_id[:-1]}0-1.safetensors", used=is_open, old=old)
        use = contracts.adapter_use(file=lora)
        job = contracts.generate_video(job_id=job_id, image=image, adapters=(use,))
        await self.put(objects.artifact_key(job_id, 1, "clip.mp4"), used=is_open, old=old)  # of a try that was killed
        file = await self.put(objects.artifact_key(job_id, 2, "clip.mp4"), used=kept, old=old)
        ending = Ending(JobStatus.SUCCEEDED, 1, NOW - age_s, result=rendered(job).model_copy(update={"file": file}))
        await self._insert(job, None if is_open else ending, deleted)

    async def training(self, *, status: str, gone: bool, old: bool, user: int) -> None:
        """A training with a picture, a checkpoint, two tries' weights, and its LoRA."""
        job_id, lora_id = str(ULID()), str(ULID()).lower()
        is_open = status == "open"
        picture = await self.put(f"uploads/{user}/{job_id}.jpg", used=True, old=old)
        job = contracts.train_lora(job_id=job_id, lora_id=lora_id, name=f"n{job_id[-8:].lower()}")
        await self.put(objects.checkpoint_key(job_id, "000010-1-state.pt"), used=is_open, old=old)
        await self.put(objects.lora_key(lora_id, job_id, 1), used=is_open, old=old)
        file = await self.put(objects.lora_key(lora_id, job_id, 2), used=is_open or not gone, old=old)
        result = LoraTrained(
            lora_id=lora_id, file=file, manifest=contracts.manifest(), preview=None, poster=None, loss_curve=None, steps=1, seconds=1
        )
        await self._insert(job, None if is_open else Ending(JobStatus.SUCCEEDED, 1, NOW, result=result), False)
        async with self.database.transaction() as tx:
            await tx.execute(
                """INSERT INTO datasets (dataset_id, owner_id, name, kind, state, job_id, created_at)
                VALUES (?, 1, ?, 'character', 'started', ?, 0)""",
                (job_id, job.name, job_id),
            )
            await tx.execute(
                """INSERT INTO dataset_items (dataset_id, sha256, media, filename, width, height, num_frames)
                VALUES (?, ?, ?, 'a', 1, 1, 1)""",
                (job_id, picture.sha256, picture.model_dump_json()),
            )
            await tx.execute(
                """INSERT INTO loras (lora_id, owner_id, owner_name, name, kind, base, state, job_id, file, created_at)
                VALUES (?, 1, 'm', ?, 'character', 'tiny', ?, ?, ?, 0)""",
                (lora_id, job.name, "training" if is_open else "gone" if gone else "ready", job_id, file.model_dump_json()),
            )

    async def orphan(self, *, old: bool) -> None:
        """What a crash left, of jobs and people nobody knows."""
        job_id = str(ULID())
        for key in (
            objects.artifact_key(job_id, 1, "clip.mp4"),
            objects.upload_key(7, "ab" * 32, "image/png"),
            objects.checkpoint_key(job_id, "x"),
        ):
            if key not in self.needed | self.litter:
                await self.put(key, used=False, old=old)

    async def _insert(self, job: Any, ending: Ending | None, deleted: bool) -> None:
        async with self.database.transaction() as tx:
            await jobs_table.insert(tx, new_job(job))
            if ending is not None:
                await jobs_table.finish(tx, job.job_id, ending)
            if deleted:
                await jobs_table.mark_deleted(tx, job.job_id)

    def garbage(self, in_hand: Callable[[str], bool] = lambda _: False, **changes: Any) -> Garbage:
        """The clean-up of this yard."""
        return Garbage(BotSettings(garbage_grace_s=GRACE_S, **changes), self.database, self.store, lambda: NOW, in_hand)


CLIP = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["open", "ended"]),
        "deleted": st.booleans(),
        "age_s": st.sampled_from([1.0, 3 * DAY_S]),
        "old": st.booleans(),
        "user": st.integers(1, 3),
    }
)
TRAINING = st.fixed_dictionaries(
    {"status": st.sampled_from(["open", "ended"]), "gone": st.booleans(), "old": st.booleans(), "user": st.integers(1, 3)}
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CLIP, max_size=5), st.lists(TRAINING, max_size=3), st.lists(st.booleans(), max_size=2), st.sampled_from([None, DAY_S]))
def test_clean_up_deletes_exactly_what_nothing_refers_to(
    clips: list[dict[str, Any]], trainings: list[dict[str, Any]], orphans: list[bool], keep_s: float | None
) -> None:
    """Whatever jobs, LoRAs and left-overs there are: everything in use or fresh stays, everything else goes."""

    async def play() -> None:
        with tempfile.TemporaryDirectory() as name:
            async with _yard(Path(name)) as yard:
                for clip in clips:
                    await yard.clip(keep_s=keep_s, **clip)
                for training in trainings:
                    await yard.training(**training)
                for old in orphans:
                    await yard.orphan(old=old)
                swept = await yard.garbage(clip_expires_s=keep_s).collect()
                left = set(await yard.store.list(""))
                assert yard.needed <= left, f"deleted in use: {yard.needed - left}"
                assert left == yard.needed, f"left behind: {left - yard.needed}"
                assert swept.deleted == len(yard.litter)

    asyncio.run(play())


@asynccontextmanager
async def _yard(folder: Path) -> AsyncIterator[Yard]:
    async with open_database(folder / "db.sqlite3") as database:
        yield Yard(folder, database, ObjectStore.open((folder / "store").as_uri()), set(), set())


async def test_upload_stays_when_it_is_stored_and_not_yet_inserted(tmp_path: Path) -> None:
    """Between the file and its row there is a moment; the clean-up asks."""
    async with _yard(tmp_path) as yard:
        key = objects.upload_key(1, "cd" * 32, "image/png")
        await yard.put(key, used=False)
        assert (await yard.garbage(in_hand=lambda asked: asked == key).collect()).deleted == 0
        assert (await yard.garbage().collect()).deleted == 1


async def test_foreign_files_stay_when_they_lie_in_the_same_bucket(tmp_path: Path) -> None:
    """Backups and whatever else an operator keeps there are not ours."""
    async with _yard(tmp_path) as yard:
        await yard.put("backups/2026.sqlite3", used=True)
        assert (await yard.garbage().collect()).deleted == 0
        assert await yard.store.exists("backups/2026.sqlite3")


def test_keys_are_found_wherever_a_text_mentions_them() -> None:
    """In JSON, in a plain column, not inside other words."""
    text = '{"key":"jobs/01/2/clip.mp4"} loras/a/b-1.safetensors not-jobs/1 xuploads/2'
    assert keys_in(text) == {"jobs/01/2/clip.mp4", "loras/a/b-1.safetensors"}
