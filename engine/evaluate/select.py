"""Which checkpoint to keep, and when to stop: plain rules over the scores, so that the reasons can be told.

A checkpoint with a fault is out. Of those without, the one nearest to the training set wins; when nothing looks at frames, the one
with the lowest held-out loss. When all have faults, the one with the fewest; the earliest of equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.contracts.selection import CheckpointScore, Fault

MIN_EFFECT: Final = 1e-4
"""An adapter that changes predictions by less is dead: bf16 rounding alone is a hundred times as much as soon as anything changes."""

OVERFIT_MARGIN: Final = 0.02
"""Held-out loss this share above the best so far is worse, not noise: the questions are the same each time."""

MAX_MEMORISED: Final = 0.25
MAX_DRIFT: Final = 0.35
MIN_MOTION: Final = 0.35
IDENTITY_STEP: Final = 0.02
LOSS_STEP: Final = 0.003
PATIENCE: Final = 3
MAX_KEPT: Final = 4


def with_faults(score: CheckpointScore, earlier: Sequence[CheckpointScore]) -> CheckpointScore:
    """`score` with what speaks against it, given the scores of earlier steps."""
    losses = [one.held_out_loss for one in earlier if one.held_out_loss is not None]
    faults = []
    if score.effect < MIN_EFFECT:
        faults.append(Fault.DEAD)
    if losses and score.held_out_loss is not None and score.held_out_loss > (1.0 + OVERFIT_MARGIN) * min(losses):
        faults.append(Fault.OVERFIT)
    if score.memorised is not None and score.memorised > MAX_MEMORISED:
        faults.append(Fault.MEMORISED)
    if score.drift is not None and score.drift > MAX_DRIFT:
        faults.append(Fault.DRIFTED)
    if score.motion is not None and score.motion < MIN_MOTION:
        faults.append(Fault.FROZEN)
    return score.model_copy(update={"faults": tuple(faults)})


def ranking(scores: Sequence[CheckpointScore]) -> list[CheckpointScore]:
    """Best first. Identity counts in whole `IDENTITY_STEP`s, so that a hair's breadth does not beat an earlier, less trained step."""
    return sorted(scores, key=_rank)


def _rank(score: CheckpointScore) -> tuple[float, ...]:
    seen = -round((score.identity or 0.0) / IDENTITY_STEP)
    unseen = round((score.held_out_loss or 0.0) / LOSS_STEP)
    dead = Fault.DEAD in score.faults
    return (dead, len(score.faults), seen, unseen, score.step)


def chosen(scores: Sequence[CheckpointScore]) -> CheckpointScore:
    """The best; `scores` is not empty."""
    return ranking(scores)[0]


def kept_steps(scores: Sequence[CheckpointScore]) -> set[int]:
    """Steps whose files are worth their space: the best few, and the last."""
    if not scores:
        return set()
    return {score.step for score in ranking(scores)[: MAX_KEPT - 1]} | {scores[-1].step}


def has_stalled(scores: Sequence[CheckpointScore]) -> bool:
    """True when the last `PATIENCE` looks found neither a lower held-out loss nor a better likeness than before them.

    A measure that is missing, or that has nothing to compare with, keeps a training going.
    """
    before, recent = scores[:-PATIENCE], scores[-PATIENCE:]
    losses = [score.held_out_loss for score in scores if score.held_out_loss is not None]
    if not before or len(losses) != len(scores):
        return False
    best = min(score.held_out_loss or 0.0 for score in before)
    likest = max(score.identity or 0.0 for score in before)
    is_better = [
        (score.held_out_loss or 0.0) < best - LOSS_STEP or ((score.identity or 0.0) > likest + IDENTITY_STEP and not score.faults)
        for score in recent
    ]
    return not any(is_better)
