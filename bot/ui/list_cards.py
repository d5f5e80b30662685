"""Cards of `/loras` and `/quota`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from discord import ui

from bot.services.loras import Lora
from bot.services.quotas import QuotaStatus
from bot.storage.loras import LoraState
from bot.ui.cards import INFO_COLOUR, Card
from bot.ui.text import lines
from engine.contracts.bases import BaseProfile, TrainingDefaults
from engine.contracts.geometry import Geometry

LISTED_LORAS = 10  # as many files as one message takes


def loras(found: Sequence[Lora], thumbnails: dict[str, str], asker_id: int) -> Card:
    """LoRAs somebody can use here. `thumbnails`: LoRA id to the name of an attached picture."""
    card = Card(INFO_COLOUR).say(lines.LORAS_HEADING)
    if not found:
        return card.say(lines.NO_LORAS).sealed()
    for lora in found[:LISTED_LORAS]:
        maker = None if lora.owner_id == asker_id else lora.owner_name
        entry = lines.lora_entry(lora.name, lora.kind, lora.trigger, maker, lora.uses, training=lora.state is LoraState.TRAINING)
        picture = thumbnails.get(lora.lora_id)
        if picture is None:
            card.say(entry)
        else:
            thumbnail: ui.Thumbnail[Any] = ui.Thumbnail(f"attachment://{picture}", description=lines.lora_alt(lora.kind, lora.name))
            card.beside(entry, thumbnail)
    if len(found) > LISTED_LORAS:
        card.say(lines.more_loras(len(found) - LISTED_LORAS))
    return card.say(lines.STACK_HINT).sealed()


def quota(status: QuotaStatus, profile: BaseProfile, defaults: TrainingDefaults) -> Card:
    """Units of today as a bar, and what they still buy; `defaults` are those of the training that is priced."""
    rule = profile.geometry
    width, height = next(iter(rule.aspects.values()))
    clip = profile.generation_units(Geometry(width=width, height=height, num_frames=rule.default_frames, fps=rule.fps))
    training = profile.training_units(defaults, defaults.steps)
    card = Card(INFO_COLOUR).say(*lines.quota_level(status.left, status.limit))
    return card.say(*lines.quota_lines(status.used, status.reserved, status.left, status.resets_at, clip, training)).sealed()
