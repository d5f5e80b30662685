"""`python -m bot.sandbox run` with real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STORY = """
title: Short
settings: {daily_units: 77}
steps:
  - {note: "Looking around", as: maker, command: quota, says: "77"}
  - {restart: bot}
  - {as: maker, command: jobs}
  - {as: maker, command: quota, says: "a million"}
"""


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that have `folder` in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(folder) in (entry / "environ").read_text(errors="replace"):
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:  # ended or not ours
                continue
    return found


@pytest.mark.timeout(240)
def test_run_reports_one_line_per_unmet_step_and_leaves_nothing_running(tmp_path: Path):
    """Exit 1 names the one step that was not met; transcript and page are there; all processes are gone."""
    scenario = tmp_path / "story.yaml"
    scenario.write_text(STORY)
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "bot.sandbox", "run", str(scenario), "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=230,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    unmet = [line for line in done.stdout.splitlines() if line.startswith("✗ step")]
    assert len(unmet) == 1
    assert unmet[0].startswith("✗ step 4 (maker /quota)")
    transcript = json.loads((out / "transcript.json").read_text())
    assert transcript["violations"] == []
    assert [i["name"] for i in transcript["interactions"]] == ["quota", "jobs", "quota"]
    assert all(i["ack_ms"] < 3000 for i in transcript["interactions"])
    assert "Looking around" in (out / "transcript.html").read_text()
    assert processes_of(out) == []
