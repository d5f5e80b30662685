"""The story of a LoRA library that two servers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stories import STORIES, play


@pytest.mark.e2e
@pytest.mark.timeout(1500)
def test_library_shows_everybody_what_they_may_use_and_nothing_else(tmp_path: Path) -> None:
    """Every step comes out as written; each job that was accepted succeeded; what was deleted left no file of its own behind."""
    told = play(STORIES / "library.yaml", tmp_path, timeout_s=1400)
    assert {job["status"] for job in told.jobs} == {"succeeded"}
    trainings = [job["request"] for job in told.jobs if job["kind"] == "train_lora"]
    assert len({request["lora_id"] for request in trainings}) == 1, "a new version is the same LoRA"
    store = told.folder / "run" / "data" / "store"
    assert not list((store / "loras" / trainings[0]["lora_id"]).rglob("*.safetensors"))
    assert len(list((store / "loras").rglob("*.safetensors"))) == 2  # the two that were imported
