"""From files strangers sent to objects in the store: checked in a subprocess, stored only when the check is content."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bot import media
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.services.screening import Screening
from bot.services.values import Actor, IncomingFile
from bot.storage import datasets as table
from bot.storage.database import Database
from bot.storage.datasets import ItemRecord
from engine.contracts.controls import ControlKind
from engine.contracts.lora import LoraKind
from engine.contracts.media import GuideRule, IngestReport, ItemVerdict, MediaProblem, Problem
from engine.contracts.model import StoredObject
from engine.contracts.objects import upload_key
from engine.errors import StoreError
from engine.store import ObjectStore

logger = logging.getLogger(__name__)

ZIP = "application/zip"
CHECKS_AT_ONCE = 2
STORING_AT_ONCE = 8


@dataclass(frozen=True)
class Uploads:
    """Checks and stores uploads; few checks at once, since each one decodes pictures."""

    settings: BotSettings
    database: Database
    store: ObjectStore
    screening: Screening
    _checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHECKS_AT_ONCE))
    _in_hand: Counter[str] = field(default_factory=Counter)
    """Keys that are stored and not yet inserted; nobody may think they are unused."""

    @asynccontextmanager
    async def taken(
        self, actor: Actor, files: Sequence[IncomingFile], kind: LoraKind, *, held: frozenset[str], control: ControlKind | None = None
    ) -> AsyncIterator[tuple[tuple[ItemVerdict, ...], list[ItemRecord]]]:
        """Check training files and store the usable ones; an exception in the block deletes them again.

        Args:
            actor: Whose uploads they are, and where they were sent.
            files: What arrived.
            kind: What will be trained, for the size that is worth noting.
            held: Hashes the set already has.
            control: What guides an effect; None: the base's own choice.

        Yields:
            Every verdict, and the items to insert.

        Raises:
            Refusal: NO_ATTACHMENT, FILE_TOO_LARGE, ARCHIVE_REFUSED, NO_USABLE_MEDIA, TOO_MANY_ITEMS, MEDIA_CHECK_FAILED,
                TAKEN_DOWN, UPLOAD_ADULT, STORE_UNAVAILABLE; nothing of the upload is kept then.
        """
        side = min(self.settings.profile.training[kind].width, self.settings.profile.training[kind].height)
        guides = GuideRule.NONE
        if kind is LoraKind.EFFECT:
            guides = GuideRule.OPTIONAL if control is None or control.computed else GuideRule.REQUIRED
        async with self._checked(files, side, base=self.settings.profile.name, guides=guides) as report:
            verdicts = tuple(_against(held, verdict) for verdict in report.items)
            accepted = [verdict for verdict in verdicts if verdict.problem is None]
            if not accepted:
                raise _all_refused(verdicts)
            count = sum(1 for verdict in accepted if verdict.guides is None) + len(held)
            if count > self.settings.max_dataset_items:
                raise Refusal(RefusalCode.TOO_MANY_ITEMS, items=count, limit=self.settings.max_dataset_items)
            await self.screening.refuse_upload(accepted, actor)
            async with self._stored(actor.user_id, accepted) as stored:
                thumbs = await asyncio.to_thread(lambda: [_thumb(verdict) for verdict in accepted])
                yield verdicts, [_item(verdict, obj, thumb) for verdict, obj, thumb in zip(accepted, stored, thumbs, strict=True)]

    @asynccontextmanager
    async def image_taken(self, actor: Actor, file: IncomingFile) -> AsyncIterator[tuple[StoredObject, ItemVerdict]]:
        """Check and store a single picture; an exception in the block deletes it again.

        Raises:
            Refusal: IMAGE_UNUSABLE, FILE_TOO_LARGE, MEDIA_CHECK_FAILED, STORE_UNAVAILABLE.
        """
        side = min(next(iter(self.settings.profile.geometry.aspects.values())))
        async with self._checked([file], side) as report:
            verdict = report.items[0]
            problem = verdict.problem
            if problem is None and (len(report.items) != 1 or verdict.archive is not None or verdict.num_frames != 1):
                problem = Problem(code=MediaProblem.UNSUPPORTED, detail="The start picture has to be one picture, no clip and no zip.")
            if problem is not None:
                raise Refusal(RefusalCode.IMAGE_UNUSABLE, filename=file.filename, problem=problem.code, detail=problem.detail)
            await self.screening.refuse_upload([verdict], actor)
            async with self._stored(actor.user_id, [verdict]) as stored:
                yield stored[0], verdict

    @asynccontextmanager
    async def clip_taken(
        self, actor: Actor, file: IncomingFile, role: str, *, max_seconds: float
    ) -> AsyncIterator[tuple[StoredObject, ItemVerdict]]:
        """Check and store a single clip to work from; an exception in the block deletes it again.

        Raises:
            Refusal: CLIP_UNUSABLE, FILE_TOO_LARGE, MEDIA_CHECK_FAILED, STORE_UNAVAILABLE.
        """
        side = min(next(iter(self.settings.profile.geometry.aspects.values())))
        async with self._checked([file], side, moving_s=max_seconds) as report:
            verdict = report.items[0]
            if verdict.problem is not None:
                facts = {"problem": verdict.problem.code, "detail": verdict.problem.detail, "limit": max_seconds}
                raise Refusal(RefusalCode.CLIP_UNUSABLE, filename=file.filename, role=role, **facts)
            await self.screening.refuse_upload([verdict], actor)
            async with self._stored(actor.user_id, [verdict]) as stored:
                yield stored[0], verdict

    def in_hand(self, key: str) -> bool:
        """True for an object that is stored and whose row is about to be inserted."""
        return self._in_hand[key] > 0

    async def drop(self, uploads: Sequence[StoredObject]) -> None:
        """Delete those uploads that nothing refers to; a store that does not answer keeps them, which does no harm."""
        try:
            for key in await table.unreferenced(self.database.reader, uploads):
                if not self.in_hand(key):
                    await self.store.delete(key)
        except StoreError as error:
            logger.warning("unused uploads were not deleted: %s", error)

    @asynccontextmanager
    async def _checked(
        self,
        files: Sequence[IncomingFile],
        side: int,
        *,
        base: str | None = None,
        guides: GuideRule = GuideRule.NONE,
        moving_s: float | None = None,
    ) -> AsyncIterator[IngestReport]:
        """The report on `files`; accepted bytes exist until the end of the block. `moving_s`: they have to be clips of that length."""
        if not files:
            raise Refusal(RefusalCode.NO_ATTACHMENT)
        limit = self.settings.max_upload_bytes
        for file in files:
            if file.size > limit:
                raise Refusal(RefusalCode.FILE_TOO_LARGE, filename=file.filename, size=file.size, limit=limit)
        folder = await asyncio.to_thread(_scratch, self.settings.scratch_dir)
        try:
            try:
                async with self._checks:
                    report = await media.check_uploads(
                        [(file.path, file.filename) for file in files],
                        folder,
                        side=side,
                        base=base,
                        guides=guides,
                        moving_s=moving_s,
                        timeout_s=self.settings.media_check_timeout_s,
                    )
            except media.MediaError as error:
                logger.error("the check of uploads failed: %s", error)  # noqa: TRY400 - the cause is in the message
                raise Refusal(RefusalCode.MEDIA_CHECK_FAILED) from error
            yield report
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    @asynccontextmanager
    async def _stored(self, user_id: int, verdicts: Sequence[ItemVerdict]) -> AsyncIterator[list[StoredObject]]:
        """Accepted files under their content's name, until the block has inserted them."""
        keys = Counter(_key(user_id, verdict) for verdict in verdicts)
        done: list[StoredObject] = []
        self._in_hand.update(keys)
        try:
            yield await self._store_all(user_id, verdicts, done)
        except BaseException:
            self._in_hand.subtract(keys)
            await asyncio.shield(self.drop(done))
            raise
        self._in_hand.subtract(keys)

    async def _store_all(self, user_id: int, verdicts: Sequence[ItemVerdict], done: list[StoredObject]) -> list[StoredObject]:
        gate = asyncio.Semaphore(STORING_AT_ONCE)

        async def store(verdict: ItemVerdict) -> StoredObject:
            async with gate:
                obj = await self.store.put_file(_key(user_id, verdict), Path(verdict.path or ""), verdict.media_type or "")
                done.append(obj)
                return obj

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(store(verdict)) for verdict in verdicts]
        except ExceptionGroup as failed:
            ours, others = failed.split((StoreError, OSError))
            if others is not None:
                raise
            logger.warning("uploads were not stored: %s", ours)
            raise Refusal(RefusalCode.STORE_UNAVAILABLE) from None
        return [task.result() for task in tasks]


def _key(user_id: int, verdict: ItemVerdict) -> str:
    return upload_key(user_id, verdict.sha256 or "", verdict.media_type or "")


def _thumb(verdict: ItemVerdict) -> bytes | None:
    return Path(verdict.thumb).read_bytes() if verdict.thumb else None


def _item(verdict: ItemVerdict, obj: StoredObject, thumb: bytes | None) -> ItemRecord:
    return ItemRecord(
        media=obj,
        filename=verdict.filename,
        caption=verdict.caption,
        width=verdict.width or 0,
        height=verdict.height or 0,
        num_frames=verdict.num_frames or 1,
        verdict=verdict.model_copy(update={"path": None, "thumb": None}),
        thumb=thumb,
        guides=verdict.guides,
    )


def _scratch(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="upload-", dir=parent))


def _against(held: frozenset[str], verdict: ItemVerdict) -> ItemVerdict:
    if verdict.problem is not None or verdict.sha256 not in held:
        return verdict
    problem = Problem(code=MediaProblem.DUPLICATE, detail="The set already has this file.")
    return verdict.model_copy(update={"problem": problem, "path": None})


def _all_refused(verdicts: tuple[ItemVerdict, ...]) -> Refusal:
    if len(verdicts) == 1 and verdicts[0].media_type == ZIP and verdicts[0].problem is not None:
        problem = verdicts[0].problem
        return Refusal(RefusalCode.ARCHIVE_REFUSED, filename=verdicts[0].filename, problem=problem.code, detail=problem.detail)
    return Refusal(RefusalCode.NO_USABLE_MEDIA, verdicts=verdicts)
