"""Playing a scenario file in a folder of its own, as a person would from a shell."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import hostile

ROOT = Path(__file__).parents[2]
STORIES = ROOT / "tests" / "e2e" / "stories"


@dataclass(frozen=True)
class Told:
    """What one run left behind."""

    folder: Path
    transcript: dict[str, Any]
    output: str

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, oldest first."""
        return list(self.transcript["jobs"])

    def videos(self) -> list[Path]:
        """Every MP4 in the out folder that a message of the bot carries."""
        attachments = [a for message in self.transcript["messages"] for a in message["attachments"]]
        return [self.folder / a["path"] for a in attachments if a["path"].endswith(".mp4")]


def play(scenario: Path, folder: Path, *, timeout_s: float = 840) -> Told:
    """Play `scenario`; one that names `files/` gets those of `tests.support.hostile`. A step that is not met fails the test."""
    if "files/" in scenario.read_text():
        scenario = Path(shutil.copy(scenario, folder))
        hostile.write_all(folder / "files")
    out = folder / "out"
    command = [sys.executable, "-m", "bot.sandbox", "run", str(scenario), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert done.returncode == 0, done.stdout + done.stderr
    transcript = json.loads((out / "transcript.json").read_text())
    assert transcript["violations"] == []
    return Told(out, transcript, done.stdout)
