"""The story of a channel whose file limit is smaller than any clip."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.contracts.provenance import Finding
from engine.data.media import inspect_media
from engine.sample.credentials import known_signers
from engine.sample.provenance import verify
from tests.support.stories import STORIES, play

LIMIT = 18_000


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_result_over_the_channels_limit_comes_smaller_or_as_a_link(tmp_path: Path) -> None:
    """Everything posted fits, plays in full and is signed; nothing is lost and every job succeeded."""
    told = play(STORIES / "small_channel.yaml", tmp_path)
    known = known_signers(told.folder / "run" / "data" / "credentials")
    assert {job["status"] for job in told.jobs} == {"succeeded"}
    [clip, *_] = told.videos()
    assert clip.stat().st_size <= LIMIT
    assert inspect_media(clip).num_frames == 9
    assert verify(clip, known).finding is Finding.OWN
    film = told.transcript["messages"][-1]
    assert "Watch" in str(film["components"]) or len(told.videos()) == 2
