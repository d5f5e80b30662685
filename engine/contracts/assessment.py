"""What a training set as a whole can and cannot teach, judged before anything is charged. Pure rules over the verdicts on its items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from engine.contracts.lora import DATASET_GUIDANCE, LoraKind
from engine.contracts.media import MAX_CAPTION_CHARS, ItemVerdict, MediaNote, alike
from engine.contracts.model import Contract

_LONG_CAPTION = min(1200, MAX_CAPTION_CHARS)  # characters; about 300 tokens, beyond which captions of a set differ in what they leave out
_SAME_RATE = 0.02  # relative difference of frame rates that nobody sees


class SetNote(StrEnum):
    """Something about the whole set worth telling; never renamed, only added to."""

    TOO_FEW = "too_few"  # fewer than the kind needs at all
    FEW = "few"  # fewer than advised
    NO_MOTION = "no_motion"  # stills where clips are needed
    ALL_ALIKE = "all_alike"  # fewer different ones than the kind needs
    NEAR_DUPLICATES = "near_duplicates"
    MIXED_RATES = "mixed_rates"  # clips of different frame rates; all are shown at the base's
    MIXED_SOUND = "mixed_sound"  # some clips have sound; it is not learned
    CUTS = "cuts"
    BLURRY = "blurry"
    BADLY_LIT = "badly_lit"
    SMALL = "small"
    BORDERS = "borders"
    TEXT = "text"
    NO_CAPTIONS = "no_captions"
    SOME_UNCAPTIONED = "some_uncaptioned"
    EQUAL_CAPTIONS = "equal_captions"
    LONG_CAPTIONS = "long_captions"


_NOTED = {
    SetNote.CUTS: {MediaNote.CUTS},
    SetNote.BLURRY: {MediaNote.BLURRY},
    SetNote.BADLY_LIT: {MediaNote.DARK, MediaNote.BRIGHT, MediaNote.LOW_CONTRAST},
    SetNote.SMALL: {MediaNote.SMALL},
    SetNote.BORDERS: {MediaNote.BORDERS},
    SetNote.TEXT: {MediaNote.TEXT},
}


class Finding(Contract):
    """One thing about the set: how many items it concerns, and whether training may not start because of it."""

    note: SetNote
    count: int
    blocks: bool = False


class Assessment(Contract):
    """The set in figures, and what was found, the worst first."""

    kind: LoraKind
    pictures: int
    clips: int
    different: int  # items that are no near copies of another
    captioned: int
    findings: tuple[Finding, ...]

    @property
    def items(self) -> int:
        """Pictures and clips."""
        return self.pictures + self.clips

    @property
    def blocked(self) -> bool:
        """True when training this set could teach nothing."""
        return any(finding.blocks for finding in self.findings)


def assess(kind: LoraKind, items: Sequence[ItemVerdict]) -> Assessment:
    """Judge the usable `items` of a set, guides not among them."""
    clips = [item for item in items if item.fps is not None]
    different = len(items) - near_duplicates(items)
    captioned = sum(1 for item in items if item.caption)
    guidance = DATASET_GUIDANCE[kind]
    findings = []
    if len(items) < guidance.minimum:
        findings.append(Finding(note=SetNote.TOO_FEW, count=len(items), blocks=True))
    elif kind is LoraKind.MOTION and len(clips) < guidance.minimum:
        findings.append(Finding(note=SetNote.NO_MOTION, count=len(items) - len(clips), blocks=True))
    elif different < guidance.minimum:
        findings.append(Finding(note=SetNote.ALL_ALIKE, count=len(items) - different + 1, blocks=True))
    elif different < len(items):
        findings.append(Finding(note=SetNote.NEAR_DUPLICATES, count=len(items) - different))
    if guidance.minimum <= len(items) < guidance.advised:
        findings.append(Finding(note=SetNote.FEW, count=len(items)))
    findings += _of_clips(kind, items, clips)
    findings += [
        Finding(note=note, count=count) for note, media in _NOTED.items() if (count := sum(1 for item in items if media & set(item.notes)))
    ]
    findings += _of_captions(items, captioned)
    return Assessment(
        kind=kind, pictures=len(items) - len(clips), clips=len(clips), different=different, captioned=captioned, findings=tuple(findings)
    )


def near_duplicates(items: Sequence[ItemVerdict]) -> int:
    """Items that are nearly the same as an earlier one."""
    seen: list[str] = []
    for item in items:
        if item.fingerprint and not any(alike(item.fingerprint, other) for other in seen):
            seen.append(item.fingerprint)
    return sum(1 for item in items if item.fingerprint) - len(seen)


def _of_clips(kind: LoraKind, items: Sequence[ItemVerdict], clips: Sequence[ItemVerdict]) -> list[Finding]:
    found = []
    if kind is LoraKind.MOTION and len(clips) < len(items) and len(clips) >= DATASET_GUIDANCE[kind].minimum:
        found.append(Finding(note=SetNote.NO_MOTION, count=len(items) - len(clips)))
    rates = [item.fps for item in clips if item.fps is not None]
    if rates and max(rates) > min(rates) * (1 + _SAME_RATE):
        usual = Counter(round(rate) for rate in rates).most_common(1)[0][0]
        found.append(Finding(note=SetNote.MIXED_RATES, count=sum(1 for rate in rates if round(rate) != usual) or 1))
    loud = sum(1 for item in clips if item.has_audio)
    if 0 < loud < len(clips):
        found.append(Finding(note=SetNote.MIXED_SOUND, count=loud))
    return found


def _of_captions(items: Sequence[ItemVerdict], captioned: int) -> list[Finding]:
    texts = [item.caption for item in items if item.caption]
    found = []
    if items and not captioned:
        found.append(Finding(note=SetNote.NO_CAPTIONS, count=len(items)))
    elif captioned < len(items):
        found.append(Finding(note=SetNote.SOME_UNCAPTIONED, count=len(items) - captioned))
    if len(texts) > 2 and len(set(texts)) == 1:
        found.append(Finding(note=SetNote.EQUAL_CAPTIONS, count=len(texts)))
    if long := sum(1 for text in texts if len(text) > _LONG_CAPTION):
        found.append(Finding(note=SetNote.LONG_CAPTIONS, count=long))
    return found
