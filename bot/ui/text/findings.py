"""What is said about a data set as a whole, on its card and on its picture."""

from __future__ import annotations

from collections.abc import Mapping

from bot.ui import format as fmt
from bot.ui.text.words import KIND_ARTICLE
from engine.contracts.assessment import Assessment, Finding, SetNote
from engine.contracts.lora import DATASET_GUIDANCE, LoraKind

_WORDS: Mapping[SetNote, str] = {
    SetNote.TOO_FEW: "{Kind} needs at least {minimum} pictures or clips; there {are} {count}.",
    SetNote.FEW: "{Kind} learns well from {advised} or more; with {count} it may come out rough.",
    SetNote.NO_MOTION: "{count} of them {are} stills, which teach a look and no motion; {kind} needs {minimum} or more clips.",
    SetNote.ALL_ALIKE: "{count} of them are the same picture; {kind} needs at least {minimum} different ones.",
    SetNote.NEAR_DUPLICATES: "{count} {are} almost the same as another and {add} little.",
    SetNote.MIXED_RATES: "{count} of {clips} clips {have} another frame rate than the rest; all are shown at one.",
    SetNote.MIXED_SOUND: "{count} of {clips} clips {have} sound; sound is not learned.",
    SetNote.CUTS: "{count} of {clips} clips {have} cuts; every shot is learned apart.",
    SetNote.BLURRY: "{count} {are} blurry.",
    SetNote.BADLY_LIT: "{count} {are} very dark, overexposed or flat.",
    SetNote.SMALL: "{count} {are} smaller than the training size.",
    SetNote.BORDERS: "{count} {have} bars at the edges, which will be learned too: crop them.",
    SetNote.TEXT: "{count} {seem} to have text burnt in, which will be learned too.",
    SetNote.NO_CAPTIONS: "No captions yet: what they name stays free, what they leave out is learned. Add them with the button below.",
    SetNote.SOME_UNCAPTIONED: "{count} {have} no caption.",
    SetNote.EQUAL_CAPTIONS: "All captions are the same text.",
    SetNote.LONG_CAPTIONS: "{count} {are} captioned at great length; a short paragraph is enough.",
}
_ONE: Mapping[str, str] = {"are": "is", "have": "has", "add": "adds", "seem": "seems"}
_MANY: Mapping[str, str] = {word: word for word in _ONE}


def finding(found: Finding, assessment: Assessment) -> str:
    """One thing about the set."""
    guidance, kind = DATASET_GUIDANCE[assessment.kind], KIND_ARTICLE[assessment.kind]
    forms = _ONE if found.count == 1 else _MANY
    values = {"count": found.count, "clips": assessment.clips, "minimum": guidance.minimum, "advised": guidance.advised}
    return _WORDS[found.note].format(**values, **forms, kind=kind[0].lower() + kind[1:], Kind=kind)


def lesson(assessment: Assessment) -> str:
    """What the set can teach and what it cannot, such as `24 stills teach a look, not a motion`."""
    counts = [(assessment.pictures, "still"), (assessment.clips, "clip")]
    both = " and ".join(fmt.count(number, word) for number, word in counts if number) or "nothing yet"
    teach = "teaches" if assessment.items == 1 else "teach"
    if assessment.kind is LoraKind.EFFECT:
        return f"{both} with their guides {teach} how a clip follows its guide."
    if not assessment.clips:
        return f"{both} {teach} a look, not a motion."
    if assessment.kind is LoraKind.MOTION:
        return f"{both} {teach} how things move."
    return f"{both} {teach} a look and the way it moves."


def sheet_alt(name: str, items: int) -> str:
    """Description of the picture of a data set."""
    return f"Every file of the data set {name} ({fmt.count(items, 'item')}) with its verdict: green is good, amber weak, red not used"


def items_heading(name: str, kind: LoraKind, items: int) -> str:
    """Heading on the picture."""
    return f"{name} · {kind} · {fmt.count(items, 'item')}"


NO_CAPTION = "*none: the file name or a plain word stands in*"


def captions_heading(name: str, page: int, pages: int) -> str:
    """Heading of a page of captions."""
    return f"### Captions of {fmt.safe(name)} · {page + 1} of {pages}"


def captions_hint(trigger: str | None) -> str:
    """What captions are for."""
    added = f" The word {fmt.code(trigger)} is added to each by itself." if trigger else ""
    return f"-# Say what is in the picture; what captions leave out is what gets learned.{added} ✍️ was written for you."


def caption_line(filename: str, caption: str | None, suggested: str | None) -> str:
    """One item, with a sign when nobody has written or changed its caption."""
    words = caption or suggested
    mark = " ✍️" if suggested and not caption else ""
    return f"{fmt.code(filename, 40)}{mark}\n{fmt.safe(fmt.plain(words, 300)) if words else NO_CAPTION}"


def captions_due(number: int) -> str:
    """Somebody is at it."""
    return f"-# ✍️ {fmt.count(number, 'caption')} {'is' if number == 1 else 'are'} being written for you: read them before you train."


def captions_suggested(number: int) -> str:
    """They are there."""
    return f"-# ✍️ {fmt.count(number, 'caption')} {'was' if number == 1 else 'were'} written for you: read and change them before you train."


def captions_title(name: str) -> str:
    """Title of the form, at most 45 characters."""
    return fmt.plain(f"Captions of {name}", 45)
