"""The contact sheet of a data set: `python -m engine.data.sheet SHEET.json OUT.png`. Torch-free.

Every item is a tile with its verdict: a green bar when it is good, amber with a word when something is weak about it, red when it is not
used. The words come from whoever asks for the sheet.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import font_roboto
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from engine.contracts.sheet import Sheet, Tile, TileState

MAX_TILES: Final = 60
_COLUMNS: Final = 6
_TILE: Final = 140  # pixels
_BAR, _GAP, _LABEL, _MARGIN = 6, 12, 38, 24
_LINE: Final = 22
_PAPER, _INK, _FAINT = (24, 26, 31), (236, 238, 242), (150, 156, 168)
_WIDTH: Final = 2 * _MARGIN + _COLUMNS * (_TILE + _GAP) - _GAP


_COLOURS: Final = {TileState.GOOD: (46, 204, 113), TileState.NOTED: (241, 196, 15), TileState.REFUSED: (192, 57, 43)}


def draw(sheet: Sheet, path: Path) -> None:
    """Write `sheet` as PNG; problems come first, so that they are seen also when not all tiles fit."""
    order = {TileState.REFUSED: 0, TileState.NOTED: 1, TileState.GOOD: 2}
    tiles = sorted(sheet.tiles, key=lambda tile: order[tile.state])
    shown, left = tiles[:MAX_TILES], max(0, len(tiles) - MAX_TILES)
    text, small, title = (ImageFont.truetype(font_roboto.Roboto, size) for size in (15, 13, 24))
    lines = [part for line in sheet.lines for part in _wrapped(line, text, _WIDTH - 2 * _MARGIN)]
    rows = -(-len(shown) // _COLUMNS)
    top = _MARGIN + 40 + len(lines) * _LINE + _GAP
    height = top + rows * (_TILE + _BAR + _LABEL + _GAP) + (_LINE if left else 0) + _MARGIN - _GAP
    picture = Image.new("RGB", (_WIDTH, height), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_MARGIN, _MARGIN - 4), sheet.heading, _INK, title)
    for index, line in enumerate(lines):
        pen.text((_MARGIN, _MARGIN + 40 + index * _LINE), line, _FAINT, text)
    for index, tile in enumerate(shown):
        place = _MARGIN + index % _COLUMNS * (_TILE + _GAP), top + index // _COLUMNS * (_TILE + _BAR + _LABEL + _GAP)
        _draw_tile(picture, pen, tile, place, small)
    if left:
        pen.text((_MARGIN, height - _MARGIN - _LINE), sheet.more.format(count=left), _FAINT, text)
    picture.save(path, "PNG", optimize=True)


def _draw_tile(
    picture: Image.Image, pen: ImageDraw.ImageDraw, tile: Tile, place: tuple[int, int], font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> None:
    left, top = place
    colour = _COLOURS[tile.state]
    pen.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), fill=(44, 47, 54))
    thumb = _opened(tile.thumb)
    if thumb is not None:
        scale = _TILE / max(thumb.size)
        size = max(1, round(thumb.width * scale)), max(1, round(thumb.height * scale))
        shown = thumb.resize(size, Image.Resampling.LANCZOS)
        picture.paste(shown, (left + (_TILE - size[0]) // 2, top + (_TILE - size[1]) // 2))
    else:
        third = _TILE // 3
        for start, end in (
            ((left + third, top + third), (left + 2 * third, top + 2 * third)),
            ((left + 2 * third, top + third), (left + third, top + 2 * third)),
        ):
            pen.line((*start, *end), fill=colour, width=6)
    pen.rectangle((left, top + _TILE, left + _TILE - 1, top + _TILE + _BAR - 1), fill=colour)
    pen.text((left, top + _TILE + _BAR + 3), _cut(tile.label, font, _TILE), _INK, font)
    pen.text((left, top + _TILE + _BAR + 19), _cut(tile.words, font, _TILE), colour if tile.state is not TileState.GOOD else _FAINT, font)


def _opened(path: str | None) -> Image.Image | None:
    """A thumbnail that the check wrote; None when it is gone."""
    if path is None or not Path(path).is_file():
        return None
    with Image.open(path, formats=["JPEG", "PNG"]) as image:
        return image.convert("RGB")


def _cut(words: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """`words` cut to `width` pixels."""
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(f"{words}…") > width:
        words = words[:-1]
    return f"{words}…"


def _wrapped(line: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> list[str]:
    """`line` in pieces of at most `width` pixels, broken at spaces."""
    pieces, current = [], ""
    for word in line.split():
        longer = f"{current} {word}".strip()
        if current and font.getlength(longer) > width:
            pieces.append(current)
            current = word
        else:
            current = longer
    return [*pieces, current]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the picture was written, 2 for a wrong call."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) != 2:
        sys.stderr.write("Give a sheet as JSON and a file to write: python -m engine.data.sheet SHEET.json OUT.png\n")
        return 2
    try:
        draw(Sheet.model_validate_json(Path(given[0]).read_bytes()), Path(given[1]))
    except (ValidationError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _run() -> NoReturn:
    raise SystemExit(main())


if __name__ == "__main__":
    _run()
