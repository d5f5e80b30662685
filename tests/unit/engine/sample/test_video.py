"""`engine.sample.video`: files that play everywhere and fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from engine.contracts.geometry import Geometry
from engine.data.media import inspect_media, iter_frames
from engine.errors import InvalidMediaError, ResultTooLargeError
from engine.sample.video import RenderedClip, contact_sheet, fit, poster, upscale_factor, write_mp4
from tests.support.media import pixels, write_clip

RATE = 16_000
PLENTY = 100_000_000


def clip(num_frames: int = 9, width: int = 32, height: int = 32, *, noise: bool = False, audio: Any = None) -> RenderedClip:
    if noise:
        frames = np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    else:
        frames = np.stack([np.roll(pixels(0, width, height), index * 8, axis=1) for index in range(num_frames)])
    return RenderedClip(frames, 8.0, audio, RATE, 7, Geometry(width=width, height=height, num_frames=num_frames, fps=8))


def tone(channels: int = 2, seconds: float = 5.0) -> Any:
    wave = np.sin(np.arange(int(RATE * seconds)) / RATE * 440 * 2 * np.pi).astype(np.float32) * 0.5
    return np.stack([wave] * channels)


def streams(path: Path) -> dict[str, Any]:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        return {
            "codec": video.codec_context.name,
            "format": video.codec_context.pix_fmt,
            "rate": float(video.average_rate or 0),
            "audio": [stream.codec_context.name for stream in container.streams.audio],
            "comment": container.metadata.get("comment"),
            "seconds": (container.duration or 0) / 1_000_000,
        }


def test_write_mp4_makes_a_file_discord_plays_when_the_clip_is_silent(tmp_path: Path) -> None:
    """H.264, yuv420p, index before the data, no sound track for silence, marked as generated."""
    path = tmp_path / "clip.mp4"
    written = write_mp4(clip(audio=np.zeros((2, RATE), dtype=np.float32)), path, max_bytes=PLENTY, min_side=256)
    data = path.read_bytes()
    assert (written.width, written.height, written.size) == (256, 256, len(data))
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    found = streams(path)
    assert (found["codec"], found["format"], found["rate"], found["audio"]) == ("h264", "yuv420p", 8.0, [])
    assert "AI-generated" in found["comment"]
    assert inspect_media(path).num_frames == 9
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]


def test_write_mp4_keeps_the_pixels_when_it_enlarges_them(tmp_path: Path) -> None:
    """Whole factors, nearest neighbour, right colours: each block of 8 x 8 decodes to its pixel."""
    shown = clip()
    write_mp4(shown, tmp_path / "clip.mp4", max_bytes=PLENTY, min_side=256)
    for frame, wanted in zip(iter_frames(tmp_path / "clip.mp4"), shown.frames, strict=True):
        centres = frame[4::8, 4::8].astype(int)
        assert np.abs(centres - wanted).mean() < 12


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_write_mp4_adds_sound_when_there_is_any(tmp_path: Path, channels: int) -> None:
    """AAC, at most stereo, no longer than the pictures."""
    write_mp4(clip(audio=tone(channels)), tmp_path / "clip.mp4", max_bytes=PLENTY, min_side=0)
    found = streams(tmp_path / "clip.mp4")
    assert found["audio"] == ["aac"]
    assert found["seconds"] == pytest.approx(9 / 8, abs=0.15)


@pytest.mark.parametrize("max_bytes", [60_000, 25_000, 9_000])
def test_write_mp4_fits_the_limit_when_the_clip_is_heavy(tmp_path: Path, max_bytes: int) -> None:
    """Quality goes first, size after; noise is the worst that can be asked for."""
    path = tmp_path / "clip.mp4"
    written = write_mp4(clip(9, 256, 256, noise=True), path, max_bytes=max_bytes, min_side=256)
    assert path.stat().st_size == written.size <= max_bytes
    assert inspect_media(path).num_frames == 9


def test_write_mp4_raises_and_leaves_nothing_when_no_encoding_fits(tmp_path: Path) -> None:
    """Too small a limit is said, not ignored, and an older file of that name survives."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"older")
    with pytest.raises(ResultTooLargeError):
        write_mp4(clip(), path, max_bytes=300, min_side=256)
    assert path.read_bytes() == b"older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(("width", "height"), [(33, 47), (9, 8), (64, 48)])
def test_write_mp4_takes_any_size_when_sides_are_odd(tmp_path: Path, width: int, height: int) -> None:
    """yuv420p needs even sides; a pixel is cut, never a failure."""
    written = write_mp4(clip(2, width, height), tmp_path / "clip.mp4", max_bytes=PLENTY, min_side=2)
    assert written.width % 2 == written.height % 2 == 0
    assert abs(written.width - width) <= 1
    assert abs(written.height - height) <= 1


def test_write_mp4_refuses_when_there_are_no_frames(tmp_path: Path) -> None:
    """An empty clip is a mistake upstream."""
    empty = replace(clip(), frames=np.zeros((0, 32, 32, 3), dtype=np.uint8))
    with pytest.raises(InvalidMediaError):
        write_mp4(empty, tmp_path / "clip.mp4", max_bytes=PLENTY, min_side=0)


@pytest.mark.parametrize(
    ("size", "min_side", "factor"),
    [((32, 32), 256, 8), ((32, 48), 256, 8), ((30, 30), 256, 9), ((300, 200), 256, 2), ((300, 300), 256, 1), ((32, 32), 0, 1)],
)
def test_upscale_factor_is_the_smallest_whole_one_when_a_side_is_asked_for(size: tuple[int, int], min_side: int, factor: int) -> None:
    """Never below 1, never more than needed."""
    assert upscale_factor(*size, min_side) == factor


def test_fit_keeps_length_and_sound_when_it_makes_a_clip_smaller(tmp_path: Path) -> None:
    """The re-encoded file is below the limit, with all frames and its sound."""
    source = tmp_path / "in.mp4"
    write_mp4(clip(9, 256, 256, noise=True, audio=tone()), source, max_bytes=PLENTY, min_side=0)
    written = fit(source, tmp_path / "out.mp4", max_bytes=80_000)
    assert written.size <= 80_000 < source.stat().st_size
    found = inspect_media(tmp_path / "out.mp4")
    assert (found.num_frames, found.fps) == (9, pytest.approx(8.0, rel=0.02))
    assert streams(tmp_path / "out.mp4")["audio"] == ["aac"]


def test_fit_copies_byte_for_byte_when_the_clip_fits_already(tmp_path: Path) -> None:
    """No second generation of loss for nothing."""
    source = write_clip(tmp_path / "in.mp4")
    fit(source, tmp_path / "out.mp4", max_bytes=PLENTY)
    assert (tmp_path / "out.mp4").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(("num_frames", "tiles"), [(1, (1, 1)), (2, (2, 1)), (9, (3, 3)), (100, (3, 3))])
def test_contact_sheet_shows_first_to_last_when_a_clip_is_short_or_long(tmp_path: Path, num_frames: int, tiles: tuple[int, int]) -> None:
    """At most nine tiles in a grid, the first frame first and the last one last."""
    frames = np.zeros((num_frames, 32, 32, 3), dtype=np.uint8)
    frames[0], frames[-1] = (255, 0, 0), (0, 255, 0) if num_frames > 1 else (255, 0, 0)
    contact_sheet(frames, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    columns, rows = tiles
    assert sheet.shape == (rows * 132 - 4, columns * 132 - 4, 3)
    assert tuple(sheet[0, 0]) == (255, 0, 0)
    assert tuple(sheet[-1, -1]) == ((0, 255, 0) if num_frames > 1 else (255, 0, 0))


def test_poster_is_the_middle_frame_when_written(tmp_path: Path) -> None:
    """Without loss, enlarged by a whole factor on request."""
    frames = np.stack([np.full((32, 32, 3), index * 20, dtype=np.uint8) for index in range(9)])
    poster(frames, tmp_path / "poster.png", min_side=64)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "poster.png")), np.full((64, 64, 3), 80))
