"""How the checkpoint of a training was chosen: a score for every step that was looked at, and the reasons."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from engine.contracts.model import Contract, StoredObject


class Fault(StrEnum):
    """What speaks against a checkpoint; never renamed, only added to."""

    DEAD = "dead"  # changes nothing the base would not do
    OVERFIT = "overfit"  # worse on pictures it never saw than an earlier checkpoint
    MEMORISED = "memorised"  # frames that are copies of training pictures
    DRIFTED = "drifted"  # changes clips that do not ask for it
    FROZEN = "frozen"  # motion is gone


class CheckpointScore(Contract):
    """What was measured of one checkpoint; None where the set or the kind does not allow the measure."""

    step: int
    effect: float  # root mean square of what it changes in the prediction, relative to the prediction
    held_out_loss: float | None = None
    held_out_noise: float | None = None  # standard error of its difference to the lowest before it; None for the first
    identity: float | None = None  # 0: as the bare base, 1: as the training set
    memorised: float | None = None  # share of frames that are copies
    drift: float | None = None  # the same scale as identity, for clips without the trigger
    motion: float | None = None  # relative to the bare base's clips of the same prompts
    adherence: float | None = None  # of an effect, on guides never learned; 0: as the bare base without a guide, 1: the guide itself
    faults: tuple[Fault, ...] = ()


class Selection(Contract):
    """The choice, and all it was made from."""

    chosen: int  # step
    scores: tuple[CheckpointScore, ...] = Field(min_length=1)
    base_held_out_loss: float | None = None
    measure: str  # what looked at the frames
    stopped_early: bool = False  # a plateau: further steps made nothing better

    @property
    def best(self) -> CheckpointScore:
        """The score of the chosen step."""
        return next(score for score in self.scores if score.step == self.chosen)


class KeptCheckpoint(Contract):
    """A checkpoint that was not chosen and can still be picked."""

    step: int
    file: StoredObject
