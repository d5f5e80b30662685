"""The story of everything a person can get wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stories import STORIES, play


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_bad_input_gets_one_sentence_and_costs_nothing(tmp_path: Path) -> None:
    """Every line of "Bad input" is refused with an answer for that person alone; only the last, good request becomes a job."""
    told = play(STORIES / "bad_input.yaml", tmp_path)
    assert [(job["kind"], job["status"]) for job in told.jobs] == [("generate_video", "succeeded")]
    assert told.jobs[0]["units"] <= 2
    public = [message for message in told.transcript["messages"] if message.get("only_for") is None and not message.get("ephemeral")]
    assert len(public) <= 2  # the good request's status card and its clip
