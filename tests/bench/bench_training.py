"""What a training costs above the bare minimum: figures for a note, never a test.

`python tests/bench/bench_training.py` prints one JSON object: our optimizer step against a bare forward, backward and AdamW step on the
same tensors, in turn in one run, on a random transformer of more than 100 million parameters; the peak memory of each in a process of its
own; and how a set of 100 pictures is prepared: how often each file is decoded, and the longest piece of work a render would wait for.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from tests.support.random_base import MID, RandomBase, bare_step, captured_step, closing, random_base, ready_run

PAIRS = int(os.environ.get("PAIRS", "12"))
WARM_UP = 2
RSS_STEPS = 4
TEXT_TOKENS = 256
PICTURES = 100


def main() -> None:
    """Measure, then print."""
    if len(sys.argv) == 3:
        _alone(sys.argv[1], Path(sys.argv[2]))
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = {"load_at_start": os.getloadavg()[0], **_overhead(Path(folder) / "pairs")}
        figures.update(_memory(Path(folder)))
        figures.update(_preparation(Path(folder) / "set"))
    figures["load_at_end"] = os.getloadavg()[0]
    print(json.dumps(figures, indent=2))


def _overhead(folder: Path) -> dict[str, Any]:
    """Pairs of steps, ours and bare in turn; processor time, which others on the machine do not add to."""
    resident = random_base(MID, text_tokens=TEXT_TOKENS)
    ours, bare = [], []
    with closing(ready_run(resident, folder)) as run:
        given = captured_step(run)
        target = torch.randn(1, given["hidden_states"].shape[1], resident.transformer.config.out_channels)
        for index in range(WARM_UP + PAIRS):
            order = (0, 1) if index % 2 else (1, 0)
            for which in order:
                began = time.process_time()
                if which == 0:
                    run.step()
                else:
                    bare_step(resident, run._state.optimizer, given, target)
                (ours if which == 0 else bare).append(time.process_time() - began)
    ours, bare = ours[WARM_UP:], bare[WARM_UP:]
    return {
        "parameters": sum(parameter.numel() for name, parameter in resident.transformer.named_parameters() if ".lora_" not in name),
        "tokens": given["hidden_states"].shape[1],
        "pairs": PAIRS,
        "our_step_s": round(median(ours), 4),
        "bare_step_s": round(median(bare), 4),
        "overhead": round(median(a / b for a, b in zip(ours, bare, strict=True)), 4),
    }


def _memory(folder: Path) -> dict[str, Any]:
    """Peak resident memory of our loop and of the bare one."""
    peaks = {}
    for which in ("ours", "bare"):
        command = [sys.executable, __file__, which, str(folder / which)]
        peaks[which] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"peak_rss_mib": peaks, "memory_ratio": round(peaks["ours"] / peaks["bare"], 4)}


def _alone(which: str, folder: Path) -> None:
    """A few steps of one kind in this process; prints its peak memory in MiB."""
    torch.set_num_threads(1)
    resident = random_base(MID, text_tokens=TEXT_TOKENS)
    if which == "ours":
        with closing(ready_run(resident, folder)) as run:
            for _ in range(RSS_STEPS):
                run.step()
    else:
        _bare_alone(resident)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


def _bare_alone(resident: RandomBase) -> None:
    """The bare loop without anything of ours but the adapter's own weights."""
    from engine.model.adapters import TrainableAdapter
    from engine.model.bases import VIDEO_TARGETS

    adapter = TrainableAdapter(resident, 32, VIDEO_TARGETS, torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(adapter.parameters, lr=1e-4, fused=True)
    config = resident.transformer.config
    tokens = torch.randn(1, 256, config.in_channels)
    text = resident.encode_text(["a"])
    resident.transformer.enable_gradient_checkpointing()  # as the base's preset has it
    for _ in range(RSS_STEPS):
        sigma = torch.rand(1)
        predicted = resident.velocity(tokens, sigma[:, None], sigma, text, resident.video_coords(1, 16, 16, 24.0))
        torch.nn.functional.mse_loss(predicted, torch.randn_like(tokens)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _preparation(folder: Path) -> dict[str, Any]:
    """100 pictures through the real encoders of the tiny base, as `step()` does it between renders."""
    from engine.data import clips
    from engine.model.bases import get_base
    from engine.model.loader import load_base
    from tests.support.engine import start_run, write_pictures

    items = write_pictures(folder / "data", PICTURES, size=256)
    decoded: list[str] = []
    load = clips.load_picture
    clips.load_picture = lambda path: decoded.append(path.name) or load(path)  # type: ignore[func-returns-value]
    pieces = []
    with start_run(load_base(get_base("tiny"), "cpu"), items, folder / "run", steps=1) as run:
        while run._state is None:
            began = time.perf_counter()
            run.step()
            pieces.append(time.perf_counter() - began)
    return {
        "pictures": PICTURES,
        "decodes_per_picture": len(decoded) / PICTURES,
        "preparation_s": round(sum(pieces), 2),
        "pieces": len(pieces),
        "longest_piece_ms": round(1000 * max(pieces), 1),
    }


if __name__ == "__main__":
    main()
