"""Trainings that are killed with SIGKILL: each goes on from its last checkpoint and ends with the very same file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import InvalidConfigError
from engine.model.loader import ResidentBase
from tests.support.engine import run_until, start_run, write_pictures


@pytest.mark.timeout(1800)  # about 30 s of one core; a busy machine takes far longer
def test_killed_trainings_resume_and_end_bit_identical(tmp_path: Path) -> None:
    """Ten kills at random steps: the file, manifest and all, and the choice of the checkpoint are those of an uninterrupted run."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.crash_training", str(tmp_path), "--kills", "10", "--seed", "20261123"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    whole, runs = told["whole"], told["runs"]
    assert len(runs) == 10
    assert {run["file"] for run in runs} == {whole["file"]}
    assert {run["selection"] for run in runs} == {whole["selection"]}
    assert any(run["began"] > 0 for run in runs), "no run had a checkpoint to go on from"
    assert all(run["began"] <= run["killed_at"] + 1 for run in runs)


def test_checkpoint_of_another_base_is_refused(tiny: ResidentBase, tmp_path: Path) -> None:
    """A base with other weights cannot go on with what the first one began."""
    from dataclasses import replace

    items = write_pictures(tmp_path / "data")
    with start_run(tiny, items, tmp_path / "run") as run:
        run_until(run, 1)
        run.save_checkpoint()
    other = replace(tiny, fingerprint="another")
    with pytest.raises(InvalidConfigError, match="another training: other settings, pictures or base"):
        start_run(other, items, tmp_path / "run", resume=True)
