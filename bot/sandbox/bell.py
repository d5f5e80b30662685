"""Waiting for something to become true without polling: whoever changes state rings, whoever waits looks again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Bell:
    """A broadcast of "something changed" inside one event loop."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake every waiter."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, look: Callable[[], T | None], timeout_s: float, what: str) -> T:
        """The first result of `look` that is neither None nor False.

        Raises:
            TimeoutError: naming `what` did not happen.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            found = look()
            if found is not None and found is not False:
                return found
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.add(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                raise TimeoutError(f"{what} did not happen within {timeout_s:g} s") from None
            finally:
                self._waiters.discard(waiter)
