"""The story of two servers, their admins, an operator and plans that come and go."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.stories import STORIES, play


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_community_has_plans_limits_settings_and_admins(tmp_path: Path) -> None:
    """Every step comes out as written; the person is told of each step of their plan's end; the ledger adds up."""
    told = play(STORIES / "community.yaml", tmp_path)
    with closing(sqlite3.connect(told.folder / "run" / "data" / "callsheet.sqlite3")) as database:
        kinds = [kind for (kind,) in database.execute("SELECT kind FROM notices WHERE user_id IS NOT NULL ORDER BY notice_id")]
        assert [kind for kind in kinds if kind != "plan_began"] == ["plan_ended", "loras_thawed", "plan_ended", "loras_deleted"]
        assert {state for (state,) in database.execute("SELECT state FROM notices WHERE user_id IS NOT NULL")} <= {"sent", "pending"}
        held, spent = database.execute("SELECT sum(held), sum(spent) FROM ledger").fetchone()
        assert held == 0
        assert spent == database.execute("SELECT sum(units_charged) FROM jobs").fetchone()[0]
        facts = [json.loads(text) for (text,) in database.execute("SELECT facts FROM notices WHERE kind = 'admin_acted'")]
    assert {fact["action"] for fact in facts} >= {"block", "unblock", "settings", "grant"}
