"""The story of a clip that finds its channel whatever Discord does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stories import STORIES, play


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_every_clip_is_posted_exactly_once_when_discord_misbehaves(tmp_path: Path) -> None:
    """Two presses at once, an answer lost after the post, a dead token, a deleted channel, a dropped gateway."""
    told = play(STORIES / "delivery.yaml", tmp_path)
    assert {job["status"] for job in told.jobs} == {"succeeded"}
    videos = [video.name for video in told.videos()]
    assert len(videos) == len(set(videos))
