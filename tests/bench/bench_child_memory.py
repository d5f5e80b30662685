"""What 200 clips with 40 different LoRAs leave behind in one real GPU child: its resident size, and its base. Figures, never a test.

`python tests/bench/bench_child_memory.py` prints one JSON object. The child is started and driven as a worker's parent does it; whether its
base is still the base is asked by clips without LoRAs, before and after, frame by frame.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from engine.contracts.generation import Quality
from tests.support.lora_files import VIDEO_LAYERS, write_lora
from tests.support.real_child import frames_of, pixels_of, real_child, rendered, rendering

JOBS, ADAPTERS = 200, 40


async def measure(folder: Path) -> dict[str, Any]:
    """Render, look at the child's memory after every 40 clips, compare the base's clips."""
    loras = [write_lora(folder / f"{seed}.safetensors", rank=16, seed=seed, scale=0.02, modules=VIDEO_LAYERS) for seed in range(ADAPTERS)]
    sizes: list[float] = []
    async with real_child(folder / "credentials") as runner:
        pid = runner.child_pid
        assert pid is not None

        async def bare(name: str) -> tuple[Any, Any]:
            made = await rendered(runner, rendering(folder / name, quality=Quality.FAST))
            assert made.poster is not None
            return frames_of(made.clip), pixels_of(made.poster)

        before, began = await bare("before"), time.monotonic()
        for job in range(JOBS):
            stack = [loras[job % ADAPTERS]] if job % 3 else [loras[job % ADAPTERS], loras[(job + 7) % ADAPTERS]]
            out_dir = folder / f"job{job}"
            await rendered(runner, rendering(out_dir, stack, prompt=f"a red ball {job % 50}", seed=job, quality=Quality.FAST))
            shutil.rmtree(out_dir)
            if (job + 1) % ADAPTERS == 0:
                sizes.append(round(resident_mib(pid), 1))
        seconds = time.monotonic() - began
        after = await bare("after")
        assert runner.child_pid == pid
    return {
        "jobs": JOBS,
        "adapters": ADAPTERS,
        "seconds": round(seconds),
        "rss_mib_after_each_40": sizes,
        "growth_after_the_first_40": round(sizes[-1] / sizes[0] - 1, 4),
        "base_unchanged": all(np.array_equal(one, other) for one, other in zip(before, after, strict=True)),
    }


def resident_mib(pid: int) -> float:
    """Resident size of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Measure and print."""
    figures: dict[str, Any] = {"cores": os.cpu_count(), "load_at_start": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        figures |= asyncio.run(measure(Path(folder)))
    print(json.dumps(figures | {"load_at_end": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    main()
