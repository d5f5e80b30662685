"""A training that cannot but overfit: 8 pictures, ten times the steps. Figures and a picture for a note, never a test.

`python tests/bench/bench_overfit.py [FOLDER]` trains it on the tiny base and prints one JSON object with every look at a checkpoint, the
chosen step and the time that looking took; the chart lies in FOLDER (default: a temporary one) as `selection.png`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from engine.config import TrainConfig
from engine.contracts.lora import LoraKind
from engine.model.bases import get_base
from engine.model.loader import load_base
from engine.ports import NeverCancelled, NullMetrics, NullSink
from engine.tiny.sets import write_by_name
from engine.train.recipe import LocalItem, build_run

PICTURES = 8
TIMES = 10


def main() -> None:
    """Train, then print."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    resident = load_base(get_base("tiny"), "cpu")
    files = write_by_name("zoko", LoraKind.CHARACTER, count=PICTURES, out=folder / "set", size=256, media="png", seed=0)
    items = [LocalItem(file, "image/png", file.name, file.with_suffix(".txt").read_text(encoding="utf-8").strip()) for file in files]
    defaults = resident.base.profile.training[LoraKind.CHARACTER]
    values = {**defaults.model_dump(), "steps": TIMES * defaults.steps, "evaluate_every": defaults.steps}
    config = TrainConfig(name="zoko", kind=LoraKind.CHARACTER, trigger="zoko", preview_prompt="walking left on a beach", **values)
    training_s = looking_s = 0.0
    with build_run(resident, config, items, folder, NullSink(), NeverCancelled(), NullMetrics(), resume=False) as run:
        while not run.finished:
            done, is_look, began = run.steps_done, run._sitting is not None, time.process_time()
            run.step()
            spent = time.process_time() - began
            looking_s += spent if is_look else 0.0
            training_s += spent if run.steps_done > done else 0.0
        trained = run.finish()
    selection = trained.selection
    assert selection is not None
    figures = {
        "chosen": selection.chosen,
        "last": selection.scores[-1].step,
        "planned": config.steps,
        "stopped_early": selection.stopped_early,
        "base_held_out_loss": selection.base_held_out_loss,
        "looks": [score.model_dump(mode="json") for score in selection.scores],
        "training_cpu_s": round(training_s, 1),
        "looking_cpu_s": round(looking_s, 1),
        "chart": str(trained.chart_png),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
