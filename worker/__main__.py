"""`python -m worker`: settings, logging, signals, and the wiring of one worker process. Torch-free; the GPU child is another process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from redis.exceptions import RedisError

from engine.contracts import wire
from engine.contracts.logs import log_to_stderr
from engine.errors import EngineError
from engine.store import ObjectStore
from worker import doctor
from worker.config import WorkerSettings
from worker.connection import open_redis, patiently, stop_tasks
from worker.files import Checkpoints, HomeInUseError, Scratch, locked_home
from worker.gpu_worker import GpuWorker
from worker.health import Heartbeat, WorkerIdInUseError
from worker.lease import LeaseBook
from worker.metrics import WorkerMetrics
from worker.runner import Runner, RunnerConfig
from worker.tasks import Tasks

logger = logging.getLogger("worker")

STOP_CHILD_S = 10.0
"""Time an idle child has to leave by itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one worker until SIGTERM or SIGINT. Exit codes: 0 stopped when asked, 2 wrong settings or surroundings, 1 anything else."""
    parser = argparse.ArgumentParser(prog="python -m worker", description="A GPU worker of Callsheet; settings come from the environment.")
    parser.add_argument(
        "--serve", action="append", metavar="POOL", help="whose work to take, the preferred first: shared (default), or guild:SERVER_ID"
    )
    parser.add_argument("command", nargs="?", choices=["doctor"], help="doctor: check Redis, store, disk, GPU and base, and leave")
    options = parser.parse_args(arguments)
    given: dict[str, Any] = {"serve": tuple(options.serve)} if options.serve else {}
    try:
        settings = WorkerSettings(**given)
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"CALLSHEET_{name.removeprefix('CALLSHEET_')}: {problem['msg']}", file=sys.stderr)
        return 2
    if options.command == "doctor":
        return asyncio.run(doctor.examine(settings))
    log_to_stderr(settings.log_level, settings.log_format)
    try:
        with locked_home(settings.home):
            asyncio.run(serve(settings))
    except (HomeInUseError, WorkerIdInUseError, EngineError) as error:
        print(error, file=sys.stderr)
        return 2
    except (RedisError, OSError) as error:
        print(f"The worker stops: {error}", file=sys.stderr)
        return 1
    return 0


async def serve(settings: WorkerSettings) -> None:
    """Wire and run one worker until a signal asks it to stop, then drain it.

    Raises:
        EngineError: The object store can't be opened.
        WorkerIdInUseError: Another host uses our worker id.
        RedisRefusedError: Wrong password or missing rights.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)

    keys = wire.Keys(settings.key_prefix)
    store = ObjectStore.open(settings.store_url)
    async with contextlib.AsyncExitStack() as closing:
        redis = open_redis(settings.redis_url)
        closing.push_async_callback(redis.aclose)
        book = LeaseBook(redis, keys, settings.worker_id, settings.lease_s)
        runner = Runner(
            RunnerConfig(
                command=settings.child_command,
                base=settings.base,
                device=settings.device,
                credentials_dir=settings.credentials_dir,
                start_timeout_s=settings.child_start_timeout_s,
                stall_timeout_s=settings.child_stall_timeout_s,
                cancel_grace_s=settings.cancel_grace_s,
                cpu_threads=settings.cpu_threads,
                control_models=settings.control_models,
                speed=settings.speed,
            )
        )
        scratch = Scratch(settings.home, store, settings.cache_bytes, settings.least_free_bytes)
        tasks = Tasks(settings, book, runner, store, scratch, Checkpoints(store))
        lanes = [
            GpuWorker(
                lane=lane,
                queues=keys.queues(settings.base, lane, settings.serve),
                book=book,
                task=tasks.run,
                unreadable=tasks.unreadable,
                ended=tasks.ended,
                ahead=tasks.ahead,
                ready=lambda: runner.ready and not stop.is_set() and tasks.willing,
                poll_s=settings.poll_s,
            )
            for lane in settings.lanes
        ]
        heartbeat = Heartbeat(
            book=book,
            base=settings.base,
            serves=settings.serve,
            runner=runner,
            scratch=scratch,
            lanes=lanes,
            draining=stop.is_set,
            every_s=settings.announce_s,
        )

        metrics = WorkerMetrics(heartbeat.status, lambda: runner.restarts)
        tasks.observe = metrics.ended
        await closing.enter_async_context(metrics.served(settings.metrics_host, settings.metrics_port))

        child = asyncio.create_task(runner.run(), name="child")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        running = {child}
        try:
            beginning = asyncio.create_task(_begin(heartbeat, book, lanes), name="begin")
            await asyncio.wait({beginning, stopped, child}, return_when=asyncio.FIRST_COMPLETED)
            if not beginning.done():
                await stop_tasks(beginning)
            else:
                beginning.result()
                running |= {asyncio.create_task(lane.async_run(), name=f"lane {lane.lane}") for lane in lanes}
                running.add(asyncio.create_task(heartbeat.run(), name="heartbeat"))
                ended, _ = await asyncio.wait({*running, stopped}, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()  # none of these ends by itself, so an exception is the only way out
        finally:
            await _drain(settings, tasks, runner, lanes)
            await stop_tasks(*running, stopped)


async def _begin(heartbeat: Heartbeat, book: LeaseBook, lanes: list[GpuWorker]) -> None:
    await patiently(heartbeat.check_id_is_free, "the start")
    queues = [queue for lane in lanes for queue in lane.queues]
    for job_id in await patiently(lambda: book.start(queues), "the start"):
        logger.warning("job of an earlier process of this worker is free again", extra={"job_id": job_id})


async def _drain(settings: WorkerSettings, tasks: Tasks, runner: Runner, lanes: list[GpuWorker]) -> None:
    """Hand back or finish what runs, then end the child; takes little more than `drain_grace_s` at most."""
    began = time.monotonic()
    logger.info("draining: trainings are suspended, clips have %.0f s", settings.drain_grace_s)
    tasks.draining.set()
    for lane in lanes:
        lane.allow_pick_jobs = False
    jobs = [task for lane in lanes for task in lane.job_tasks.values()]
    late: set[asyncio.Task[object]] = set()
    if jobs:
        _, late = await asyncio.wait(jobs, timeout=settings.drain_grace_s)
    # With the child gone, what is late ends at once and is handed back.
    await runner.stop(grace_s=0.0 if late else STOP_CHILD_S)
    await asyncio.gather(*(lane.drain() for lane in lanes))
    logger.info("drained in %.1f s", time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
