"""Redis is away for a while: people get an honest answer, workers wait and go on, and nothing is lost, with its data or without.

`OUTAGE_S` is the length of the outage; a run by hand takes 60, see engine/LOG.md.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.chaos import Fleet, Wish, open_fleet
from tests.support.chaos_checks import check_all, jobs_of
from tests.support.workers import eventually

OUTAGE_S = float(os.environ.get("OUTAGE_S", "6"))
PEOPLE = 4
PATIENCE_S = 3.0  # Discord's, for an acknowledgement


@pytest.mark.timeout(1800 + 2 * OUTAGE_S)
@pytest.mark.parametrize("durable", [True, False], ids=["kept", "emptied"])
async def test_nothing_is_lost_and_people_are_told_when_redis_is_away(
    tmp_path: Path, endpoint: str, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some jobs run, some are handed out, most wait. What runs ends once, with its data kept at its first try; the rest follows."""
    monkeypatch.setenv("FAKE_STEP_S", "0.5")  # a training takes 30 s, a clip 2 s: more is asked for than three workers can do
    wanted = [
        Wish(number, *(("train", f"exact-{number}") if number < 3 else ("generate", f"clip {number}")), 100 + number % PEOPLE, *_CALM)
        for number in range(24)
    ]
    async with open_fleet(tmp_path, endpoint, durable=durable) as fleet:
        await fleet.start(wanted)
        await eventually(lambda: _in_full_swing(fleet), within_s=300)
        fleet.valkey.kill()
        back_at = time.monotonic() + OUTAGE_S
        await _people_are_answered(fleet)
        await asyncio.sleep(max(0.0, back_at - time.monotonic()))
        fleet.check_bot()
        assert all(worker.process.returncode is None for worker in fleet.workers.values())
        await asyncio.to_thread(fleet.valkey.start)
        await fleet.settled(len(wanted))
        jobs = jobs_of(fleet)
        assert Counter(row["status"] for row in jobs.values()) == {"succeeded": len(wanted)}
        if durable:
            # one that was being handed out when Redis died counts as lost, and is handed out once more
            assert {row["attempt"] for row in jobs.values()} == {1}
            assert max(row["losses"] for row in jobs.values()) <= 1
        await check_all(fleet, wanted, jobs)


_CALM = (True, False, False, 0.02)


async def _people_are_answered(fleet: Fleet) -> None:
    """Within Discord's three seconds, and truly: what needs the queue is refused, free of charge; what does not is there."""
    maker = fleet.discord.user("maker")
    asked = await maker.command("generate", {"prompt": "a lake"})
    assert asked.refused
    assert "The queue is out of reach right now, so nothing was started or charged" in asked.text
    listed, quota = await maker.command("jobs"), await maker.command("quota")
    assert not listed.refused
    assert not quota.refused
    for outcome in (asked, listed, quota):
        assert outcome.ack_ms is not None
        assert outcome.ack_ms < 1000 * PATIENCE_S
    assert fleet.rows("SELECT count(*) AS n FROM jobs WHERE owner_id = ?", maker.account.id) == [{"n": 0}]


def _in_full_swing(fleet: Fleet) -> bool:
    """Both kinds run, others wait, one has ended."""
    seen = Counter(row["what"] for row in fleet.rows("SELECT kind || ' ' || status AS what FROM jobs"))
    waiting = sum(count for what, count in seen.items() if what.endswith((" queued", " dispatched")))
    return seen["train_lora running"] > 0 and seen["generate_video running"] > 0 and waiting >= 3 and seen["generate_video succeeded"] > 0
