"""Pictures, clips and zips made on the spot, good ones and hostile ones. Torch-free."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixels(seed: int = 0, width: int = 48, height: int = 64) -> NDArray[np.uint8]:
    """Blocks of random colours, [H, W, 3]: unlike each other by seed, and kind to codecs."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(blocks, np.ones((8, 8, 1), dtype=np.uint8))[:height, :width])


def picture_bytes(format: str = "PNG", seed: int = 0, width: int = 48, height: int = 64, **options: Any) -> bytes:  # noqa: A002  # Pillow's word
    """A picture file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed, width, height)).save(buffer, format=format, **options)
    return buffer.getvalue()


def write_picture(path: Path, seed: int = 0, width: int = 48, height: int = 64) -> Path:
    """A PNG at `path`."""
    path.write_bytes(picture_bytes("PNG", seed, width, height))
    return path


def giant_png_bytes(side: int = 30_000) -> bytes:
    """A valid one-bit PNG of `side` x `side` pixels that decodes to gigabytes and weighs a few hundred kilobytes."""
    row = b"\0" + b"\0" * (-(-side // 8))
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_clip(
    path: Path,
    *,
    num_frames: int = 9,
    width: int = 64,
    height: int = 48,
    fps: int = 8,
    codec: str = "libx264",
    rotation: int = 0,
    seed: int = 0,
    moving: bool = True,
    cut_to: int | None = None,
    sound: bool = False,
    times: Sequence[int] | None = None,
) -> Path:
    """A clip whose frames differ; the container follows the suffix.

    `cut_to` is the seed of a second half; `times` says when each frame is shown, in frames, one apart by default.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(num_frames):
            shot = seed if cut_to is None or index < num_frames // 2 else cut_to
            shown = np.roll(pixels(shot, width, height), index * 8 if moving else 0, axis=1)
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            _add_sound(container, audio)
    return path


def _add_sound(container: Any, stream: Any) -> None:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.float32), format="fltp", layout="mono")
    frame.sample_rate = 16000
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_sound(path: Path) -> Path:
    """An MP4 with sound only."""
    with av.open(str(path), "w", format="mp4") as container:
        _add_sound(container, container.add_stream("aac", rate=16000, layout="mono"))
    return path


def write_zip(path: Path, entries: Mapping[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of `entries` by name, taken literally."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return path


def write_zip_with_mode(path: Path, name: str, data: bytes, mode: int) -> Path:
    """A zip of one entry with Unix mode bits: links, devices, pipes."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, data)
    return path
