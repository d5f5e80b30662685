"""Videos that clips are made from: which are taken, which frames are seen, what becomes of another shape."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from engine.contracts.generation import Fit
from engine.data.media import iter_frames
from engine.data.videos import check_clip, fit_picture, psnr, read_clip
from engine.errors import InvalidMediaError, NoVideoError, VariableRateError, VideoTooLongError, VideoTooShortError
from tests.support.media import pixels, write_clip, write_picture, write_sound


def write_uneven(path: Path, times: list[int]) -> Path:
    """A clip whose frames are shown at `times`, in eighths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(8))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 8)
        for time in times:
            frame = av.VideoFrame.from_ndarray(pixels(time, 64, 48), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm"])
def test_check_clip_tells_length_and_rate_when_the_clip_is_good(tmp_path: Path, suffix: str) -> None:
    """From the times of the frames, whatever the container claims."""
    codec = "libvpx" if suffix == "webm" else "libx264"
    facts = check_clip(write_clip(tmp_path / f"a.{suffix}", num_frames=12, fps=6, codec=codec))
    assert facts.num_frames == 12
    assert facts.fps == pytest.approx(6.0, rel=0.02)
    assert facts.seconds == pytest.approx(2.0, rel=0.02)


def test_check_clip_refuses_each_kind_of_bad_video_by_its_own_error(tmp_path: Path) -> None:
    """Sound, a picture, one frame, too long, uneven times, cut off: each has its code, so each has its sentence."""
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(write_clip(tmp_path / "whole.mp4", num_frames=30).read_bytes()[:900])
    for path, error in (
        (write_sound(tmp_path / "sound.mp4"), NoVideoError),
        (write_picture(tmp_path / "picture.png"), NoVideoError),
        (write_clip(tmp_path / "one.mp4", num_frames=1), VideoTooShortError),
        (write_clip(tmp_path / "long.mp4", num_frames=30, fps=8), VideoTooLongError),
        (write_uneven(tmp_path / "uneven.mp4", [0, 1, 2, 5, 6, 11, 12, 13]), VariableRateError),
        (cut, InvalidMediaError),
    ):
        with pytest.raises(error):
            check_clip(path, max_seconds=2.0)


def test_check_clip_takes_an_even_clip_that_lost_a_frame_in_a_hundred(tmp_path: Path) -> None:
    """Phones drop one now and then; that is no variable rate."""
    times = [time for time in range(120) if time != 60]
    assert check_clip(write_uneven(tmp_path / "phone.mp4", times)).num_frames == 119


def test_read_clip_gives_the_frames_that_are_shown_at_each_time(tmp_path: Path) -> None:
    """At half the rate every second frame; with more asked for than there are, the last one stays."""
    path = write_clip(tmp_path / "a.mp4", num_frames=8, fps=8)
    all_of_it = list(iter_frames(path))
    half = read_clip(path, 64, 48, fps=4)
    assert [psnr(frame, all_of_it[2 * index]) for index, frame in enumerate(half)] == [100.0] * 4
    held = read_clip(path, 64, 48, fps=8, num_frames=11)
    assert held.shape == (11, 48, 64, 3)
    assert np.array_equal(held[7], held[10])
    assert read_clip(path, 64, 48, fps=8, num_frames=3).shape[0] == 3


def test_read_clip_brings_enlarged_pixels_back_to_their_size(tmp_path: Path) -> None:
    """A posted tiny clip is eight times its real size; extending it must not blur it."""
    path = write_clip(tmp_path / "a.mp4", num_frames=3, width=256, height=256)
    small = read_clip(path, 32, 32, fps=8)
    wanted = [frame.reshape(32, 8, 32, 8, 3).mean((1, 3)) for frame in iter_frames(path)]
    assert min(psnr(frame, want.round().astype(np.uint8)) for frame, want in zip(small, wanted, strict=True)) > 45


@pytest.mark.parametrize(("width", "height"), [(300, 20), (20, 300), (64, 48), (32, 32)])
@pytest.mark.parametrize("fit", Fit)
def test_fit_picture_has_the_clips_size_whatever_the_shape(width: int, height: int, fit: Fit) -> None:
    """Cropped, the frame is full of picture; letterboxed, all of it is there and the rest is black."""
    picture = Image.new("RGB", (width, height), (200, 100, 50))
    fitted = fit_picture(picture, 32, 32, fit)
    assert fitted.shape == (32, 32, 3)
    share = float((fitted.max(axis=2) > 0).mean())
    whole = min(width, height) / max(width, height) if fit is Fit.LETTERBOX else 1.0
    assert share == pytest.approx(max(whole, 1 / 32), abs=0.05)


def test_psnr_is_what_the_formula_says() -> None:
    """10 log10(255^2 / MSE), 100 dB where nothing differs."""
    black = np.zeros((4, 4, 3), dtype=np.uint8)
    assert psnr(black, black) == 100.0
    assert psnr(black, black + 255) == pytest.approx(0.0)
    assert psnr(black, black + 10) == pytest.approx(28.13, abs=0.01)
