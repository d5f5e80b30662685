"""Cards of `/loras` and `/quota`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from discord import ui

from bot.services.loras import Lora
from bot.services.quotas import QuotaStatus
from bot.storage.loras import LoraState
from bot.ui import format as fmt
from bot.ui import text
from bot.ui.cards import INFO_COLOUR, Card
from engine.contracts.bases import BaseProfile
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind

LISTED_LORAS = 10  # as many files as one message takes


def loras(found: Sequence[Lora], thumbnails: dict[str, str], asker_id: int) -> Card:
    """LoRAs somebody can use here. `thumbnails`: LoRA id to the name of an attached picture."""
    card = Card(INFO_COLOUR).say("### LoRAs you can use here")
    if not found:
        return card.say(
            "None yet. Make the first: `/train name: hero kind: character` with 20 pictures of your character, attached or in one zip."
        ).sealed()
    for lora in found[:LISTED_LORAS]:
        words = _lora_lines(lora, asker_id)
        picture = thumbnails.get(lora.lora_id)
        if picture is None:
            card.say(words)
        else:
            thumbnail: ui.Thumbnail[Any] = ui.Thumbnail(f"attachment://{picture}", description=f"AI-generated preview of {lora.name}")
            card.beside(words, thumbnail)
    if len(found) > LISTED_LORAS:
        card.say(f"-# and {len(found) - LISTED_LORAS} more: type a part of the name in `/generate loras:`")
    return card.say("-# Stack up to four: `/generate loras: hero:0.9, watercolour:0.6`").sealed()


def _lora_lines(lora: Lora, asker_id: int) -> str:
    maker = "you" if lora.owner_id == asker_id else fmt.safe(lora.owner_name, 32)
    facts = [str(lora.kind), f"by {maker}", fmt.count(lora.uses, "use")]
    if lora.trigger:
        facts.insert(1, f"trigger {fmt.code(lora.trigger)}")
    state = "\n-# still in training" if lora.state is LoraState.TRAINING else ""
    return f"**{fmt.safe(lora.name)}**\n{' · '.join(facts)}{state}"


def quota(status: QuotaStatus, profile: BaseProfile) -> Card:
    """Units of today as a bar, and what they still buy."""
    spent = status.used + status.reserved
    width, height = next(iter(profile.geometry.aspects.values()))
    clip = profile.generation_units(
        Geometry(width=width, height=height, num_frames=profile.geometry.default_frames, fps=profile.geometry.fps)
    )
    defaults = profile.training[LoraKind.CHARACTER]
    training = profile.training_units(defaults, defaults.steps)
    affordable = [fmt.count(status.left // clip, "clip")] + (
        [fmt.count(status.left // training, "training")] if status.left >= training else []
    )
    buys = f"Enough for {text.either(affordable)}."
    return (
        Card(INFO_COLOUR)
        .say("### Your units today", f"{fmt.bar(spent, status.limit, 16)} **{status.left:,}** of {status.limit:,} left")
        .say(
            f"{status.used:,} spent · {status.reserved:,} held by open jobs",
            buys if status.left >= clip else "Nothing more today.",
            f"All of them return {fmt.relative(status.resets_at)}.",
            f"-# A clip costs {fmt.count(clip, 'unit')}, a character training {fmt.count(training, 'unit')}; "
            "longer is more, failed is free.",
        )
        .sealed()
    )
