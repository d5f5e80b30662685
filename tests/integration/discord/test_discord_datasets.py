"""A data set before it is trained: its picture with the verdicts, its captions page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import media
from bot.media import MediaError
from engine.contracts.controls import ControlKind
from tests.support.discord_rig import Rig, rig
from tests.support.media import write_picture


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Rig]:
    """A client on a loopback Discord."""
    async with rig(tmp_path / "data") as running:
        yield running


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Seven different pictures."""
    return [write_picture(tmp_path / f"{number}.png", seed=number) for number in range(7)]


async def _opened(studio: Rig, images: list[Path], **options: str) -> object:
    given = {f"image{number}": path for number, path in enumerate(images, 1)}
    return await studio.discord.user("maker").command("train", {"name": "zoko", "kind": "character", **given, **options})


async def test_card_shows_the_picture_of_the_set_with_what_it_teaches(studio: Rig, images: list[Path]) -> None:
    """The sheet is attached and shown; the card says what stills cannot teach, before anything is charged."""
    opened = await _opened(studio, images)
    (attached,) = opened.reply.attachments
    assert attached.filename == "dataset.png"
    assert "7 stills teach a look, not a motion." in opened.text
    assert "No captions yet" in opened.text
    assert studio.jobs.rows == {}


async def test_card_comes_without_its_picture_when_that_cannot_be_drawn(
    studio: Rig, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing picture never costs the person the card."""

    async def fails(*_args: object, **_kwargs: object) -> Path:
        raise MediaError("no")

    monkeypatch.setattr(media, "draw_sheet", fails)
    opened = await _opened(studio, images)
    assert opened.reply.attachments == []
    assert "7 stills" in opened.text


async def test_captions_are_read_and_edited_page_by_page(studio: Rig, images: list[Path]) -> None:
    """Five a page in the same message; the form has a field per picture, and what was typed is seen at once."""
    maker = studio.discord.user("maker")
    opened = await _opened(studio, images)
    turned = await maker.press(opened.reply, "captions")
    assert not turned.refused, turned.text
    assert "Captions of zoko · 1 of 2" in opened.reply.text
    await maker.press(opened.reply, "▶")
    assert "2 of 2" in opened.reply.text
    form = await maker.press(opened.reply, "caption")
    submitted = await maker.submit_modal(form, {f"{5:064x}": "a purple robot on a beach", f"{6:064x}": ""})
    assert not submitted.refused
    assert studio.datasets.captions == {f"{5:064x}": "a purple robot on a beach", f"{6:064x}": ""}
    assert "a purple robot on a beach" in opened.reply.text
    await maker.press(opened.reply, "show")
    assert "1 caption" in opened.reply.text or "have no caption" in opened.reply.text


async def test_written_captions_are_shown_before_the_training(studio: Rig, images: list[Path]) -> None:
    """The card says that they come and that they are there; the page marks them, and the form begins with them."""
    maker = studio.discord.user("maker")
    opened = await _opened(studio, images)
    assert "7 captions are being written for you" in opened.text
    await studio.captioning.answer({f"{number:064x}": f"A lake, {number}." for number in range(7)})
    await maker.press(opened.reply, "captions")
    assert "0.png` ✍️\nA lake, 0." in opened.reply.text
    form = await maker.press(opened.reply, "caption")
    assert "A lake, 1." in str(form.modal)
    await maker.submit_modal(form, {f"{0:064x}": "mine"})
    assert "0.png`\nmine" in opened.reply.text
    await maker.press(opened.reply, "show")
    assert "6 captions were written for you" in opened.reply.text
    assert "No captions yet" not in opened.reply.text


async def test_effect_hands_over_what_guides_it(studio: Rig, images: list[Path]) -> None:
    """`control:` reaches the data set as typed."""
    await _opened(studio, images, kind="effect", control="depth")
    assert studio.datasets.draft.control is ControlKind.DEPTH
