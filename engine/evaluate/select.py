"""Which checkpoint to keep, and when to stop: plain rules over the scores, so that the reasons can be told.

A checkpoint with a fault is out. Of those without, the nearest to the training set are looked at further: likeness is measured on a
few clips, so near ones count as equal, and the held-out loss decides between them, or between all when nothing looks at frames. When all
have faults, those with the fewest are compared; the earliest of equals wins. An effect is there to follow its guide, and goes on
learning it while the held-out loss, which is about everything else in the picture, rises: adherence takes the place of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.contracts.selection import CheckpointScore, Fault

MIN_EFFECT: Final = 1e-4
"""An adapter that changes predictions by less is dead: bf16 rounding alone is a hundred times as much as soon as anything changes."""

OVERFIT_SHARE: Final = 0.25
"""Of what the held-out loss had fallen from the base's to its lowest, the share that has to be lost again before a checkpoint is overfit:
a likeness is often learned on while the loss on pictures never seen rises a little."""

OVERFIT_MARGIN: Final = 0.02
"""The same as a share of the lowest loss, for trainings in which it never fell."""

NOISE_ERRORS: Final = 2.0
"""Standard errors a rise must exceed to be none of chance."""

MAX_MEMORISED: Final = 0.25
MAX_DRIFT: Final = 0.35
MIN_MOTION: Final = 0.35
IDENTITY_STEP: Final = 0.02
IDENTITY_SHARE: Final = 0.1
"""Likeness that lies less than either below the best is as good."""

LOSS_STEP: Final = 0.003
PATIENCE: Final = 3
MAX_KEPT: Final = 4


def with_faults(score: CheckpointScore, earlier: Sequence[CheckpointScore], base_loss: float | None = None) -> CheckpointScore:
    """`score` with what speaks against it, given the scores of earlier steps and the bare base's held-out loss."""
    faults = []
    if score.effect < MIN_EFFECT:
        faults.append(Fault.DEAD)
    if _is_overfit(score, earlier, base_loss):
        faults.append(Fault.OVERFIT)
    if score.memorised is not None and score.memorised > MAX_MEMORISED:
        faults.append(Fault.MEMORISED)
    if score.drift is not None and score.drift > MAX_DRIFT:
        faults.append(Fault.DRIFTED)
    if score.motion is not None and score.motion < MIN_MOTION:
        faults.append(Fault.FROZEN)
    return score.model_copy(update={"faults": tuple(faults)})


def _is_overfit(score: CheckpointScore, earlier: Sequence[CheckpointScore], base_loss: float | None) -> bool:
    """True when the held-out loss has risen by more than chance, and by enough to matter; it says little of an effect."""
    if score.adherence is not None:
        return False
    losses = [one.held_out_loss for one in earlier if one.held_out_loss is not None]
    if not losses or score.held_out_loss is None:
        return False
    lowest = min(losses)
    fallen = max(0.0, (base_loss or lowest) - lowest)
    matters = max(OVERFIT_SHARE * fallen, OVERFIT_MARGIN * lowest)
    return score.held_out_loss - lowest > max(matters, NOISE_ERRORS * (score.held_out_noise or 0.0))


def ranking(scores: Sequence[CheckpointScore]) -> list[CheckpointScore]:
    """Best first: each is what `chosen` would take of those that are left."""
    left, ranked = list(scores), list[CheckpointScore]()
    while left:
        ranked.append(chosen(left))
        left.remove(ranked[-1])
    return ranked


def chosen(scores: Sequence[CheckpointScore]) -> CheckpointScore:
    """The best of `scores`, which are not empty."""
    fewest = min(_blame(score) for score in scores)
    sound = [score for score in scores if _blame(score) == fewest]
    best = max(_merit(score) for score in sound)
    alike = [score for score in sound if _merit(score) >= best - _margin(score, best)]
    lowest = min(score.held_out_loss or 0.0 for score in alike)
    return min((score for score in alike if (score.held_out_loss or 0.0) <= lowest + LOSS_STEP), key=lambda score: score.step)


def _merit(score: CheckpointScore) -> float:
    """What the frames say for a checkpoint; 0 when nothing looks at them."""
    return (score.adherence if score.adherence is not None else score.identity) or 0.0


def _margin(score: CheckpointScore, best: float) -> float:
    """What a merit may lack to be as good as the best."""
    return IDENTITY_STEP if score.adherence is not None else max(IDENTITY_STEP, IDENTITY_SHARE * best)


def _blame(score: CheckpointScore) -> tuple[bool, int]:
    return Fault.DEAD in score.faults, len(score.faults)


def kept_steps(scores: Sequence[CheckpointScore]) -> set[int]:
    """Steps whose files are worth their space: the best few, and the last."""
    if not scores:
        return set()
    return {score.step for score in ranking(scores)[: MAX_KEPT - 1]} | {scores[-1].step}


def has_stalled(scores: Sequence[CheckpointScore]) -> bool:
    """True when the last `PATIENCE` looks found neither a lower held-out loss nor clips that are more as they should be than before.

    A measure that is missing, or that has nothing to compare with, keeps a training going.
    """
    before, recent = scores[:-PATIENCE], scores[-PATIENCE:]
    losses = [score.held_out_loss for score in scores if score.held_out_loss is not None]
    if not before or len(losses) != len(scores):
        return False
    best = min(score.held_out_loss or 0.0 for score in before)
    merit = max(_merit(score) for score in before)
    is_better = [
        (score.held_out_loss or 0.0) < best - LOSS_STEP or (_merit(score) > merit + IDENTITY_STEP and not score.faults) for score in recent
    ]
    return not any(is_better)
