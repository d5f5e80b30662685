"""Captions of training items and what a trigger does to a text. Torch-free.

The same rule puts a trigger into a training caption and into a prompt: a style goes last, as people write it, anything
else goes first. A caption without the trigger is what the base already knows: `class_caption`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from engine.contracts.lora import LoraKind

CLASS_WORDS: Final[Mapping[LoraKind, str]] = {
    LoraKind.CHARACTER: "a creature",
    LoraKind.STYLE: "",
    LoraKind.MOTION: "",
    LoraKind.EFFECT: "",
}
"""What stands in a caption where the trigger of this kind stood."""

_FALLBACK: Final[Mapping[LoraKind, str]] = {
    LoraKind.CHARACTER: "a character",
    LoraKind.STYLE: "a scene",
    LoraKind.MOTION: "a scene in motion",
    LoraKind.EFFECT: "a scene with an effect",
}
_CAMERA_WORDS: Final = re.compile(
    r"img|image|dscn?|dscf|pxl|mvi|vid|video|clip|photo|picture|pic|screen(shot)?|shot|frame|un(titled|named)|download|scan|copy|final|edit"
    r"|export|render|output|upload|file|item|sample|train(ing)?|data(set)?|set|png|jpe?g|webp",
    re.IGNORECASE,
)
_SIDES: Final = re.compile(r"\b(left|right)(?=\b|wards?\b|most\b)", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W\d_]+")


def item_caption(given: str | None, filename: str, kind: LoraKind, trigger: str | None) -> str:
    """The caption an item is trained with: the given text, else the words in its file name, always with the trigger."""
    text = " ".join((given or "").split())
    if not text:
        text = words_of(filename)
    if not text and (trigger is None or kind is LoraKind.STYLE):
        text = _FALLBACK[kind]
    return text if trigger is None else with_trigger(text, kind, trigger)


def with_trigger(text: str, kind: LoraKind, trigger: str) -> str:
    """`text` with `trigger` in it: unchanged when it is there as a word, else appended for a style and prepended for the rest."""
    if _trigger_pattern(trigger).search(text):
        return text
    if kind is LoraKind.STYLE:
        phrase = trigger if re.search(r"\bstyle\b", trigger, re.IGNORECASE) else f"{trigger} style"
        return f"{text} in {phrase}" if text else f"in {phrase}"
    return f"{trigger} {text}".strip()


def mirrored_caption(caption: str) -> str:
    """What `caption` says once its picture is mirrored: left and right change places."""

    def other(side: re.Match[str]) -> str:
        word = "right" if side[0].lower() == "left" else "left"
        return word.upper() if side[0].isupper() else word.capitalize() if side[0][0].isupper() else word

    return _SIDES.sub(other, caption)


def class_caption(caption: str, kind: LoraKind, trigger: str) -> str:
    """`caption` without its trigger: class words in its place for a character, nothing (also no "in … style") for the rest."""
    name = _trigger_pattern(trigger).pattern
    around = rf"(?:,|\bin)?\s*(?:\b(?:a|an|the)\s+)?{name}(?:\s+style\b)?" if kind is LoraKind.STYLE else rf"(?:\b(?:a|an|the)\s+)?{name}"
    text = re.sub(around, CLASS_WORDS[kind], caption, flags=re.IGNORECASE)
    return " ".join(text.split()).strip(" ,") or _FALLBACK[kind]


def _trigger_pattern(trigger: str) -> re.Pattern[str]:
    """The trigger as whole words in any case."""
    return re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE)


def words_of(filename: str) -> str:
    """Words of a file name that somebody wrote; nothing for a camera's or a downloader's name."""
    stem = PurePath(filename.replace("\\", "/")).stem
    tokens = re.split(r"[\s_\-.,()\[\]]+", stem)
    if any(re.search(r"\d", token) and re.search(r"[^\W\d]", token) for token in tokens):
        return ""  # a hash or a serial number such as DSC04711 or 3fa85f64
    words = [token for token in tokens if _WORD.fullmatch(token) and not _CAMERA_WORDS.fullmatch(token)]
    return " ".join(words) if any(len(word) > 2 for word in words) else ""
