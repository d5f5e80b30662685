"""Who goes first. Pure rules: the place of a job in its lane is one number, fixed when it is submitted.

A lane has a clock that never runs slower than real time: it jumps ahead when the lane serves work that was not due yet, because nothing
else waited. A job is due at that clock plus a turn for each job its owner and its server have waiting already (virtual clock fair
queueing: Zhang 1990; Goyal, Vin, Cheng 1996), and the order is by due time minus the head start of its plan.

So nothing starves: a job due at D is only overtaken by jobs that arrive before D plus the greatest head start, whatever happens later
(tests/unit/bot/services/test_scheduling.py). And a position is a count over an index, however many wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bot.storage.line import Neighbourhood
from engine.contracts.jobs import GenerateVideo, TrainLora
from engine.contracts.status import Lane

OWNER_TURNS = 20
"""Each waiting job of the owner counts as this many of its length: up to so many people share a lane evenly with somebody's 200 jobs."""
SERVER_TURNS = 4
"""The same for each waiting job of the server whose owner has no more turns behind them."""
MAX_SERVER_WAITING = 100
"""Counting stops here, so that the price of a submit does not grow with the queue."""

LEAST_S = 0.1
"""A job never counts for less, however quick the measured ones were."""

HEAD_START_S: Mapping[Lane, float] = {Lane.RENDER: 30 * 60.0, Lane.TRAIN: 12 * 3600.0}
"""Ageing: work of one plan that has waited this long goes before new work of the next better plan."""
RANK: Mapping[str, int] = {"free": 0, "premium": 1, "enterprise": 2}

AFFINITY_S: Mapping[Lane, float] = {Lane.RENDER: 30.0, Lane.TRAIN: 0.0}
"""A clip whose LoRAs are loaded may overtake those at most this much earlier in the order."""
LOOK_AHEAD = 16


@dataclass(frozen=True)
class Place:
    """A job's place in its lane. Times are unix seconds of the lane's clock."""

    due: float
    order: float  # due time less the plan's head start: smaller goes first
    turn: int  # jobs of the owner that waited before it


def place(now: float, seconds: float, lane: Lane, plan: str, neighbours: Neighbourhood) -> Place:
    """The place of a job that should run for `seconds`."""
    seconds = max(seconds, LEAST_S)
    clock = now + neighbours.ahead_s
    due = clock + neighbours.server_waiting * SERVER_TURNS * seconds
    if neighbours.owner_due is not None:
        due = max(due, neighbours.owner_due + OWNER_TURNS * seconds)
    return Place(due=due, order=due - RANK[plan] * HEAD_START_S[lane], turn=neighbours.owner_waiting)


class Waiting(Protocol):
    """A waiting job as the order sees it."""

    @property
    def job(self) -> TrainLora | GenerateVideo:
        """What it asks for."""

    @property
    def fair_start(self) -> float:
        """Its place."""


W = TypeVar("W", bound=Waiting)


def stack_of(job: TrainLora | GenerateVideo) -> frozenset[str]:
    """The LoRAs a GPU has to load for a job."""
    return frozenset(use.lora_id for use in job.adapters) if isinstance(job, GenerateVideo) else frozenset()


def arrange(waiting: Sequence[W], loaded: frozenset[str], lane: Lane, room: int) -> list[W]:
    """The next `room` jobs of `waiting` (in order): first come first, except that a clip with the LoRAs `loaded` may go a little earlier.

    It overtakes only jobs at most `AFFINITY_S` before it in the order, which bounds what anybody loses by it.
    """
    left = list(waiting)
    chosen: list[W] = []
    while left and len(chosen) < room:
        latest = left[0].fair_start + AFFINITY_S[lane]
        suited = (item for item in left if loaded and item.fair_start <= latest and stack_of(item.job) == loaded)
        item = next(suited, left[0])
        left.remove(item)
        chosen.append(item)
        loaded = stack_of(item.job)
    return chosen
