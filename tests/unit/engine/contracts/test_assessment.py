"""What is said of a whole set before anything is charged."""

from __future__ import annotations

from typing import Any

import pytest

from engine.contracts.assessment import SetNote, assess
from engine.contracts.lora import LoraKind
from engine.contracts.media import ItemVerdict, MediaNote


def _fingerprint(seed: int) -> str:
    """Far from that of any other seed."""
    return f"{(0x9E3779B97F4A7C15 * (seed + 1)) % 2**64:016x}" * 4 + f"{seed * 37 % 256:02x}" * 192


def _items(count: int, **changes: Any) -> list[ItemVerdict]:
    values = [
        {"filename": f"{n}.png", "num_frames": 1, "caption": f"zoko number {n}", "fingerprint": _fingerprint(n), **changes}
        for n in range(count)
    ]
    return [ItemVerdict(**value) for value in values]


def _clips(count: int, fps: float = 24.0, **changes: Any) -> list[ItemVerdict]:
    return _items(count, fps=fps, num_frames=48, **changes)


def _notes(kind: LoraKind, items: list[ItemVerdict]) -> dict[SetNote, int]:
    return {finding.note: finding.count for finding in assess(kind, items).findings}


def test_good_set_has_nothing_to_say() -> None:
    """Enough different captioned pictures: no finding, not blocked."""
    assessment = assess(LoraKind.CHARACTER, _items(24))
    assert assessment.findings == ()
    assert not assessment.blocked
    assert (assessment.pictures, assessment.clips, assessment.different, assessment.captioned) == (24, 0, 24, 24)


def test_identical_pictures_block_the_training() -> None:
    """Twenty copies of one picture are one picture: nothing is charged for learning it by heart."""
    assessment = assess(LoraKind.CHARACTER, _items(20, fingerprint=_fingerprint(0)))
    assert assessment.blocked
    assert (assessment.different, assessment.findings[0].note, assessment.findings[0].count) == (1, SetNote.ALL_ALIKE, 20)


def test_stills_block_a_motion() -> None:
    """They teach a look; with enough clips beside them they are only mentioned."""
    assert assess(LoraKind.MOTION, _items(24)).blocked
    mixed = assess(LoraKind.MOTION, [*_items(3), *_clips(12)])
    assert not mixed.blocked
    assert SetNote.NO_MOTION in {finding.note for finding in mixed.findings}
    assert not assess(LoraKind.STYLE, _items(24)).findings


@pytest.mark.parametrize(
    ("items", "note", "count"),
    [
        ([*_items(20), *_items(3)], SetNote.NEAR_DUPLICATES, 3),
        (_items(6), SetNote.FEW, 6),
        (_items(2), SetNote.TOO_FEW, 2),
        ([*_clips(15), *_clips(18, fps=60.0)[15:]], SetNote.MIXED_RATES, 3),
        ([*_clips(15), *_clips(20, has_audio=True)[15:]], SetNote.MIXED_SOUND, 5),
        (_items(24, caption=None), SetNote.NO_CAPTIONS, 24),
        ([*_items(20), *_items(24, caption=None)[20:]], SetNote.SOME_UNCAPTIONED, 4),
        (_items(24, caption="zoko"), SetNote.EQUAL_CAPTIONS, 24),
        (_items(24, caption="zoko " * 300), SetNote.LONG_CAPTIONS, 24),
        (_items(24, notes=(MediaNote.BLURRY,)), SetNote.BLURRY, 24),
        (_items(24, notes=(MediaNote.DARK,)), SetNote.BADLY_LIT, 24),
        (_items(24, notes=(MediaNote.TEXT,)), SetNote.TEXT, 24),
        (_items(24, notes=(MediaNote.BORDERS,)), SetNote.BORDERS, 24),
        (_clips(24, notes=(MediaNote.CUTS,)), SetNote.CUTS, 24),
    ],
)
def test_each_weakness_is_counted(items: list[ItemVerdict], note: SetNote, count: int) -> None:
    """One finding per weakness, with the number of items it concerns."""
    assert _notes(LoraKind.CHARACTER, items)[note] == count


def test_clips_of_one_rate_are_not_called_mixed() -> None:
    """23.976 and 24 are the same to everybody."""
    assert SetNote.MIXED_RATES not in _notes(LoraKind.MOTION, [*_clips(10, fps=24.0), *_clips(20, fps=23.976)[10:]])
