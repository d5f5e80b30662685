"""The story of a likeness that is asked for, taken back and taken down."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.stories import STORIES, play


@pytest.mark.e2e
@pytest.mark.timeout(1500)
def test_likeness_reports_and_settings_hold_everywhere_at_once(tmp_path: Path) -> None:
    """Every step comes out as written; nothing that was taken down can be used; what was stopped cost nothing."""
    told = play(STORIES / "consent.yaml", tmp_path, timeout_s=1400)
    with closing(sqlite3.connect(told.folder / "run" / "data" / "callsheet.sqlite3")) as database:
        withheld = dict(database.execute("SELECT name, withheld FROM loras WHERE state = 'ready'"))
        cancelled = database.execute("SELECT units_charged FROM jobs WHERE status = 'cancelled'").fetchall()
        actions = {action for (action,) in database.execute("SELECT action FROM audit")}
    assert withheld["adalike"] == "takedown"
    assert set(withheld.values()) == {"takedown"}
    assert cancelled
    assert {units for (units,) in cancelled} == {0}
    assert actions >= {"likeness_granted", "likeness_revoked", "taken_down", "report_dismissed"}
