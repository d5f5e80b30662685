"""The picture of a data set as a value: who asks for it brings the words, `engine.data.sheet` draws."""

from __future__ import annotations

from enum import StrEnum

from engine.contracts.model import Contract


class TileState(StrEnum):
    """The verdict on one item."""

    GOOD = "good"
    NOTED = "noted"
    REFUSED = "refused"


class Tile(Contract):
    """One item; `thumb` is the path of a small picture of it, None when it cannot be shown."""

    label: str
    state: TileState
    words: str = ""
    thumb: str | None = None


class Sheet(Contract):
    """Everything on the picture."""

    heading: str
    lines: tuple[str, ...] = ()
    tiles: tuple[Tile, ...] = ()
    more: str = "and {count} more"  # when there are more tiles than fit
