"""Small pieces of text every card shares: safe quotes of what people typed, durations, sizes, bars, times."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date

from babel.dates import format_date

from bot.ui.language import _, current, grouped

_SPECIAL = re.compile(r"[\\*_~|`<>@#\[\]]")
_LINE_START = re.compile(r"^(?:[-+]|\d+\.)")
_URL = re.compile(r"(?<=:)//")
_EMOJI = re.compile(r":(?=[A-Za-z0-9_]+:)")

FULL, EMPTY = "▰", "▱"


def plain(text: str, limit: int = 300) -> str:
    """`text` on one line without control, zero-width and direction characters, cut to `limit` characters with an ellipsis."""
    # categories C*: controls, formats (zero width, bidi overrides), private use, unassigned; joiners inside an emoji go too, harmlessly
    visible = "".join(" " if char.isspace() else char for char in text if char.isspace() or unicodedata.category(char)[0] != "C")
    line = " ".join(visible.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def safe(text: str, limit: int = 300) -> str:
    """What somebody typed, as literal text: no markdown, mention, link or emoji code of theirs has an effect."""
    escaped = _SPECIAL.sub(lambda match: "\\" + match.group(), plain(text, limit))
    escaped = _LINE_START.sub(lambda match: match.group()[:-1] + "\\" + match.group()[-1], escaped)
    return _EMOJI.sub(r"\\:", _URL.sub(r"\\/\\/", escaped))


def code(text: str, limit: int = 100) -> str:
    """`text` in code style; back-ticks cannot be escaped there, so they become apostrophes."""
    return f"`{plain(text, limit).replace('`', chr(39)) or ' '}`"


def number(value: float, digits: int | None = None) -> str:
    """`1,200`, `0.5`, or with so many `digits` behind the point; written as the reader's language does."""
    if digits is not None:
        return grouped(f"{value:.{digits}f}")
    return grouped(f"{value:,}" if isinstance(value, int) else f"{value:g}")


def duration(seconds: float) -> str:
    """A length of time in the coarsest words that still help: `8 s`, `4 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def megabytes(size: int) -> str:
    """A file size in the unit Discord's own limits use (MiB, called MB there)."""
    mebi = size / 2**20
    if mebi >= 1000:
        return f"{number(mebi / 1024, 0 if mebi >= 10_240 else 1)} GB"
    return f"{number(mebi, 0 if mebi >= 10 else 1)} MB" if mebi >= 0.1 else f"{max(1, round(size / 1024))} kB"


def bar(part: float, total: float, width: int = 12) -> str:
    """A bar of `width` cells; it is full only when everything is done."""
    if total <= 0:
        return EMPTY * width
    cells = int(max(0.0, min(1.0, part / total)) * width)
    return FULL * cells + EMPTY * (width - cells)


def relative(at: float) -> str:
    """`in 4 minutes`, counted down by Discord itself in the reader's language."""
    return f"<t:{math.ceil(at)}:R>"


def clock(at: float) -> str:
    """The time of day `at`, in the reader's own time zone."""
    return f"<t:{math.ceil(at)}:t>"


def weight(value: float) -> str:
    """A LoRA weight without needless zeros, as it is typed in every language: `0.9`, `1`."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def day(at: float) -> str:
    """The date of `at`, in the reader's own time zone and language."""
    return f"<t:{int(at)}:D>"


def moment(at: float) -> str:
    """Date and time of `at`, in the reader's own time zone and language."""
    return f"<t:{int(at)}:f>"


def short_day(day: date) -> str:
    """`3 Mar`, for the axis of a chart."""
    written: str = format_date(day, _("d MMM"), locale=current())
    return written
