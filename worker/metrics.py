"""What a monitor reads of one worker: Prometheus text on a port of its own, off by default."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from engine.contracts.status import WorkerState, WorkerStatus

logger = logging.getLogger(__name__)

JOB_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
GPU_EVERY_S = 15.0
_SMI = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")
MIB = 2**20


class WorkerMetrics:
    """Counters of one worker process. `ended` is called once per try; the rest is read from `status` when somebody asks."""

    def __init__(self, status: Callable[[], WorkerStatus], child_restarts: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._tries = Counter(
            "callsheet_worker_tries",
            "Tries of jobs by how they ended; lost: another worker had taken over",
            ["kind", "ending"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "callsheet_worker_job_seconds", "Wall time of tries that ended the job", ["kind"], buckets=JOB_SECONDS, registry=self.registry
        )
        self._gpu = Gauge("callsheet_gpu_memory_used_bytes", "Used memory of each GPU of the machine", ["gpu"], registry=self.registry)
        for state in WorkerState:
            gauge = Gauge("callsheet_worker_" + state, f"1 while the worker is {state}", registry=self.registry)
            gauge.set_function(lambda state=state: float(status().state is state))  # type: ignore[misc]
        Gauge("callsheet_worker_busy_lanes", "Lanes with a job", registry=self.registry).set_function(lambda: float(len(status().busy)))
        Gauge("callsheet_worker_child_restarts", "Ends of the GPU child", registry=self.registry).set_function(
            lambda: float(child_restarts())
        )
        Gauge("callsheet_gpu_memory_bytes", "Memory of the worker's device, 0 when not known", registry=self.registry).set_function(
            lambda: float(status().memory_bytes or 0)
        )

    def ended(self, kind: str, ending: str, seconds: float) -> None:
        """A try is over."""
        self._tries.labels(kind, ending).inc()
        if ending.startswith("job_"):
            self._seconds.labels(kind).observe(seconds)

    @asynccontextmanager
    async def served(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve on `port` (0: nowhere) during the block; the port.

        Raises:
            OSError: the address is not ours or taken.
        """
        if port == 0:
            yield 0
            return
        server, thread = start_http_server(port, addr=host, registry=self.registry)
        watch = asyncio.create_task(self._watch_gpus())
        try:
            yield server.server_port
        finally:
            watch.cancel()
            await asyncio.to_thread(server.shutdown)
            thread.join()

    async def _watch_gpus(self) -> None:
        """Ask the driver now and then; a machine without one has nothing to tell."""
        if shutil.which(_SMI[0]) is None:
            return
        while True:
            for index, used in enumerate(await _used_mib(_SMI)):
                self._gpu.labels(str(index)).set(used * MIB)
            await asyncio.sleep(GPU_EVERY_S)


async def _used_mib(command: Sequence[str]) -> list[int]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(GPU_EVERY_S):
            output, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return []
    return [int(line) for line in output.decode().split() if line.isdigit()]
