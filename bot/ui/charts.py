"""Pictures of use: units per day as bars, drawn with Pillow on Discord's own dark ground, readable on a phone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime

import font_roboto
from PIL import Image, ImageDraw, ImageFont

from bot.services.quotas import UsageDay
from bot.ui import format as fmt
from bot.ui.text import admin as words

WIDTH, HEIGHT = 960, 420  # pixels; shown at about half that
GROUND, GRID, INK, FAINT = "#1e1f22", "#35373c", "#dbdee1", "#949ba4"
SPENT, HELD, LIMIT = "#1abc9c", "#f1c40f", "#e74c3c"
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 30, 64, 64
_STEPS = (1, 2, 3, 5, 10)


def usage(days: Sequence[UsageDay], limit: int | None = None) -> bytes:
    """A PNG with one bar per day, today last: spent units below, held ones on top; `limit` is a line across when it is near."""
    image = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    draw = ImageDraw.Draw(image)
    small, large = (ImageFont.truetype(font_roboto.Roboto, size) for size in (22, 24))
    highest = max((day.spent + day.held for day in days), default=0)
    # a limit far above what was used would press every bar flat
    shown_limit = limit if limit and highest * 4 >= limit else None
    top = _round_up(max(highest, shown_limit or 0, 4))

    def y_of(units: float) -> float:
        return HEIGHT - _BOTTOM - units / top * (HEIGHT - _TOP - _BOTTOM)

    for part in range(5):
        units = top * part / 4
        draw.line([(_LEFT, y_of(units)), (WIDTH - _RIGHT, y_of(units))], fill=GRID, width=2)
        draw.text((_LEFT - 14, y_of(units)), _short(units), font=small, fill=FAINT, anchor="rm")
    _legend(draw, large, held=any(day.held for day in days), limit=shown_limit)
    slot = (WIDTH - _LEFT - _RIGHT) / max(1, len(days))
    thick = max(2.0, min(56.0, slot * 0.7))
    every = max(1, -(-len(days) // 10))
    for index, day in enumerate(days):
        middle = _LEFT + slot * (index + 0.5)
        _bar(draw, middle, thick, y_of(0), y_of(day.spent), SPENT)
        _bar(draw, middle, thick, y_of(day.spent), y_of(day.spent + day.held), HELD)
        if (len(days) - 1 - index) % every == 0:
            when = datetime.fromtimestamp(day.day, UTC)
            draw.text((middle, HEIGHT - _BOTTOM + 12), fmt.short_day(when), font=small, fill=FAINT, anchor="mt")
    if shown_limit is not None:
        for left in range(_LEFT, WIDTH - _RIGHT, 24):
            draw.line([(left, y_of(shown_limit)), (left + 12, y_of(shown_limit))], fill=LIMIT, width=3)
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _bar(draw: ImageDraw.ImageDraw, middle: float, thick: float, bottom: float, top: float, colour: str) -> None:
    if bottom - top >= 1:
        draw.rounded_rectangle(
            [middle - thick / 2, top, middle + thick / 2, bottom], radius=min(6, thick / 2, (bottom - top) / 2), fill=colour
        )


def _legend(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, *, held: bool, limit: int | None) -> None:
    entries = [(SPENT, words.SPENT()), *([(HELD, words.HELD())] if held else []), *([(LIMIT, words.limit_mark(limit))] if limit else [])]
    left = float(_LEFT)
    for colour, label in entries:
        draw.rounded_rectangle([left, 24, left + 18, 42], radius=4, fill=colour)
        draw.text((left + 28, 33), label, font=font, fill=INK, anchor="lm")
        left += 28 + draw.textlength(label, font=font) + 36


def _round_up(value: float) -> float:
    """The next number that is four round ones."""
    power = 1.0
    while power * 40 < value:
        power *= 10
    return next(4 * step * power for step in _STEPS if 4 * step * power >= value)


def _short(units: float) -> str:
    for size, mark in ((1_000_000, "M"), (1000, "k")):
        if units >= size:
            return f"{fmt.number(units / size)}{mark}"
    return fmt.number(units)
