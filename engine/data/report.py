"""The dataset report for the shell: a sentence per finding, and the contact sheet with its verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from engine.contracts.assessment import Assessment, Finding, SetNote
from engine.contracts.lora import DATASET_GUIDANCE, LoraKind
from engine.contracts.media import IngestReport
from engine.contracts.sheet import Sheet, Tile, TileState
from engine.data.sheet import draw

_WORDS: Final[Mapping[SetNote, str]] = {
    SetNote.TOO_FEW: "A {kind} needs at least {minimum} usable pictures or clips, there {are} {count}.",
    SetNote.FEW: "{count} {are} few for a {kind}: {advised} or more work better.",
    SetNote.NO_MOTION: "{count} of them {are} stills, which teach a look and no motion: a {kind} needs {minimum} or more clips.",
    SetNote.ALL_ALIKE: "{count} of them are the same picture: a {kind} needs at least {minimum} different ones.",
    SetNote.NEAR_DUPLICATES: "{count} {are} nearly the same as another and {add} little.",
    SetNote.MIXED_RATES: "{count} of {clips} clips {have} another frame rate than the rest; all are shown at the base's.",
    SetNote.MIXED_SOUND: "{count} of {clips} clips {have} sound; sound is not learned.",
    SetNote.CUTS: "{count} of {clips} clips {have} cuts; every shot is learned apart.",
    SetNote.BLURRY: "{count} {are} blurry.",
    SetNote.BADLY_LIT: "{count} {are} too dark, too bright or flat.",
    SetNote.SMALL: "{count} {are} smaller than what the base trains on.",
    SetNote.BORDERS: "{count} {have} bars at their edges, which will be learned: crop them.",
    SetNote.TEXT: "{count} {seem} to have text burnt in, which will be learned.",
    SetNote.NO_CAPTIONS: "There are no captions: a .txt beside each file says what is in it and keeps it apart from what is learned.",
    SetNote.SOME_UNCAPTIONED: "{count} {have} no caption.",
    SetNote.EQUAL_CAPTIONS: "All captions are the same text, so whatever they leave out is learned.",
    SetNote.LONG_CAPTIONS: "{count} {are} captioned at great length: a paragraph is enough.",
}


_ONE: Final = {"are": "is", "have": "has", "add": "adds", "seem": "seems"}
_MANY: Final = {word: word for word in _ONE}


def sentence_about(finding: Finding, assessment: Assessment) -> str:
    """One finding in one sentence."""
    guidance = DATASET_GUIDANCE[assessment.kind]
    return _WORDS[finding.note].format(
        count=finding.count,
        clips=assessment.clips,
        kind=assessment.kind,
        minimum=guidance.minimum,
        advised=guidance.advised,
        **(_ONE if finding.count == 1 else _MANY),
    )


def lesson_of(assessment: Assessment) -> str:
    """What the set can teach and what it cannot, such as "24 stills teach a look, not a motion."."""
    pictures, clips = _count(assessment.pictures, "still"), _count(assessment.clips, "clip")
    both = " and ".join(text for text, number in ((pictures, assessment.pictures), (clips, assessment.clips)) if number)
    if assessment.kind is LoraKind.EFFECT:
        return f"{both} with their guides teach how a clip follows its guide."
    if not assessment.clips:
        return f"{both} teach a look, not a motion."
    if assessment.kind is LoraKind.MOTION:
        return f"{clips} teach how things move" + (f"; {pictures} add a look." if assessment.pictures else ".")
    return f"{both} teach a look and the way it moves."


def draw_report(report: IngestReport, assessment: Assessment, name: str, path: Path) -> None:
    """Write the contact sheet: every file with its verdict, what was found above."""
    tiles = []
    for item in report.items:
        if item.problem is not None:
            tiles.append(Tile(label=item.filename, state=TileState.REFUSED, words=str(item.problem.code).replace("_", " ")))
        elif item.guides is None:
            words = ", ".join(str(note).replace("_", " ") for note in item.notes)
            state = TileState.NOTED if item.notes else TileState.GOOD
            tiles.append(Tile(label=item.filename, state=state, words=words, thumb=item.thumb))
    lines = [lesson_of(assessment), *(sentence_about(finding, assessment) for finding in assessment.findings)]
    draw(Sheet(heading=f"{name}: {_count(assessment.items, 'item')}", lines=tuple(lines), tiles=tuple(tiles)), path)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
