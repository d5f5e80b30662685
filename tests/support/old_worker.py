"""`python -m tests.support.old_worker`: today's worker with the eyes and ears of contract version 1.

It reads no key that version 1 did not know, looks at the queues of version 1 only, and announces itself as version 1 did.
"""

from __future__ import annotations

import sys
from typing import Any

from engine.contracts import versions, wire
from engine.contracts.jobs import JOB_ADAPTER, GenerateVideo, TrainLora
from engine.contracts.model import Contract
from engine.contracts.status import Lane, WorkerStatus
from worker import __main__ as worker
from worker import health, tasks


class _FirstJobs:
    """`WORK_ADAPTER` as version 1 had it: unknown keys are refused."""

    def validate_python(self, payload: dict[str, Any]) -> TrainLora | GenerateVideo:
        if not versions.understands(payload, 1):
            Contract.model_validate({"unheard_of": payload})  # raises what pydantic raised then
        return JOB_ADAPTER.validate_python(payload)


class _FirstStatus(WorkerStatus):
    def model_dump_json(self, **_: Any) -> str:
        return super().model_dump_json(exclude={"serves", "memory_bytes"})


def _first_queues(self: wire.Keys, base: str, lane: Lane, *_: object) -> list[str]:
    return [self.queue(base, lane)]


if __name__ == "__main__":
    tasks.WORK_ADAPTER = _FirstJobs()  # type: ignore[assignment]
    health.WorkerStatus = _FirstStatus  # type: ignore[misc]
    wire.Keys.queues = _first_queues  # type: ignore[assignment,method-assign]
    wire.CONTRACT_VERSION = 1
    sys.exit(worker.main())
