"""Faults a test or scenario injects into REST calls, and Discord's rate limits when they are switched on."""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal


@dataclass
class Fault:
    """Answer the next `times` matching calls with an error instead of, or after, doing them.

    `route` is `METHOD /path` below `/api/v10`; `{id}` and `*` stand for anything, e.g. `POST /channels/{id}/messages`.
    `when="after"` commits first (the case a nonce exists for). `status=0` cuts the connection instead of answering.
    `via=False` leaves out the `Via` header, which discord.py takes for a Cloudflare ban.
    """

    route: str
    status: int = 500
    when: Literal["before", "after"] = "before"
    times: int = 1
    via: bool = True
    retry_after_s: float = 0.2
    code: int = 0
    message: str = "injected fault"

    def matches(self, method: str, path: str) -> bool:
        """True for a call this fault still waits for."""
        return self.times > 0 and fnmatch(f"{method} {path}", re.sub(r"\{[^}]*\}", "*", self.route))


class RateLimits:
    """Windows as Discord keeps them: one per bucket, one for the whole bot; interaction callbacks are outside."""

    BUCKET = (5, 5.0)
    GLOBAL = (50, 1.0)

    def __init__(self) -> None:
        self._windows: dict[str, deque[float]] = {}

    def wait_s(self, bucket: str) -> tuple[float, bool, int]:
        """(seconds to wait or 0.0 when the call may pass, is it the global limit, calls left in the bucket)."""
        wait = self._take("*global*", *self.GLOBAL)[0]
        if wait:
            return wait, True, 0
        wait, left = self._take(bucket, *self.BUCKET)
        return wait, False, left

    def _take(self, key: str, count: int, window_s: float) -> tuple[float, int]:
        now = time.monotonic()
        calls = self._windows.setdefault(key, deque())
        while calls and now - calls[0] >= window_s:
            calls.popleft()
        if len(calls) >= count:
            return window_s - (now - calls[0]), 0
        calls.append(now)
        return 0.0, count - len(calls)
