"""What people ask of `/generate` and `/storyboard`, and the checks that need nothing but the words themselves."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum

from bot.errors import Refusal, RefusalCode
from bot.services.values import Actor, IncomingFile, JobPlace
from engine.contracts.controls import ControlKind
from engine.contracts.generation import MAX_SEED, Fit, Quality

MAX_PROMPT_CHARS = 2000


class Change(StrEnum):
    """What becomes of a clip that was given."""

    RESTYLE = "restyle"  # made anew from its frames
    EXTEND = "extend"  # goes on from its end
    UPSCALE = "upscale"  # at twice the size


@dataclass(frozen=True)
class GenerationRequest:
    """What `/generate` was given. `loras` is the text as typed; None, and no `loras`, mean the server's default."""

    actor: Actor
    place: JobPlace
    interaction_id: int
    prompt: str
    loras: str = ""
    negative: str = ""
    seconds: float | None = None
    aspect: str | None = None
    seed: int | None = None
    image: IncomingFile | None = None
    fit: Fit = Fit.CROP
    guide: IncomingFile | None = None
    control: ControlKind | None = None
    clip: IncomingFile | None = None
    change: Change | None = None
    strength: float | None = None
    quality: Quality | None = None
    mute: bool = False


@dataclass(frozen=True)
class StoryboardRequest:
    """What `/storyboard` was given: a prompt per scene, one stack for all; `seconds` is the length of one scene."""

    actor: Actor
    place: JobPlace
    interaction_id: int
    scenes: tuple[str, ...]
    loras: str = ""
    negative: str = ""
    seconds: float | None = None
    aspect: str | None = None
    seed: int | None = None
    quality: Quality | None = None
    mute: bool = False


def checked_prompt(text: str) -> str:
    """What should happen, without the blanks around it.

    Raises:
        Refusal: PROMPT_EMPTY, PROMPT_TOO_LONG.
    """
    prompt = text.strip()
    if not prompt:
        raise Refusal(RefusalCode.PROMPT_EMPTY)
    return checked_text(prompt, "prompt")


def checked_text(text: str, field: str) -> str:
    """`text`, when it is no longer than a prompt may be.

    Raises:
        Refusal: PROMPT_TOO_LONG.
    """
    if len(text) > MAX_PROMPT_CHARS:
        raise Refusal(RefusalCode.PROMPT_TOO_LONG, length=len(text), limit=MAX_PROMPT_CHARS, field=field)
    return text


def checked_seed(seed: int | None) -> int:
    """The given seed, or a new one.

    Raises:
        Refusal: SEED_OUT_OF_RANGE.
    """
    if seed is None:
        return secrets.randbelow(MAX_SEED + 1)
    if not 0 <= seed <= MAX_SEED:
        raise Refusal(RefusalCode.SEED_OUT_OF_RANGE, seed=seed, limit=MAX_SEED)
    return seed
