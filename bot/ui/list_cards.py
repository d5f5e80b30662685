"""The card of `/quota`."""

from __future__ import annotations

from bot.services.quotas import QuotaStatus
from bot.ui.cards import INFO_COLOUR, Card
from bot.ui.text import lines
from engine.contracts.bases import BaseProfile, TrainingDefaults
from engine.contracts.geometry import Geometry


def quota(status: QuotaStatus, profile: BaseProfile, defaults: TrainingDefaults) -> Card:
    """Units of today as a bar, and what they still buy; `defaults` are those of the training that is priced."""
    rule = profile.geometry
    width, height = next(iter(rule.aspects.values()))
    clip = profile.generation_units(Geometry(width=width, height=height, num_frames=rule.default_frames, fps=rule.fps))
    training = profile.training_units(defaults, defaults.steps)
    card = Card(INFO_COLOUR).say(*lines.quota_level(status.left, status.limit))
    return card.say(*lines.quota_lines(status.used, status.reserved, status.left, status.resets_at, clip, training)).sealed()
