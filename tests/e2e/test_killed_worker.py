"""The story of a worker that is killed without warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stories import STORIES, play


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_training_goes_on_from_its_checkpoint_when_the_worker_is_killed(tmp_path: Path) -> None:
    """SIGKILL in mid-training and again before a clip: both jobs succeed on a later attempt, nothing is charged twice."""
    told = play(STORIES / "killed_worker.yaml", tmp_path)
    training = next(job for job in told.jobs if job["kind"] == "train_lora")
    assert training["status"] == "succeeded"
    assert training["attempt"] >= 2
    assert {job["status"] for job in told.jobs} == {"succeeded"}
