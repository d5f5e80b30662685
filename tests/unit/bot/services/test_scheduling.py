"""The order of dispatch as a rule: bounds hold for every sequence of arrivals."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.services import scheduling
from bot.services.scheduling import AFFINITY_S, HEAD_START_S, RANK, Place, arrange, place
from bot.storage.line import Neighbourhood
from engine.contracts.jobs import GenerateVideo, TrainLora
from engine.contracts.status import Lane
from tests.support import contracts

LANE = Lane.RENDER
GREATEST_START_S = max(RANK.values()) * HEAD_START_S[LANE]


@dataclass(frozen=True)
class Entry:
    """One job of the model."""

    number: int
    owner: int
    server: int
    arrived: float
    place: Place
    job: TrainLora | GenerateVideo = field(default_factory=contracts.generate_video)

    @property
    def fair_start(self) -> float:
        return self.place.order


@dataclass
class LaneModel:
    """A lane in memory, with the facts that SQLite would give."""

    now: float = 1_000_000.0
    ahead_s: float = 0.0
    waiting: list[Entry] = field(default_factory=list)
    served: list[Entry] = field(default_factory=list)
    arrivals: int = 0

    def arrive(self, owner: int, server: int, plan: str, seconds: float) -> Entry:
        """A submit."""
        own = [entry for entry in self.waiting if entry.owner == owner]
        around = Neighbourhood(
            ahead_s=self.ahead_s,
            owner_due=max((entry.place.due for entry in own), default=None),
            owner_waiting=len(own),
            server_waiting=min(
                scheduling.MAX_SERVER_WAITING,
                sum(1 for entry in self.waiting if entry.server == server and entry.place.turn <= len(own)),
            ),
        )
        entry = Entry(self.arrivals, owner, server, self.now, place(self.now, seconds, LANE, plan, around))
        self.arrivals += 1
        self.waiting.append(entry)
        return entry

    def serve(self) -> Entry | None:
        """The next one, as the dispatcher takes it."""
        if not self.waiting:
            return None
        entry = min(self.waiting, key=lambda item: (item.place.order, item.number))
        self.waiting.remove(entry)
        self.ahead_s = max(self.ahead_s, entry.place.due - self.now)
        self.served.append(entry)
        return entry


ARRIVAL = st.tuples(st.integers(1, 4), st.integers(1, 2), st.sampled_from(sorted(RANK)), st.sampled_from([1.0, 10.0, 60.0]))
STEP = st.one_of(ARRIVAL, st.none(), st.floats(1.0, 4000.0))


def _play(steps: list[object]) -> LaneModel:
    lane = LaneModel()
    for step in steps:
        match step:
            case (int(owner), int(server), str(plan), float(seconds)):
                lane.arrive(owner, server, plan, seconds)
            case float(passed):
                lane.now += passed
            case _:
                lane.serve()
    return lane


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=80))
def test_no_job_is_overtaken_by_one_that_comes_after_its_due_time_and_the_greatest_head_start(steps: list[object]) -> None:
    """However the others behave, a waiting job is next at last: the bound is fixed when it arrives."""
    lane = _play(steps)
    while lane.serve():
        pass
    served_at = {entry.number: index for index, entry in enumerate(lane.served)}
    for late in lane.served:
        for early in lane.served:
            if served_at[late.number] < served_at[early.number] and late.arrived > early.place.due + GREATEST_START_S:
                raise AssertionError(f"{late} overtook {early}")


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=80))
def test_jobs_of_one_person_and_plan_keep_their_order_when_they_cost_the_same(steps: list[object]) -> None:
    """Nobody overtakes themselves."""
    same = [(s[0], s[1], "free", 10.0) if isinstance(s, tuple) else s for s in steps]
    lane = _play(same)
    while lane.serve():
        pass
    for owner in range(1, 5):
        numbers = [entry.number for entry in lane.served if entry.owner == owner]
        assert numbers == sorted(numbers)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 300), st.integers(1, 12), st.integers(1, 2))
def test_others_wait_no_longer_for_a_long_line_than_for_a_short_one(heavy: int, others: int, each: int) -> None:
    """Somebody with many jobs costs others what somebody with two would, give or take 30 %."""

    def total_wait(line: int) -> int:
        lane = LaneModel()
        for _ in range(line):
            lane.arrive(0, 1, "free", 10.0)
        for _ in range(each):
            for owner in range(1, others + 1):
                lane.arrive(owner, 1, "free", 10.0)
        while lane.serve():
            pass
        return sum(index for index, entry in enumerate(lane.served) if entry.owner != 0)

    assert total_wait(heavy) <= 1.3 * total_wait(2)


def test_one_server_does_not_block_another_when_its_members_all_come_first() -> None:
    """Fifty people of one server wait; the only one of another is served among the first."""
    lane = LaneModel()
    for owner in range(50):
        lane.arrive(owner, 1, "free", 10.0)
    newcomer = lane.arrive(99, 2, "free", 10.0)
    order = [entry.number for entry in iter(lane.serve, None)]
    assert order.index(newcomer.number) <= 2


def test_free_work_goes_before_new_premium_work_when_it_has_waited_the_head_start() -> None:
    """Priority ages: plans are a head start, not a wall."""
    lane = LaneModel()
    old = lane.arrive(1, 1, "free", 10.0)
    assert lane.arrive(2, 2, "premium", 10.0).place.order < old.place.order
    lane.now += HEAD_START_S[LANE] + 1
    assert old.place.order < lane.arrive(3, 3, "premium", 10.0).place.order


def test_idle_capacity_costs_nothing_when_somebody_used_it() -> None:
    """Whoever had the lane for itself shares evenly with a newcomer afterwards."""
    lane = LaneModel()
    for _ in range(20):
        lane.arrive(1, 1, "free", 10.0)
    for _ in range(10):
        lane.serve()
    for _ in range(5):
        lane.arrive(2, 2, "free", 10.0)
    order = [entry.owner for entry in iter(lane.serve, None)]
    assert order[:8].count(2) in (4, 5)


def _with_loras(order: float, *loras: str) -> Entry:
    job = contracts.generate_video(adapters=tuple(contracts.adapter_use(lora_id=name) for name in loras))
    return Entry(int(order), 1, 1, 0.0, Place(order, order, 0), job)


def test_clip_with_loaded_loras_goes_first_when_it_is_close_in_the_order() -> None:
    """No reload for the next one, and none for the one after."""
    waiting = [_with_loras(0, "a"), _with_loras(1, "b"), _with_loras(2, "a"), _with_loras(3, "b")]
    assert [entry.number for entry in arrange(waiting, frozenset({"b"}), LANE, 4)] == [1, 3, 0, 2]


def test_affinity_waits_when_the_other_job_came_much_earlier() -> None:
    """Being loaded is worth `AFFINITY_S`, not more."""
    waiting = [_with_loras(0, "a"), _with_loras(AFFINITY_S[LANE] + 1, "b")]
    assert [entry.number for entry in arrange(waiting, frozenset({"b"}), LANE, 1)] == [0]


def test_order_is_kept_when_nothing_is_loaded() -> None:
    """Clips without LoRAs suit no GPU better than another."""
    waiting = [_with_loras(0, "a"), _with_loras(1), _with_loras(2)]
    assert [entry.number for entry in arrange(waiting, frozenset(), LANE, 2)] == [0, 1]
