"""`engine.data.media`: what is accepted, what is refused and with which code."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.contracts.media import MediaProblem
from engine.data.media import HEAD_BYTES, MediaLimits, RefusedMediaError, inspect_media, iter_frames, load_picture, sniff
from tests.support.media import giant_png_bytes, picture_bytes, pixels, write_clip, write_picture, write_sound


def refusal(path: Path, limits: MediaLimits | None = None) -> MediaProblem:
    with pytest.raises(RefusedMediaError) as caught:
        inspect_media(path, limits or MediaLimits())
    assert str(caught.value) == caught.value.problem.detail
    return caught.value.problem.code


@pytest.mark.parametrize(("format_name", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_inspect_media_accepts_a_picture_when_its_content_is_one_whatever_its_name(
    tmp_path: Path, format_name: str, media_type: str
) -> None:
    """The type comes from the bytes; size is width x height as shown, and a picture has one frame."""
    path = tmp_path / "name.says.nothing"
    path.write_bytes(picture_bytes(format_name))
    facts = inspect_media(path)
    assert (facts.media_type, facts.width, facts.height, facts.num_frames, facts.fps) == (media_type, 48, 64, 1, None)


@pytest.mark.parametrize(
    ("suffix", "codec", "media_type"),
    [(".mp4", "libx264", "video/mp4"), (".mov", "libx264", "video/quicktime"), (".webm", "libvpx-vp9", "video/webm")],
)
def test_inspect_media_counts_every_frame_when_given_a_clip(tmp_path: Path, suffix: str, codec: str, media_type: str) -> None:
    """Frames are decoded and counted, and the rate is the one they are shown at."""
    facts = inspect_media(write_clip(tmp_path / f"clip{suffix}", codec=codec, num_frames=13, fps=8))
    assert (facts.media_type, facts.width, facts.height, facts.num_frames) == (media_type, 64, 48, 13)
    assert facts.fps == pytest.approx(8.0, rel=0.02)


def test_inspect_media_refuses_a_text_file_when_it_is_named_png(tmp_path: Path) -> None:
    """A name makes no picture."""
    path = tmp_path / "hero.png"
    path.write_text("not a picture")
    assert refusal(path) is MediaProblem.NOT_MEDIA


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_inspect_media_refuses_a_picture_when_it_is_cut_off(tmp_path: Path, format_name: str, kept: float) -> None:
    """A truncated download is damaged, however much of it arrived."""
    whole = picture_bytes(format_name, width=128, height=128)
    path = tmp_path / "cut"
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert refusal(path) is MediaProblem.DAMAGED


def test_inspect_media_refuses_a_giant_png_when_its_pixels_are_not_decoded_yet(tmp_path: Path) -> None:
    """30,000 x 30,000 pixels are refused by the header, for no more memory than the file has bytes."""
    path = tmp_path / "giant.png"
    path.write_bytes(giant_png_bytes(30_000))
    assert path.stat().st_size < 2_000_000
    assert refusal(path) is MediaProblem.TOO_MANY_PIXELS


def test_inspect_media_holds_its_pixel_limit_exactly_when_a_picture_is_at_the_border(tmp_path: Path) -> None:
    """The limit itself is allowed, one pixel more is not."""
    path = write_picture(tmp_path / "a.png", width=48, height=64)
    assert inspect_media(path, MediaLimits(max_picture_pixels=48 * 64)).width == 48
    assert refusal(path, MediaLimits(max_picture_pixels=48 * 64 - 1)) is MediaProblem.TOO_MANY_PIXELS


@pytest.mark.parametrize("kept", [0.2, 0.6])
def test_inspect_media_refuses_a_clip_when_it_is_cut_off(tmp_path: Path, kept: float) -> None:
    """A clip without its index or its last frames is damaged."""
    whole = write_clip(tmp_path / "clip.mp4", num_frames=33).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert refusal(path) is MediaProblem.DAMAGED


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (MediaLimits(max_clip_frames=8), MediaProblem.TOO_LONG),
        (MediaLimits(max_clip_seconds=1.0), MediaProblem.TOO_LONG),
        (MediaLimits(max_clip_pixels=64 * 48 * 4), MediaProblem.TOO_LONG),
        (MediaLimits(max_frame_pixels=64 * 48 - 1), MediaProblem.TOO_MANY_PIXELS),
        (MediaLimits(min_side=49), MediaProblem.TOO_SMALL),
        (MediaLimits(max_file_bytes=100), MediaProblem.TOO_LARGE),
    ],
)
def test_inspect_media_refuses_a_clip_when_it_breaks_a_limit(tmp_path: Path, limits: MediaLimits, code: MediaProblem) -> None:
    """Every limit has its own code."""
    assert refusal(write_clip(tmp_path / "clip.mp4"), limits) is code


def test_inspect_media_refuses_when_there_is_nothing_to_see(tmp_path: Path) -> None:
    """An empty file and a sound file are told apart."""
    empty = tmp_path / "empty.png"
    empty.touch()
    assert refusal(empty) is MediaProblem.EMPTY
    assert refusal(write_sound(tmp_path / "sound.mp4")) is MediaProblem.UNSUPPORTED


@pytest.mark.parametrize("format_name", ["GIF", "BMP", "TIFF"])
def test_inspect_media_names_the_type_when_it_knows_but_does_not_read_it(tmp_path: Path, format_name: str) -> None:
    """A known kind that is not accepted is `unsupported`, not `not media`."""
    path = tmp_path / "picture"
    path.write_bytes(picture_bytes(format_name))
    assert refusal(path) is MediaProblem.UNSUPPORTED


def test_load_picture_turns_it_upright_when_a_phone_stored_it_sideways(tmp_path: Path) -> None:
    """EXIF orientation 6 (turn clockwise) is applied, for the size in the facts as for the pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    path.write_bytes(picture_bytes("JPEG", width=48, height=64, exif=exif, quality=95))
    facts = inspect_media(path)
    assert (facts.width, facts.height) == (64, 48)
    turned = np.rot90(pixels(0, 48, 64), k=-1).astype(int)
    assert np.abs(np.asarray(load_picture(path)).astype(int) - turned).mean() < 12


def test_iter_frames_turns_them_upright_when_a_phone_filmed_sideways(tmp_path: Path) -> None:
    """A display matrix is applied: size in the facts and pixels agree with what a player shows."""
    path = write_clip(tmp_path / "phone.mp4", width=64, height=48, rotation=90, num_frames=2)
    facts = inspect_media(path)
    frames = list(iter_frames(path))
    assert (facts.width, facts.height) == (48, 64)
    assert frames[0].shape == (64, 48, 3)
    assert np.abs(frames[0].astype(int) - np.rot90(pixels(0, 64, 48)).astype(int)).mean() < 40


def test_load_picture_puts_white_behind_when_pixels_are_transparent(tmp_path: Path) -> None:
    """Transparency becomes white, not the black that lies under it."""
    path = tmp_path / "cut-out.png"
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(path)
    assert np.asarray(load_picture(path)).min() == 255


def test_load_picture_scales_when_samples_have_sixteen_bits(tmp_path: Path) -> None:
    """Mid grey stays mid grey; Pillow's own conversion would clip it to white."""
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((32, 32), 32896, dtype=np.uint16)).save(path)
    assert np.asarray(load_picture(path)).mean() == pytest.approx(128, abs=1)


def test_load_picture_takes_the_first_frame_when_it_is_animated(tmp_path: Path) -> None:
    """An animated WebP or PNG is a still: its first frame."""
    for name in ("moving.webp", "moving.png"):
        first, second = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
        first.save(tmp_path / name, save_all=True, append_images=[second], duration=100)
        assert inspect_media(tmp_path / name).num_frames == 1
        red, _, blue = np.asarray(load_picture(tmp_path / name)).mean((0, 1))
        assert red > 200
        assert blue < 50


def test_sniff_is_not_fooled_when_a_playlist_asks_for_other_files(tmp_path: Path) -> None:
    """Text formats that make FFmpeg open paths or addresses are no media here."""
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    assert sniff(path.read_bytes()[:HEAD_BYTES]) is None
    assert refusal(path) is MediaProblem.NOT_MEDIA


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "MP4"])
def test_inspect_media_judges_and_never_crashes_when_bytes_are_flipped(tmp_path: Path, kind: str, seed: int) -> None:
    """Property: a damaged file is accepted or refused by code; no other exception gets out."""
    path = tmp_path / "file"
    data = bytearray(write_clip(tmp_path / "c.mp4", num_frames=3).read_bytes() if kind == "MP4" else picture_bytes(kind))
    rng = np.random.default_rng(seed)
    for position in rng.integers(12, len(data), 20):
        data[position] = int(rng.integers(0, 256))
    path.write_bytes(data)
    try:
        width = inspect_media(path).width
    except RefusedMediaError:
        width = 1
    assert width > 0


def test_picture_bytes_decode_to_what_was_drawn() -> None:
    """The test's own pictures are what they claim."""
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture_bytes("PNG", 3)))), pixels(3))
