"""The outbox: what has to appear in Discord exactly once. Rows are written with the event that causes them; `bot/outbox.py` drains."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.services.jobs import JobView


class PostKind(StrEnum):
    """What the new message says."""

    RESULT = "result"  # a clip, or a trained LoRA with its preview
    FAILED = "failed"  # the job ended without a result, units were given back


@dataclass(frozen=True)
class Post:
    """One message that must exist. `view.record` says where, for whom and with which result."""

    post_id: int
    kind: PostKind
    nonce: str  # at most 25 characters, the same at every try
    view: JobView
    tries: int
    first_try_at: float | None  # None: never tried, so it cannot be in the channel yet


class Posts:
    """The drain's view of the outbox."""

    async def due(self, *, limit: int = 10) -> list[Post]:
        """Posts whose time has come, oldest first."""
        raise NotImplementedError

    async def wait(self, timeout_s: float) -> None:
        """Return when a post was written since the last call, or after `timeout_s`."""
        raise NotImplementedError

    async def begin(self, post_id: int) -> None:
        """About to send: count the try and remember when the first one was."""
        raise NotImplementedError

    async def sent(self, post_id: int, *, channel_id: int, message_id: int) -> None:
        """The message exists; the job remembers it."""
        raise NotImplementedError

    async def later(self, post_id: int, *, delay_s: float, error: str) -> None:
        """Try again after `delay_s`."""
        raise NotImplementedError

    async def undeliverable(self, post_id: int, *, error: str) -> None:
        """Nowhere to post it; the result stays in `/jobs`."""
        raise NotImplementedError
