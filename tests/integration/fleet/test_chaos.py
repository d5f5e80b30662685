"""A fleet that loses nothing: everything breaks, and afterwards the books are right.

`CHAOS_JOBS`, `CHAOS_ROUNDS` and `CHAOS_SEED` make it longer or other, `CHAOS_SCREENING=false` spares a busy machine the classifier; figures
of long runs are in engine/LOG.md.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.support.chaos import Fleet, open_fleet, wishes
from tests.support.chaos_checks import check_all, jobs_of

logger = logging.getLogger(__name__)

JOBS = int(os.environ.get("CHAOS_JOBS", "48"))
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.fixture
async def fleet(tmp_path: Path, endpoint: str) -> AsyncIterator[Fleet]:
    """Everything, not started yet."""
    async with open_fleet(tmp_path, endpoint) as fleet:
        yield fleet


@pytest.mark.timeout(1200 + 10 * JOBS)
async def test_nothing_is_lost_or_done_twice_when_everything_breaks(fleet: Fleet) -> None:
    """Every job ends once, every result and every failure has one post, ledger and store add up, trainings equal undisturbed ones."""
    wanted = wishes(SEED, JOBS)
    await fleet.start(wanted)
    await fleet.torment(SEED, ROUNDS)
    took = await fleet.settled(JOBS)
    jobs = jobs_of(fleet)
    figures = {"accidents": fleet.accidents, "bot lives": fleet.lives, "settled after s": round(took, 1), **_figures(jobs)}
    figures |= {"started again after s": _spread(await fleet.recoveries())}
    logger.info("%s", json.dumps(figures))

    await check_all(fleet, wanted, jobs)


def _figures(jobs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    statuses = Counter(f"{row['status']} {row['failure'] or ''}".strip() for row in jobs.values())
    plans = Counter(row["plan"] for row in jobs.values())
    return {
        "jobs": statuses,
        "plans": plans,
        "tries": sum(row["attempt"] for row in jobs.values()),
        "losses": sum(row["losses"] for row in jobs.values()),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"n": len(values), "median": round(median(values), 1), "max": round(max(values), 1)} if values else {"n": 0}
