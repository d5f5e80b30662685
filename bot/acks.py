"""How fast people get an answer: from the arrival of an interaction to Discord's confirmation of our first response to it."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace

import aiohttp

MAX_OPEN = 1000
_CALLBACK = re.compile(r"/interactions/(\d+)/[^/]+/callback$")


class AckClock:
    """Give `trace()` to the HTTP client and call `arrived` for every interaction; `observe` is told the seconds."""

    def __init__(self) -> None:
        self.observe: Callable[[float], None] = lambda _: None
        self._since: OrderedDict[int, float] = OrderedDict()

    def arrived(self, interaction_id: int) -> None:
        """The gateway brought an interaction; those nobody ever answers are forgotten in time."""
        self._since[interaction_id] = time.monotonic()
        if len(self._since) > MAX_OPEN:
            self._since.popitem(last=False)

    def trace(self) -> aiohttp.TraceConfig:
        """Watches requests."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._ended)
        return config

    async def _ended(self, _: aiohttp.ClientSession, __: SimpleNamespace, request: aiohttp.TraceRequestEndParams) -> None:
        callback = _CALLBACK.search(request.url.path)
        since = self._since.pop(int(callback[1]), None) if callback else None
        if since is not None and request.response.status < 300:
            self.observe(time.monotonic() - since)
