"""What is said about a data set as a whole, on its card and on its picture."""

from __future__ import annotations

from collections.abc import Mapping

from bot.ui import format as fmt
from bot.ui.language import Forms, Words, _, counted, later
from bot.ui.text import counts
from bot.ui.text.words import KIND_ARTICLE, KINDS, both
from engine.contracts.assessment import Assessment, Finding, SetNote
from engine.contracts.lora import DATASET_GUIDANCE, LoraKind

_SENTENCES = Words(
    {
        SetNote.FEW: "{Kind} learns well from {advised} or more; with {number} it may come out rough.",
        SetNote.ALL_ALIKE: "{number} of them are the same picture; {kind} needs at least {minimum} different ones.",
        SetNote.NO_CAPTIONS: "No captions yet: what they name stays free, what they leave out is learned. Add them with the button below.",
        SetNote.EQUAL_CAPTIONS: "All captions are the same text.",
    }
)
_COUNTED: Mapping[SetNote, Forms] = {
    SetNote.TOO_FEW: Forms(
        "{Kind} needs at least {minimum} pictures or clips; there is {number}.",
        "{Kind} needs at least {minimum} pictures or clips; there are {number}.",
    ),
    SetNote.NO_MOTION: Forms(
        "{number} of them is stills, which teach a look and no motion; {kind} needs {minimum} or more clips.",
        "{number} of them are stills, which teach a look and no motion; {kind} needs {minimum} or more clips.",
    ),
    SetNote.NEAR_DUPLICATES: Forms(
        "{number} is almost the same as another and adds little.", "{number} are almost the same as another and add little."
    ),
    SetNote.MIXED_RATES: Forms(
        "{number} of {clips} clips has another frame rate than the rest; all are shown at one.",
        "{number} of {clips} clips have another frame rate than the rest; all are shown at one.",
    ),
    SetNote.MIXED_SOUND: Forms(
        "{number} of {clips} clips has sound; sound is not learned.", "{number} of {clips} clips have sound; sound is not learned."
    ),
    SetNote.CUTS: Forms(
        "{number} of {clips} clips has cuts; every shot is learned apart.",
        "{number} of {clips} clips have cuts; every shot is learned apart.",
    ),
    SetNote.BLURRY: Forms("{number} is blurry.", "{number} are blurry."),
    SetNote.BADLY_LIT: Forms("{number} is very dark, overexposed or flat.", "{number} are very dark, overexposed or flat."),
    SetNote.SMALL: Forms("{number} is smaller than the training size.", "{number} are smaller than the training size."),
    SetNote.BORDERS: Forms(
        "{number} has bars at the edges, which will be learned too: crop them.",
        "{number} have bars at the edges, which will be learned too: crop them.",
    ),
    SetNote.TEXT: Forms(
        "{number} seems to have text burnt in, which will be learned too.",
        "{number} seem to have text burnt in, which will be learned too.",
    ),
    SetNote.SOME_UNCAPTIONED: Forms("{number} has no caption.", "{number} have no caption."),
    SetNote.LONG_CAPTIONS: Forms(
        "{number} is captioned at great length; a short paragraph is enough.",
        "{number} are captioned at great length; a short paragraph is enough.",
    ),
}


def finding(found: Finding, assessment: Assessment) -> str:
    """One thing about the set."""
    guidance, kind = DATASET_GUIDANCE[assessment.kind], KIND_ARTICLE[assessment.kind]
    values = {"clips": assessment.clips, "minimum": guidance.minimum, "advised": guidance.advised}
    values_of_kind = {"kind": kind[0].lower() + kind[1:], "Kind": kind}
    if found.note in _COUNTED:
        return _COUNTED[found.note](found.count, **values, **values_of_kind)
    return _SENTENCES[found.note].format(number=found.count, **values, **values_of_kind)


def lesson(assessment: Assessment) -> str:
    """What the set can teach and what it cannot, such as `24 stills teach a look, not a motion`."""
    kinds = [(assessment.pictures, counts.stills), (assessment.clips, counts.clips)]
    what = both([counting(number) for number, counting in kinds if number]) or _("nothing yet")
    if assessment.kind is LoraKind.EFFECT:
        return _GUIDED(assessment.items, what=what)
    if not assessment.clips:
        return _LOOK(assessment.items, what=what)
    return (_MOTION if assessment.kind is LoraKind.MOTION else _LOOK_AND_MOTION)(assessment.items, what=what)


_GUIDED = Forms(
    "{what} with their guides teaches how a clip follows its guide.", "{what} with their guides teach how a clip follows its guide."
)
_LOOK = Forms("{what} teaches a look, not a motion.", "{what} teach a look, not a motion.")
_MOTION = Forms("{what} teaches how things move.", "{what} teach how things move.")
_LOOK_AND_MOTION = Forms("{what} teaches a look and the way it moves.", "{what} teach a look and the way it moves.")


def sheet_alt(name: str, items: int) -> str:
    """Description of the picture of a data set."""
    return _(
        "Every file of the data set {name} ({items}) with its verdict: green is good, amber weak, red not used",
        name=name,
        items=counts.items(items),
    )


def items_heading(name: str, kind: LoraKind, items: int) -> str:
    """Heading on the picture."""
    return f"{name} · {KINDS[kind]} · {counts.items(items)}"


MORE_ITEMS = later("and {count} more")
NO_CAPTION = later("*none: the file name or a plain word stands in*")


def captions_heading(name: str, page: int, pages: int) -> str:
    """Heading of a page of captions."""
    return _("### Captions of {name} · {page} of {pages}", name=fmt.safe(name), page=page + 1, pages=pages)


def captions_hint(trigger: str | None) -> str:
    """What captions are for."""
    if trigger is None:
        return _("-# Say what is in the picture; what captions leave out is what gets learned. ✍️ was written for you.")
    return _(
        "-# Say what is in the picture; what captions leave out is what gets learned. The word {trigger} is added to each by itself. "
        "✍️ was written for you.",
        trigger=fmt.code(trigger),
    )


def caption_line(filename: str, caption: str | None, suggested: str | None) -> str:
    """One item, with a sign when nobody has written or changed its caption."""
    words = caption or suggested
    mark = " ✍️" if suggested and not caption else ""
    return f"{fmt.code(filename, 40)}{mark}\n{fmt.safe(fmt.plain(words, 300)) if words else NO_CAPTION()}"


def captions_due(number: int) -> str:
    """Somebody is at it."""
    return counted(
        "-# ✍️ {number} caption is being written for you: read them before you train.",
        "-# ✍️ {number} captions are being written for you: read them before you train.",
        number,
    )


def captions_suggested(number: int) -> str:
    """They are there."""
    return counted(
        "-# ✍️ {number} caption was written for you: read and change them before you train.",
        "-# ✍️ {number} captions were written for you: read and change them before you train.",
        number,
    )


def captions_title(name: str) -> str:
    """Title of the form, at most 45 characters."""
    return fmt.plain(_("Captions of {name}", name=name), 45)
