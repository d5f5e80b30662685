"""Training sets: opened by `/train`, grown by the modal, started once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.services.values import Actor, IncomingFile
from bot.storage.datasets import DatasetRecord
from engine.contracts.lora import LoraKind
from engine.contracts.media import ItemVerdict

Dataset = DatasetRecord


class PlanWarning(StrEnum):
    """Why a training that can start may disappoint; the comment names the field of `TrainingPlan` that has the figure."""

    FEWER_THAN_ADVISED = "fewer_than_advised"  # advised
    NOT_AFFORDABLE = "not_affordable"  # units, units_left


@dataclass(frozen=True)
class TrainingPlan:
    """What pressing start would mean."""

    items: int
    minimum: int
    advised: int
    steps: int
    units: int
    units_left: int
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


class Datasets:
    """Every method that takes a `dataset_id` refuses DATASET_UNKNOWN, and NOT_OWNER for anybody but its owner."""

    async def open(self, owner: Actor, *, name: str, kind: LoraKind, trigger: str | None, files: Sequence[IncomingFile]) -> DatasetReport:
        """Open a draft with its first files (pictures, clips, `.txt` captions, zips).

        All or nothing when no file is usable: nothing is written then. A draft of the same owner with the same name is replaced.

        Raises:
            Refusal: NAME_INVALID, NAME_TAKEN, TRIGGER_INVALID, NO_ATTACHMENT, FILE_TOO_LARGE, TOO_MANY_ITEMS, ARCHIVE_REFUSED,
                NO_USABLE_MEDIA, MEDIA_CHECK_FAILED, STORE_UNAVAILABLE.
        """
        raise NotImplementedError

    async def add(self, dataset_id: str, actor: Actor, files: Sequence[IncomingFile]) -> DatasetReport:
        """Add files to a draft. A file that is not usable gets a verdict; the others are kept.

        Raises:
            Refusal: as `open` for the files; DATASET_CLOSED.
        """
        raise NotImplementedError

    async def get(self, dataset_id: str, actor: Actor) -> Dataset:
        """The set."""
        raise NotImplementedError

    async def plan(self, dataset_id: str, actor: Actor) -> TrainingPlan:
        """Price, time and warnings of training the set as it is now."""
        raise NotImplementedError

    async def discard(self, dataset_id: str, actor: Actor) -> None:
        """Drop a draft and its files.

        Raises:
            Refusal: DATASET_CLOSED when it was started.
        """
        raise NotImplementedError
