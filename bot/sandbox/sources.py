"""Where a scenario's files and values come from: beside it, made on the spot, or from what the bot has shown."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A frozen piece of a scenario; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Render(Part):
    """Files made by the tiny base's procedural world: pictures of one held-out character or style, clips of one motion or for edges."""

    character: str | None = None
    style: str | None = None
    motion: str | None = None
    edges: bool = False
    count: int = Field(default=24, ge=1, le=200)
    seed: int = 0
    media: Literal["png", "mp4"] = "png"


class Generated(Part):
    """Files made for the scenario instead of kept beside it."""

    render: Render


class Posted(Part):
    """A file the bot has posted, as somebody would download and send it: the newest clip, perhaps with one bit turned over.

    `deleted_video` is the newest one that is no longer there: somebody saved it in time.
    """

    posted: Literal["last_video", "deleted_video"]
    flipped: bool = False


class Downloaded(Part):
    """The file somebody has downloaded with a link of the bot's."""

    downloaded: str


class LinkOf(Part):
    """The newest link the bot gave somebody, as an option's value."""

    link_of: str


class Pick(Part):
    """The first choice that is offered when this text is typed, as an option's value."""

    pick: str


Source = str | Generated | Posted | Downloaded
Files = Source | list[Source]
