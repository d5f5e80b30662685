"""A worker whose scratch folder is a small file system of its own, so that its disk can be filled for real.

Needs user namespaces (Linux, util-linux' `unshare`); the file system is seen by that worker and its children only.
"""

from __future__ import annotations

import errno
import functools
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_ALONE = ("unshare", "--user", "--map-root-user", "--mount")
_MOUNT = 'mount -t tmpfs -o size="$1" scratch "$2" && shift 2 && exec "$@"'
_BLOCK = bytes(4096)


def _mounted(folder: Path, size: str, *command: str) -> tuple[str, ...]:
    return (*_ALONE, "sh", "-c", _MOUNT, "sh", size, str(folder), *command)


@functools.cache
def possible() -> bool:
    """True when this machine lets us mount a file system of our own."""
    if shutil.which(_ALONE[0]) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(_mounted(Path(folder), "64k", "true"), capture_output=True, check=False).returncode == 0


def worker_command(scratch: Path, size: str = "8m") -> tuple[str, ...]:
    """`python -m worker` with such a file system at `scratch`; the process keeps its id."""
    scratch.mkdir(parents=True, exist_ok=True)
    return _mounted(scratch, size, sys.executable, "-m", "worker")


@dataclass(frozen=True)
class SmallDisk:
    """The file system of a running worker, reached through its process."""

    pid: int
    scratch: Path

    @property
    def _ballast(self) -> Path:
        return Path(f"/proc/{self.pid}/root{self.scratch}/ballast")

    def folder(self, name: str) -> list[Path]:
        """What lies in a folder of it."""
        return list((self._ballast.parent / name).iterdir())

    @property
    def there(self) -> bool:
        """True once the worker's process has it; until then the path leads to the disk of everybody."""
        mounts = Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()
        return any(line.split()[4] == str(self.scratch) and " tmpfs " in line for line in mounts)

    def fill(self) -> int:
        """Leave no room at all; the bytes it took."""
        assert self.there
        written = 0
        with self._ballast.open("wb", buffering=0) as file:
            while True:
                try:
                    written += file.write(_BLOCK)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    return written

    def free(self) -> None:
        """Room again."""
        self._ballast.unlink()
