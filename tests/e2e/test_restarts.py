"""The story of a bot that is deployed all the time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stories import STORIES, play


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_nothing_is_lost_or_posted_twice_when_the_bot_restarts_between_every_two_steps(tmp_path: Path) -> None:
    """One LoRA, two clips, each posted exactly once, and buttons from before the restarts still work."""
    told = play(STORIES / "restarts.yaml", tmp_path)
    assert sorted(job["kind"] for job in told.jobs) == ["generate_video", "generate_video", "train_lora"]
    assert {job["status"] for job in told.jobs} == {"succeeded"}
    assert len(told.videos()) == 3  # the training's preview and two clips
