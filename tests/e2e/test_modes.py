"""The story of every way to make a clip: each is playable and as long, as large and as fast as it was asked for."""

from __future__ import annotations

from pathlib import Path

import c2pa
import pytest

from engine.contracts.bases import TINY
from engine.contracts.generation import GenerationMode
from engine.contracts.provenance import Finding
from engine.data.media import inspect_media
from engine.sample.credentials import known_signers
from engine.sample.provenance import verify
from tests.support.stories import STORIES, play

STRIDE = TINY.geometry.frame_stride
ONE_SECOND = TINY.geometry.frames_for(1.0)


@pytest.mark.e2e
@pytest.mark.timeout(1500)
def test_every_mode_makes_the_clip_that_was_asked_for(tmp_path: Path) -> None:
    """Frames, size, rate and length of each posted file; its signature, its mode, and who made what."""
    told = play(STORIES / "modes.yaml", tmp_path, timeout_s=1400)
    known = known_signers(told.folder / "run" / "data" / "credentials")
    default = TINY.geometry.default_frames
    frames = {
        GenerationMode.TEXT: {default},
        GenerationMode.IMAGE: {default},
        GenerationMode.UPSCALE: {default},
        GenerationMode.EXTEND: {2 * default - STRIDE - 1, 2 * default - 1},
        GenerationMode.VIDEO: {ONE_SECOND},
        GenerationMode.CONTROL: {ONE_SECOND},
        GenerationMode.STORYBOARD: {4 * ONE_SECOND},
    }
    seen = set()
    for path in told.videos():
        report = verify(path, known)
        assert report.finding is Finding.OWN
        assert report.parameters is not None
        mode = GenerationMode(report.parameters.mode)
        facts = inspect_media(path)
        assert facts.num_frames in frames[mode], mode
        assert facts.fps == pytest.approx(TINY.geometry.fps, rel=0.01)
        assert (facts.width, facts.height) == (TINY.posted_min_side, TINY.posted_min_side)
        with c2pa.Reader(path) as reader:
            assert reader.get_validation_state() == "Valid"
        seen.add(mode)
    assert seen == set(GenerationMode)
