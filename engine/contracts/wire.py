"""Redis keys, queue names and the codec: the only file that spells them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.contracts.status import SHARED, Lane

CONTRACT_VERSION = 2
"""What this code speaks; see `engine/contracts/versions.py`. Version 2 brought pools of workers and fields beyond version 1's."""
TASK = "run_job"
"""The one arq function; its single argument is the job as a JSON object."""

MAX_MESSAGE_BYTES = 8 * 2**20
"""A job carries keys and captions, never files. The largest is a training of `media.MAX_DATASET_ITEMS` items with captions and guides."""

JOB_EXPIRES_S = 30 * 24 * 3600
PROGRESS_EXPIRES_S = 3600
CANCEL_EXPIRES_S = 7 * 24 * 3600
EVENTS_MAXLEN = 100_000


class MessageTooLargeError(ValueError):
    """An arq message above `MAX_MESSAGE_BYTES`."""


@dataclass(frozen=True)
class Keys:
    """Every Redis key of one installation, under one prefix."""

    prefix: str = "callsheet"

    def queue(self, base: str, lane: Lane, pool: str = SHARED, version: int = 1) -> str:
        """arq queue (a zset) of one lane of one base: jobs for one pool of workers that need one contract version."""
        name = f"{self.prefix}:queue:{base}:{lane}"
        if pool != SHARED:
            name += f":{pool}"
        return name if version == 1 else f"{name}:v{version}"

    @property
    def queue_prefix(self) -> str:
        """What the name of every queue begins with."""
        return f"{self.prefix}:queue:"

    def queues(self, base: str, lane: Lane, pools: Sequence[str], version: int = CONTRACT_VERSION) -> list[str]:
        """What a worker looks at, in order of preference: its pools as given, jobs for newer workers first."""
        return [self.queue(base, lane, pool, number) for pool in pools for number in range(version, 0, -1)]

    @property
    def events(self) -> str:
        """Stream of milestones, workers to bot."""
        return f"{self.prefix}:events"

    @property
    def workers(self) -> str:
        """Hash of live workers: worker id -> `WorkerStatus` JSON; stale fields are ignored by `worker_alive`."""
        return f"{self.prefix}:workers"

    @property
    def forgotten(self) -> str:
        """When somebody was last forgotten, as the bot says it; workers drop what they keep for reuse whenever this changes."""
        return f"{self.prefix}:forgotten"

    def worker_alive(self, worker_id: str) -> str:
        """Heartbeat with a short expiry; a worker without it is gone."""
        return f"{self.prefix}:worker-alive:{worker_id}"

    def progress(self, job_id: str) -> str:
        """Latest `Progress` JSON of a running job."""
        return f"{self.prefix}:progress:{job_id}"

    def cancel(self, job_id: str) -> str:
        """Present when somebody asked to cancel the job."""
        return f"{self.prefix}:cancel:{job_id}"

    def tries(self, job_id: str) -> str:
        """Hash kept by workers: last `attempt`, its lease `token`, whether it is still `open`, and `crashed`, the tries used up."""
        return f"{self.prefix}:tries:{job_id}"


def dumps(value: Any) -> bytes:
    """arq's `job_serializer`: JSON; an exception becomes a tagged string, so that a failure can be stored at all."""
    data = json.dumps(value, separators=(",", ":"), default=_encode_exception, ensure_ascii=False).encode()
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageTooLargeError(f"message has {len(data)} bytes, limit is {MAX_MESSAGE_BYTES}")
    return data


def loads(data: bytes) -> Any:
    """arq's `job_deserializer`: the inverse of `dumps`; tagged exceptions come back as `RemoteError`."""
    return json.loads(data, object_hook=_decode_exception)


class RemoteError(Exception):
    """An exception of the other process: class name and message, never its type."""


_TAG = "__exception__"


def _encode_exception(value: object) -> object:
    if isinstance(value, BaseException):
        return {_TAG: type(value).__name__, "message": str(value)[:1000]}
    raise TypeError(f"{type(value).__name__} has no place in a message")


def _decode_exception(value: dict[str, Any]) -> object:
    return RemoteError(f"{value[_TAG]}: {value.get('message', '')}") if _TAG in value else value
