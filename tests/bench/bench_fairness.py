"""Who waits how long: figures for a note, never a test. The rules and rows are real, workers and time are made up.

`python tests/bench/bench_fairness.py` prints one JSON object of waits in seconds; a clip takes 12 s.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from bot.storage.database import open_database
from tests.support.line_simulation import LineSimulation, Order, Served, crowd, overload

SEEDS = (1, 2, 3)


async def main() -> None:
    """Play, then print."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for heavy in (2, 200):
            served = await _played(Path(folder) / f"heavy{heavy}", crowd(heavy))
            waits = [item.waited for item in served if item.order.owner != 1]
            figures[f"ten people beside one with {heavy} jobs"] = {"mean": round(mean(waits), 1), "max": round(max(waits), 1)}
        for seed in SEEDS:
            served = await _played(Path(folder) / f"overload{seed}", overload(seed))
            figures[f"overload 1.5x, seed {seed}"] = {plan: _spread(served, plan) for plan in ("premium", "free")}
    print(json.dumps(figures, indent=2))


async def _played(folder: Path, orders: Sequence[Order]) -> list[Served]:
    async with open_database(folder / "line.sqlite3") as database:
        return await LineSimulation(database).run(orders)


def _spread(served: Sequence[Served], plan: str) -> dict[str, float]:
    waits = [item.waited for item in served if item.order.plan == plan]
    return {"n": len(waits), "p50": round(median(waits), 1), "p95": round(quantiles(waits, n=20)[-1], 1), "max": round(max(waits), 1)}


if __name__ == "__main__":
    asyncio.run(main())
