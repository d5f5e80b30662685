"""Who waits how long, with the real rules and rows and a made-up day."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median, quantiles

from bot.storage.database import open_database
from tests.support.line_simulation import LineSimulation, Order, Served, crowd, overload


async def _played(folder: Path, orders: list[Order], workers: int = 1) -> list[Served]:
    async with open_database(folder / "line.sqlite3") as database:
        return await LineSimulation(database, workers).run(orders)


async def test_ten_people_wait_as_if_the_heavy_user_had_two_jobs_when_he_has_two_hundred(tmp_path: Path) -> None:
    """Mean and longest wait of the ten grow by less than 30 %."""
    many = [served.waited for served in await _played(tmp_path / "many", crowd(200)) if served.order.owner != 1]
    few = [served.waited for served in await _played(tmp_path / "few", crowd(2)) if served.order.owner != 1]
    assert mean(many) <= 1.3 * mean(few)
    assert max(many) <= 1.3 * max(few)


async def test_premium_waits_less_than_free_when_the_lane_is_overloaded(tmp_path: Path) -> None:
    """The slowest of premium's best 95 % are quicker than half of the free ones."""
    served = await _played(tmp_path, overload(1))
    premium = [item.waited for item in served if item.order.plan == "premium"]
    free = [item.waited for item in served if item.order.plan == "free"]
    assert quantiles(premium, n=20)[-1] < median(free)


async def test_free_job_is_served_within_its_bound_when_premium_work_never_ends(tmp_path: Path) -> None:
    """Premium alone fills the lane for hours; a free job goes first once it has waited the head start."""
    flood = [Order(at=11.0 * number, owner=100 + number % 50, plan="premium") for number in range(400)]
    served = await _played(tmp_path, [Order(at=5.0, owner=1), *flood])
    free = next(item for item in served if item.order.plan == "free")
    assert 60 < free.waited <= 30 * 60 + 500
