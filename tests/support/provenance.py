"""Signed clips for tests: one development chain for the whole run, since making keys is slow."""

from __future__ import annotations

import functools
import struct
import tempfile
from pathlib import Path

import numpy as np

from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.contracts.provenance import AdapterTrace, ClipParameters
from engine.sample.credentials import load_credentials
from engine.sample.provenance import write_signed
from engine.sample.video import RenderedClip

PLENTY = 100_000_000


def credentials_folder(name: str = "own") -> Path:
    """A folder with a development chain; another `name` is another signer."""
    return _folder(name)


@functools.cache
def _folder(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"credentials-{name}-")) / "credentials"
    load_credentials(folder)
    return folder


def parameters(**changes: object) -> ClipParameters:
    """Parameters of a clip with one LoRA."""
    made = ClipParameters(
        made_at="2026-11-23T07:00:00+00:00",
        base="tiny",
        base_revision="tiny-1",
        prompt='zoko “walks” left\non a beach \\ "quoted" 🦊',
        seed=7,
        adapters=(AdapterTrace(name="zoko", kind=LoraKind.CHARACTER, weight=0.9, sha256="ab" * 32),),
        geometry=Geometry(width=32, height=32, num_frames=9, fps=8),
    )
    return made.model_copy(update=changes)


def noisy_clip(num_frames: int = 9, side: int = 32) -> RenderedClip:
    """Frames that compress badly, so that a size limit bites."""
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, side, side, 3), dtype=np.uint8)
    return RenderedClip(frames, 8.0, None, 0, 7, Geometry(width=side, height=side, num_frames=num_frames, fps=8))


def signed_clip(path: Path, signer: str = "own", **changes: object) -> Path:
    """A clip at `path` with a manifest."""
    from_folder = load_credentials(credentials_folder(signer))
    write_signed(noisy_clip(), path, parameters(**changes), from_folder, max_bytes=PLENTY, min_side=128)
    return path


def boxes(data: bytes) -> dict[str, tuple[int, int]]:
    """Top-level boxes of an MP4: name to (offset, size)."""
    found, offset = {}, 0
    while offset < len(data):
        size, name = struct.unpack(">I4s", data[offset : offset + 8])
        found[name.decode()] = (offset, size)
        offset += size
    return found


def flipped(data: bytes, offset: int) -> bytes:
    """`data` with one bit of the byte at `offset` turned over."""
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]
