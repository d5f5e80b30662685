"""Device memory: what is left, and a plain sentence when it is not enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from engine.errors import OutOfMemoryError


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes of one device; all zero on the CPU, whose memory is not ours to count."""

    total: int
    free: int
    peak_allocated: int  # since the process began


def device_memory(device: torch.device) -> DeviceMemory:
    """The memory of `device` right now."""
    if device.type != "cuda":
        return DeviceMemory(0, 0, 0)
    free, total = torch.cuda.mem_get_info(device)
    return DeviceMemory(total, free, torch.cuda.max_memory_allocated(device))


def release_cached() -> None:
    """Give memory that torch holds in reserve back to the device, after something large is gone."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn the device's out-of-memory error into ours, and free what the failed attempt left behind.

    Raises:
        OutOfMemoryError: `what` did not fit.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        release_cached()
        raise OutOfMemoryError(f"{what} does not fit into the device's memory; use a smaller size, batch or rank.") from error
