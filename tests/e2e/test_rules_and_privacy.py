"""The story of terms, rules, sharing, reporting and being forgotten: what a server needs before it lets strangers in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stories import STORIES, play


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_server_sets_rules_and_people_leave_without_a_trace(tmp_path: Path) -> None:
    """Every step comes out as written; afterwards the clip's message is gone, and no file the bot keeps holds the prompt."""
    told = play(STORIES / "rules_and_privacy.yaml", tmp_path)
    data = told.folder / "run" / "data"
    kept = [path for path in data.rglob("*") if path.is_file()]
    assert data / "callsheet.sqlite3" in kept
    assert [path.name for path in kept if b"a red robot on a beach" in path.read_bytes()] == []
    assert not any((data / "store").rglob("*.mp4"))
