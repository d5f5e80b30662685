"""The learning rate as a pure function of the step, so that a resumed training needs no scheduler state."""

from __future__ import annotations

import math

from engine.config import Schedule, TrainConfig


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Learning rate of the step after `step` steps: linear warm-up, then the schedule, a pure function of the step."""
    warmup = config.warmup_steps or 0
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, config.steps - 1 - warmup)
    match config.schedule:
        case Schedule.LINEAR:
            share = 1.0 - progress
        case Schedule.COSINE:
            share = 0.5 * (1.0 + math.cos(math.pi * progress))
        case _:
            share = 1.0
    return config.learning_rate * (config.final_lr_fraction + (1.0 - config.final_lr_fraction) * share)
