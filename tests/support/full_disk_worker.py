"""`python -m tests.support.full_disk_worker`: a worker whose scratch disk is full for its first few downloads."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from engine.contracts.model import StoredObject
from engine.store import ObjectStore
from worker import __main__ as worker

FULL_FOR = 3
_left = [FULL_FOR]
_get_file = ObjectStore.get_file


async def _full(self: ObjectStore, obj: StoredObject, path: Path) -> Path:
    if _left[0] > 0:
        _left[0] -= 1
        raise OSError(errno.ENOSPC, "No space left on device", str(path))
    return await _get_file(self, obj, path)


if __name__ == "__main__":
    ObjectStore.get_file = _full  # type: ignore[method-assign]
    sys.exit(worker.main())
