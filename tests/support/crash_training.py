"""`python -m tests.support.crash_training FOLDER --kills 10 --seed 1`: a training that is killed with SIGKILL again and again.

The base is loaded once; every training runs in a forked child of its own, so that a kill takes a real process and its memory away.
Children report each finished step through a pipe; the parent kills at a random step and a random moment after it. Prints JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STEPS = 10
SETTINGS = {
    "steps": STEPS,
    "evaluate_every": 5,
    "held_out": 1,
    "checkpoint_every": 2,
    "preservation_share": 0.3,
    "caption_dropout": 0.2,
    "learning_rate": 1e-2,
    "stop_on_plateau": False,
}
BEGAN_AT = datetime(2026, 1, 1, tzinfo=UTC)


def random_base() -> Any:
    """A one-block LTX-2.3 with random weights, small enough for many trainings."""
    import torch

    from engine.model.bases import get_base
    from engine.model.loader import ResidentBase
    from engine.tiny import architecture

    torch.set_num_threads(1)
    architecture.TRANSFORMER_LAYERS = 1  # type: ignore[misc]  # a constant of the shipped base
    pipeline = architecture.build_pipeline(seed=3)
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.requires_grad_(False).eval()
    return ResidentBase(base=get_base("tiny"), pipeline=pipeline, device=torch.device("cpu"), dtype=torch.float32, fingerprint="random")


def train(resident: Any, folder: Path, *, resume: bool, report: int | None = None) -> dict[str, Any]:
    """One training to its end; writes a byte to the descriptor `report` after every optimizer step."""
    from engine.ports import NeverCancelled, NullMetrics, NullSink
    from engine.train.recipe import build_run
    from tests.support.engine import train_config, write_pictures

    items = write_pictures(folder.parent / "data", 5)
    config = train_config(**SETTINGS)
    with build_run(resident, config, items, folder, NullSink(), NeverCancelled(), NullMetrics(), resume, began_at=BEGAN_AT) as run:
        began = done = run.steps_done
        while not run.finished:
            run.step()
            if report is not None and run.steps_done > done:
                os.write(report, b".")
            done = run.steps_done
        trained = run.finish()
    assert trained.selection is not None
    chosen = trained.selection.model_dump_json().encode()
    return {"began": began, "file": _sha(trained.path.read_bytes()), "selection": _sha(chosen), "chosen": trained.selection.chosen}


def main() -> None:
    """Train once undisturbed, then with kills."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng, resident = random.Random(options.seed), random_base()
    whole = _in_child(resident, options.folder / "whole", resume=False)
    runs = []
    for index in range(options.kills):
        folder = options.folder / f"killed-{index}"
        killed_at = _killed(resident, folder, rng)
        runs.append({"killed_at": killed_at, **_in_child(resident, folder, resume=True)})
    sys.stdout.write(json.dumps({"whole": whole, "runs": runs}))


def _in_child(resident: Any, folder: Path, *, resume: bool) -> dict[str, Any]:
    """The result of a training in a child that is left alone."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _exit_after(lambda: os.write(write_end, json.dumps(train(resident, folder, resume=resume)).encode()))
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the training in {folder.name} failed"
    result: dict[str, Any] = json.loads(answer)
    return result


def _killed(resident: Any, folder: Path, rng: random.Random) -> int:
    """Begin a training and kill it; the number of steps it had reported."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _exit_after(lambda: train(resident, folder, resume=False, report=write_end))
    os.close(write_end)
    steps, wanted = 0, rng.randrange(STEPS)
    with os.fdopen(read_end, "rb", buffering=0) as stream:
        began = time.monotonic()
        while steps < wanted and stream.read(1):
            steps += 1
        pace = (time.monotonic() - began) / max(1, steps)
        time.sleep(rng.random() * 2 * min(pace, 1.0))  # anywhere in the step, the look or the checkpoint after it
        os.kill(pid, signal.SIGKILL)
        steps += len(stream.read())
    os.waitpid(pid, 0)
    return steps


def _exit_after(work: Any) -> None:
    """Body of a forked child; never returns to its parent's code."""
    code = 1
    try:
        work()
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
