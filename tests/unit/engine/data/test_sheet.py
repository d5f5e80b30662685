"""The picture of a data set: every item with its verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from engine.contracts.assessment import assess
from engine.contracts.lora import LoraKind
from engine.contracts.sheet import Sheet, Tile, TileState
from engine.data.ingest import Upload, check_uploads
from engine.data.report import draw_report, lesson_of
from engine.data.sheet import MAX_TILES, draw, main
from tests.support.media import write_picture


def test_sheet_shows_every_item_in_the_colour_of_its_verdict(tmp_path: Path) -> None:
    """A good picture is seen above green, a refused file is a red cross."""
    write_picture(tmp_path / "good.png", width=128, height=128)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    report = check_uploads([Upload(tmp_path / name, name) for name in ("good.png", "bad.png")], tmp_path / "out", isolated=False)
    draw_report(report, assess(LoraKind.CHARACTER, report.accepted), "zoko", tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    for colour in ((46, 204, 113), (192, 57, 43)):
        assert (sheet == colour).all(axis=2).sum() > 140 * 5
    thumb = np.asarray(Image.open(report.items[0].thumb or "").convert("RGB")).reshape(-1, 3)
    seen = {tuple(value // 32 for value in pixel) for pixel in sheet.reshape(-1, 3).tolist()}
    assert sum(tuple(value // 32 for value in pixel) in seen for pixel in thumb.tolist()) > len(thumb) * 0.9


def test_sheet_of_many_items_stays_one_picture(tmp_path: Path) -> None:
    """Discord shows one picture; what does not fit is counted, problems come first."""
    tiles = tuple(Tile(label=f"{n}.png", state=TileState.REFUSED if n == 150 else TileState.GOOD) for n in range(200))
    draw(Sheet(heading="many", tiles=tiles), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height < 2600
        assert len(tiles) > MAX_TILES
        assert (192, 57, 43) in {colour for _, colour in sheet.getcolors(1 << 24) or ()}


def test_command_draws_a_sheet_from_json_and_refuses_nonsense(tmp_path: Path) -> None:
    """What the bot runs, in a process of its own."""
    (tmp_path / "sheet.json").write_text(Sheet(heading="x", lines=("a line " * 40,)).model_dump_json())
    assert main([str(tmp_path / "sheet.json"), str(tmp_path / "out.png")]) == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "sheet.json").write_text("{}")
    assert main([str(tmp_path / "sheet.json"), str(tmp_path / "out.png")]) == 2


def test_lesson_says_what_a_set_teaches_and_what_not(tmp_path: Path) -> None:
    """In the words the shell prints."""
    for index in range(4):
        write_picture(tmp_path / f"{index}.png", seed=index)
    report = check_uploads([Upload(tmp_path / f"{n}.png", f"{n}.png") for n in range(4)], tmp_path / "out", isolated=False)
    assert lesson_of(assess(LoraKind.STYLE, report.accepted)) == "4 stills teach a look, not a motion."
