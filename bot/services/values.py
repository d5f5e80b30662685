"""Values that several services share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Actor:
    """Who asks. `is_admin`: may manage the server; `guild_id` is None in a direct message."""

    user_id: int
    guild_id: int | None
    display_name: str
    role_ids: tuple[int, ...] = ()
    is_admin: bool = False
    adult_place: bool = False  # the channel is marked for adults


@dataclass(frozen=True)
class JobPlace:
    """Where the answer goes. `channel_id` may be a thread or a direct message."""

    guild_id: int | None
    channel_id: int
    max_bytes: int  # file limit of a post there


@dataclass(frozen=True)
class IncomingFile:
    """An upload on local disk; `filename` is what the person called it and is never used as a path."""

    filename: str
    path: Path
    size: int  # bytes
