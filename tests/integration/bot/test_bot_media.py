"""Media work in real child processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from bot.media import MediaError, check_uploads, fit_video
from engine.contracts.media import MediaProblem
from tests.support import hostile
from tests.support.provenance import credentials_folder


async def test_check_ends_with_an_error_when_it_takes_too_long(tmp_path: Path) -> None:
    """The person gets an answer, and no child is left behind."""
    file = tmp_path / "a.png"
    file.write_bytes(hostile.picture(1))
    with pytest.raises(MediaError, match=r"longer than 0\.01 s"):
        await check_uploads([(file, "a.png")], tmp_path / "out", side=32, timeout_s=0.01)


async def test_check_tells_files_by_content_when_names_are_hostile(tmp_path: Path) -> None:
    """File names are data: paths, options and line breaks in them reach nothing."""
    names = ["../../a.png", "--out", "a\nb.png", "-"]
    files = []
    for number, name in enumerate(names):
        path = tmp_path / f"upload{number}"
        path.write_bytes(hostile.picture(number))
        files.append((path, name))
    report = await check_uploads(files, tmp_path / "out", side=32, timeout_s=60)
    assert [item.filename for item in report.items] == names
    assert all(item.problem is None for item in report.items)


async def test_check_judges_each_file_when_good_and_bad_come_together(tmp_path: Path) -> None:
    """One verdict per file, in order."""
    good, bad = tmp_path / "a", tmp_path / "b"
    good.write_bytes(hostile.picture(1))
    bad.write_bytes(hostile.text_named_png())
    report = await check_uploads([(bad, "b.png"), (good, "a.png")], tmp_path / "out", side=32, timeout_s=60)
    assert [item.problem.code if item.problem else None for item in report.items] == [MediaProblem.NOT_MEDIA, None]


def _noise_video(path: Path) -> Path:
    """An MP4 that compresses badly."""
    import av

    frames = np.random.default_rng(0).integers(0, 255, (24, 256, 256, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "10"})
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


async def test_clip_gets_small_enough_when_a_channel_takes_less(tmp_path: Path) -> None:
    """A re-encoded copy of at most the limit, still playable."""
    import av

    source = await asyncio.to_thread(_noise_video, tmp_path / "source.mp4")
    limit = source.stat().st_size // 4
    target = await fit_video(source, tmp_path / "fit.mp4", max_bytes=limit, credentials=credentials_folder(), timeout_s=120)
    assert 0 < target.stat().st_size <= limit
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 24


async def test_clip_is_given_up_with_an_error_when_nothing_fits(tmp_path: Path) -> None:
    """The caller then posts a link."""
    source = await asyncio.to_thread(_noise_video, tmp_path / "source.mp4")
    with pytest.raises(MediaError):
        await fit_video(source, tmp_path / "fit.mp4", max_bytes=500, credentials=credentials_folder(), timeout_s=120)
