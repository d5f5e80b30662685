"""Training sets: opened by `/train`, grown by the modal, started once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aiosqlite import Connection
from ulid import ULID

from bot.clock import Clock
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.services.estimates import Estimates
from bot.services.freezing import Freezing
from bot.services.likenesses import Likenesses
from bot.services.loras import first_visibility, parse_name, parse_trigger, refuse_taken
from bot.services.quotas import Quotas, QuotaStatus
from bot.services.uploads import Uploads
from bot.services.values import Actor, IncomingFile
from bot.storage import datasets as table
from bot.storage.database import Database
from bot.storage.datasets import DatasetRecord, DatasetState, ItemRecord
from bot.storage.loras import LoraRecord
from engine.contracts.assessment import Assessment, assess
from engine.contracts.controls import ControlKind
from engine.contracts.lora import DATASET_GUIDANCE, LoraKind
from engine.contracts.media import MAX_CAPTION_CHARS, ItemVerdict
from engine.contracts.model import StoredObject
from engine.contracts.status import Lane

Dataset = DatasetRecord


class PlanWarning(StrEnum):
    """Why a training that can start may disappoint; the comment names the field of `TrainingPlan` that has the figure."""

    FEWER_THAN_ADVISED = "fewer_than_advised"  # advised
    NOT_AFFORDABLE = "not_affordable"  # units, quota


@dataclass(frozen=True)
class TrainingPlan:
    """What pressing start would mean."""

    items: int
    minimum: int
    advised: int
    steps: int
    units: int
    quota: QuotaStatus
    minutes_estimate: float
    warnings: tuple[PlanWarning, ...]

    @property
    def startable(self) -> bool:
        """True when the start button may be shown; with warnings it says "Train anyway"."""
        return self.items >= self.minimum and PlanWarning.NOT_AFFORDABLE not in self.warnings


@dataclass(frozen=True)
class DatasetReport:
    """The set after files were added, the verdict on each file (`engine.contracts.media`), and what training would cost."""

    dataset: Dataset
    verdicts: tuple[ItemVerdict, ...]
    plan: TrainingPlan
    assessment: Assessment | None = None  # of the whole set
    items: tuple[ItemRecord, ...] = ()  # of the whole set

    @property
    def startable(self) -> bool:
        """True when the start button may be shown."""
        return self.plan.startable and not (self.assessment is not None and self.assessment.blocked)


def check_startable(dataset: Dataset, items: Sequence[ItemRecord]) -> None:
    """Return when the set can be trained and would teach something.

    Raises:
        Refusal: DATASET_CLOSED, DATASET_TOO_SMALL, DATASET_TEACHES_NOTHING.
    """
    if dataset.state is not DatasetState.DRAFT:
        raise Refusal(RefusalCode.DATASET_CLOSED, state=dataset.state)
    guidance = DATASET_GUIDANCE[dataset.kind]
    if dataset.items < guidance.minimum:
        raise Refusal(
            RefusalCode.DATASET_TOO_SMALL,
            items=dataset.items,
            minimum=guidance.minimum,
            advised=guidance.advised,
            lora_kind=dataset.kind,
        )
    assessment = assess(dataset.kind, [item.judged for item in items])
    if assessment.blocked:
        raise Refusal(RefusalCode.DATASET_TEACHES_NOTHING, assessment=assessment)


@dataclass(frozen=True)
class Datasets:
    """Every method that takes a `dataset_id` refuses DATASET_UNKNOWN, and NOT_OWNER for anybody but its owner."""

    settings: BotSettings
    database: Database
    uploads: Uploads
    clock: Clock
    quotas: Quotas
    estimates: Estimates
    freezing: Freezing
    likenesses: Likenesses

    async def open(
        self,
        owner: Actor,
        *,
        name: str,
        kind: LoraKind,
        trigger: str | None,
        files: Sequence[IncomingFile],
        control: ControlKind | None = None,
        person_id: int | None = None,
    ) -> DatasetReport:
        """Open a draft with its first files (pictures, clips, `.txt` captions, zips). Without a trigger the name becomes the trigger.

        All or nothing when no file is usable: nothing is written then. A draft of the same owner with the same name is replaced.

        Raises:
            Refusal: NAME_INVALID, NAME_TAKEN, TRIGGER_INVALID, CONTROL_NEEDS_EFFECT, NO_ATTACHMENT, FILE_TOO_LARGE, TOO_MANY_ITEMS,
                ARCHIVE_REFUSED, NO_USABLE_MEDIA, MEDIA_CHECK_FAILED, STORE_UNAVAILABLE, PLAN_NEEDED, STORAGE_FULL.
        """
        parsed = parse_name(name)
        if control is not None and kind is not LoraKind.EFFECT:
            raise Refusal(RefusalCode.CONTROL_NEEDS_EFFECT, lora_kind=kind)
        dataset = Dataset(
            dataset_id=str(ULID()),
            owner_id=owner.user_id,
            guild_id=owner.guild_id,
            name=parsed,
            kind=kind,
            trigger=parse_trigger(trigger) or parsed,
            state=DatasetState.DRAFT,
            items=0,
            job_id=None,
            created_at=self.clock(),
            control=control,
            person_id=person_id,
        )
        await self.freezing.require_room(owner)
        await self.refuse_taken(self.database.reader, owner, parsed)
        replaced: list[StoredObject] = []
        async with (
            self.uploads.taken(owner, files, kind, held=frozenset(), control=control) as (verdicts, items),
            self.database.transaction() as tx,
        ):
            await self.refuse_taken(tx, owner, parsed)
            for earlier in await table.drafts(tx, owner.user_id, parsed):
                replaced += [item.media for item in await table.items(tx, earlier.dataset_id)]
                replaced += [guide.media for guide in (await table.guides(tx, earlier.dataset_id)).values()]
                await table.discard(tx, earlier.dataset_id)
            await table.insert(tx, dataset)
            await self.likenesses.state_of(tx, dataset, person_id)
            for item in items:
                await table.add_item(tx, dataset.dataset_id, item)
        await self.uploads.drop(replaced)
        return await self._report(dataset.dataset_id, owner, verdicts)

    async def open_version(self, owner: Actor, lora: LoraRecord) -> DatasetReport:
        """An empty draft that will make a new version of a LoRA of `owner`, with its name, kind and trigger."""
        dataset = Dataset(
            dataset_id=str(ULID()),
            owner_id=owner.user_id,
            guild_id=owner.guild_id,
            name=lora.name,
            kind=lora.kind,
            trigger=lora.trigger,
            state=DatasetState.DRAFT,
            items=0,
            job_id=None,
            created_at=self.clock(),
            lora_id=lora.lora_id,
            person_id=await table.person_of(self.database.reader, lora.lora_id),
        )
        async with self.database.transaction() as tx:
            await table.insert(tx, dataset)
            await self.likenesses.state_of(tx, dataset, dataset.person_id)
        return await self._report(dataset.dataset_id, owner, ())

    async def add(self, dataset_id: str, actor: Actor, files: Sequence[IncomingFile]) -> DatasetReport:
        """Add files to a draft. A file that is not usable gets a verdict; the others are kept.

        Raises:
            Refusal: as `open` for the files; DATASET_CLOSED.
        """
        dataset = await self.get(dataset_id, actor)
        _check_draft(dataset)
        held = frozenset(item.media.sha256 for item in await table.items(self.database.reader, dataset_id))
        async with (
            self.uploads.taken(actor, files, dataset.kind, held=held, control=dataset.control) as (verdicts, items),
            self.database.transaction() as tx,
        ):
            _check_draft(await self.get(dataset_id, actor, tx))
            for item in items:
                await table.add_item(tx, dataset_id, item)
            if (count := await table.count_items(tx, dataset_id)) > self.settings.max_dataset_items:
                raise Refusal(RefusalCode.TOO_MANY_ITEMS, items=count, limit=self.settings.max_dataset_items)
        return await self._report(dataset_id, actor, verdicts)

    async def get(self, dataset_id: str, actor: Actor, db: Connection | None = None) -> Dataset:
        """The set, as `db` (default: the last commit) has it."""
        dataset = await table.get(db or self.database.reader, dataset_id)
        if dataset is None:
            raise Refusal(RefusalCode.DATASET_UNKNOWN)
        if dataset.owner_id != actor.user_id:
            raise Refusal(RefusalCode.NOT_OWNER)
        return dataset

    async def plan(self, dataset_id: str, actor: Actor) -> TrainingPlan:
        """Price, time and warnings of training the set as it is now."""
        dataset = await self.get(dataset_id, actor)
        profile, guidance = self.settings.profile, DATASET_GUIDANCE[dataset.kind]
        defaults = self.settings.training_defaults(dataset.kind)
        units = self.units(dataset)
        quota = await self.quotas.status(actor)
        pace = await self.estimates.pace(profile.name, Lane.TRAIN, workers=1)
        warnings = []
        if dataset.items < guidance.advised:
            warnings.append(PlanWarning.FEWER_THAN_ADVISED)
        if units > quota.left:
            warnings.append(PlanWarning.NOT_AFFORDABLE)
        return TrainingPlan(
            items=dataset.items,
            minimum=guidance.minimum,
            advised=guidance.advised,
            steps=defaults.steps,
            units=units,
            quota=quota,
            minutes_estimate=units * pace.seconds_per_unit / 60,
            warnings=tuple(warnings),
        )

    def units(self, dataset: Dataset) -> int:
        """Price of training the set: clips cost more than stills, guided ones more than plain ones."""
        defaults = self.settings.training_defaults(dataset.kind)
        share = dataset.clips / dataset.items if dataset.items else 0.0
        return self.settings.profile.training_units(defaults, defaults.steps, clips=share, guided=dataset.kind is LoraKind.EFFECT)

    async def report(self, dataset_id: str, actor: Actor) -> DatasetReport:
        """The set as it is now."""
        return await self._report(dataset_id, actor, ())

    async def caption(self, dataset_id: str, actor: Actor, captions: Mapping[str, str]) -> DatasetReport:
        """Change captions of a draft, given by the content's hash; an empty one takes the caption away.

        Raises:
            Refusal: DATASET_CLOSED.
        """
        async with self.database.transaction() as tx:
            _check_draft(await self.get(dataset_id, actor, tx))
            for sha256, text in captions.items():
                await table.set_caption(tx, dataset_id, sha256, " ".join(text.split())[:MAX_CAPTION_CHARS] or None)
        return await self.report(dataset_id, actor)

    async def discard(self, dataset_id: str, actor: Actor) -> None:
        """Drop a draft and its files.

        Raises:
            Refusal: DATASET_CLOSED when it was started.
        """
        await self.get(dataset_id, actor)
        await self._discard(dataset_id)

    async def expire_drafts(self) -> int:
        """Drop drafts that nobody started for `draft_expires_s`; how many."""
        stale = await table.stale_drafts(self.database.reader, self.clock() - self.settings.draft_expires_s)
        for dataset in stale:
            with contextlib.suppress(Refusal):  # started at this very moment
                await self._discard(dataset.dataset_id)
        return len(stale)

    async def refuse_taken(self, db: Connection, actor: Actor, name: str) -> None:
        """Return when `actor` may use a name for a new LoRA; see `services.loras.refuse_taken`."""
        await refuse_taken(db, actor, name, first_visibility(actor))

    async def _discard(self, dataset_id: str) -> None:
        items = [item.media for item in await table.items(self.database.reader, dataset_id)]
        items += [guide.media for guide in (await table.guides(self.database.reader, dataset_id)).values()]
        async with self.database.transaction() as tx:
            if not await table.discard(tx, dataset_id):
                dataset = await table.get(tx, dataset_id)
                raise Refusal(RefusalCode.DATASET_CLOSED, state=dataset.state if dataset else DatasetState.DISCARDED)
        await self.uploads.drop(items)

    async def _report(self, dataset_id: str, actor: Actor, verdicts: tuple[ItemVerdict, ...]) -> DatasetReport:
        dataset = await self.get(dataset_id, actor)
        items = tuple(await table.items(self.database.reader, dataset_id))
        assessment = assess(dataset.kind, [item.judged for item in items])
        return DatasetReport(dataset, verdicts, await self.plan(dataset_id, actor), assessment, items)


def _check_draft(dataset: Dataset) -> None:
    if dataset.state is not DatasetState.DRAFT:
        raise Refusal(RefusalCode.DATASET_CLOSED, state=dataset.state)
