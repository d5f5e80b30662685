"""The full-size 22B transformer in training, on one GPU; at mid size on the CPU where there is none. Figures for a note, never a test.

`python tests/bench/gpu.py [--steps N] [--peak-tflops T]` makes the transformer with random weights on the device, in bf16 on a GPU, and
trains rank 32 at 512 x 512 x 1 and 512 x 512 x 49. For each it prints seconds per step, peak memory and the share of the peak FLOP/s of

* `ours`: a step of `TrainingRun`, as the product makes it,
* `bare`: forward, backward and AdamW on the same tensors with the same adapter,
* `peft`: a plain loop over diffusers' `add_adapter`, as in their examples: no cached inputs, no clipping, default attention.

JSON goes to stdout; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.model.bases import VIDEO_TARGETS
from tests.support.random_base import FULL, MID, RandomBase, bare_step, captured_step, closing, random_base, ready_run

H200_DENSE_BF16_TFLOPS = 989.0
FRAMES = (1, 49)
RANK = 32


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--peak-tflops", type=float, help="of the device in the used precision (default: H200, or measured on a CPU)")
    parser.add_argument("--frames", type=int, nargs="+", default=list(FRAMES))
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    if not on_gpu:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    peak = options.peak_tflops or (H200_DENSE_BF16_TFLOPS if on_gpu else _measured_peak())
    began = time.perf_counter()
    resident = random_base(FULL if on_gpu else MID, device, dtype, text_tokens=1024 if on_gpu else 256)
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_gpu else f"cpu, {torch.get_num_threads()} threads",
        "parameters": sum(parameter.numel() for parameter in resident.transformer.parameters()),
        "dtype": str(dtype).removeprefix("torch."),
        "made_in_s": round(time.perf_counter() - began, 1),
        "peak_tflops": round(peak, 3),
        "load_at_start": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as folder:
        for frames in options.frames:
            figures[f"512x512x{frames}"] = _measured(resident, Path(folder) / str(frames), frames, options.steps, peak)
    print(json.dumps(figures, indent=2))


def _measured(resident: RandomBase, folder: Path, frames: int, steps: int, peak_tflops: float) -> dict[str, Any]:
    """All three loops at one length."""
    found: dict[str, Any] = {}
    with closing(ready_run(resident, folder, frames=frames)) as run:
        given = captured_step(run)
        tokens = given["hidden_states"].shape[1]
        target = torch.randn(1, tokens, resident.transformer.config.out_channels, device=resident.device)
        flops = _flops(run.step)
        found["tokens"], found["tflop_per_step"] = tokens, round(flops / 1e12, 3)
        found["ours"] = _timed(run.step, steps, flops, peak_tflops)
        found["bare"] = _timed(lambda: bare_step(resident, run._state.optimizer, given, target), steps, flops, peak_tflops)
    found["peft"] = _peft(resident, given, target, steps, flops, peak_tflops)
    found["ours_to_bare"] = round(found["ours"]["seconds_per_step"] / found["bare"]["seconds_per_step"], 4)
    return found


def _peft(
    resident: RandomBase, given: dict[str, Any], target: torch.Tensor, steps: int, flops: float, peak_tflops: float
) -> dict[str, Any]:
    """diffusers' own `add_adapter` in the shortest loop; positions are computed at every step, as its pipelines do."""
    from peft import LoraConfig

    transformer = resident.transformer
    pattern = "|".join(f"(?:{pattern})" for pattern in VIDEO_TARGETS)
    transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=pattern), adapter_name="plain")
    transformer.enable_gradient_checkpointing()
    weights = [parameter.data.float() for parameter in transformer.parameters() if parameter.requires_grad]
    learning = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    for parameter, weight in zip(learning, weights, strict=True):
        parameter.data = weight
    optimizer = torch.optim.AdamW(learning, lr=1e-4)
    plain = dict(given)

    def step() -> None:
        plain["video_coords"] = given["video_coords"].clone()
        bare_step(resident, optimizer, plain, target)

    try:
        return _timed(step, steps, flops, peak_tflops)
    finally:
        transformer.disable_gradient_checkpointing()
        transformer.unload_lora()
        gc.collect()


def _timed(step: Callable[[], object], steps: int, flops: float, peak_tflops: float) -> dict[str, Any]:
    """Median seconds of a step after two of warm-up, peak memory, and how much of the device's arithmetic is used.

    On the CPU seconds are processor time, which others on the machine do not add to.
    """
    on_gpu = torch.cuda.is_available()
    clock = time.perf_counter if on_gpu else time.process_time
    for _ in range(2):
        step()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    spans = []
    for _ in range(steps):
        began = clock()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        spans.append(clock() - began)
    seconds = median(spans)
    return {
        "seconds_per_step": round(seconds, 4),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else None,
        "share_of_peak": round(flops / seconds / 1e12 / peak_tflops, 4),
    }


def _flops(step: Callable[[], object]) -> float:
    """Floating point operations of one step, recomputation for gradient checkpointing included."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def _measured_peak() -> float:
    """TFLOP/s of a large fp32 matrix product on this CPU."""
    one, other = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = 0.0
    for _ in range(5):
        began = time.process_time()
        one @ other
        best = max(best, 2 * 2048**3 / (time.process_time() - began) / 1e12)
    return best


if __name__ == "__main__":
    main()
