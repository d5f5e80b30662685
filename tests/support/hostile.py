"""Files that people (or worse) upload, made on the spot: none of them may do harm."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

from PIL import Image


def picture(number: int = 0, size: int = 64, image_format: str = "PNG") -> bytes:
    """An ordinary picture; every `number` looks different."""
    image = Image.new("RGB", (size, size), (37 * number % 256, 91 * number % 256, 200))
    for offset in range(0, size, 8):
        image.paste((255, 40 + 13 * number % 200, offset * 3 % 256), (offset, (offset + 5 * number) % size, offset + 6, size))
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def text_named_png() -> bytes:
    """A text file somebody renamed."""
    return b"This is not a picture.\n" * 20


def truncated_jpeg() -> bytes:
    """The first half of a JPEG."""
    data = picture(3, 256, "JPEG")
    return data[: len(data) // 2]


def enormous_png(side: int = 30_000) -> bytes:
    """A valid PNG of a few hundred kilobytes that decodes to gigabytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    packed = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def archive(entries: dict[str, bytes]) -> bytes:
    """A zip with exactly these entries, whatever their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)
    return buffer.getvalue()


def write_all(folder: Path) -> None:
    """Every hostile file, and enough ordinary ones beside them, under the names the stories use."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "text.png": text_named_png(),
        "truncated.jpg": truncated_jpeg(),
        "enormous.png": enormous_png(),
        "climbing.zip": archive({"../../evil.png": picture(1), **{f"{n}.png": picture(n) for n in range(6)}}),
        "bomb.zip": archive({"bomb.png": bytes(400 * 1024 * 1024)}),
        "nested.zip": archive({"inner.zip": archive({"a.png": picture(1)})}),
        "good.zip": archive({f"{n}.png": picture(n) for n in range(24)}),
        **{f"good{n}.png": picture(n) for n in range(24)},
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
