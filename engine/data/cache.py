"""Latents and text features, computed once per content and kept as safetensors files.

A key hashes everything a value depends on: the item's bytes, the base's weights, the bucket and window or the text,
and `CODE_VERSION`. A cache can therefore never be stale; it can only be incomplete.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch

from engine.data.buckets import Bucket
from engine.errors import InvalidMediaError
from engine.model.loader import ResidentBase, TextFeatures

CODE_VERSION: Final = 2
"""Raised whenever decoding, fitting, encoding or the caption's way into features changes."""

_log = logging.getLogger(__name__)


class FeatureCache:
    """Features of one base under `folder`, which is created when something is stored: exactly those that one training reads.

    `shared` is a folder on the same file system that outlives the training and belongs to all of them; its owner may delete files in it
    at any time, those used longest ago first.
    """

    def __init__(self, folder: Path, resident: ResidentBase, shared: Path | None = None) -> None:
        self._folder = folder
        self._resident = resident
        self._shared = shared

    def latents(self, content_sha256: str, bucket: Bucket, start: int, pixels: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Normalised latents [C, f, h, w], fp32, on the CPU, of the window that begins at frame `start`.

        `pixels` yields [3, F, H, W] in -1..1 and is called only when the cache has no answer. One item is encoded at a
        time, so that its latents do not depend on its neighbours.

        Raises:
            InvalidMediaError: what comes out of the encoder is no numbers; nothing is kept.
        """
        place = f"{bucket.width}x{bucket.height}x{bucket.num_frames}@{start}"

        def compute() -> dict[str, torch.Tensor]:
            latents = self._resident.encode_video(pixels().unsqueeze(0))[0].cpu().contiguous()
            if not bool(torch.isfinite(latents).all()):
                raise InvalidMediaError("Its pixels come out of the encoder as no numbers: save it again, or leave it out.")
            return {"latents": latents}

        return self._answer("latents", f"{content_sha256}:{place}", compute)["latents"]

    def text(self, caption: str) -> TextFeatures:
        """Connector outputs of one caption, batch of one, on the base's device."""

        def compute() -> dict[str, torch.Tensor]:
            features = self._resident.encode_text([caption])
            parts = {"video": features.video, "audio": features.audio, "mask": features.mask}
            return {name: tensor.cpu().contiguous() for name, tensor in parts.items()}

        found = self._answer("text", caption, compute)
        return TextFeatures(found["video"], found["audio"], found["mask"]).to(self._resident.device)

    def caption(self, content_sha256: str, kind: str, look: Callable[[], str | None]) -> str | None:
        """What a captioner says of an item; `look` is called only when the cache has no answer."""

        def compute() -> dict[str, torch.Tensor]:
            return {"utf8": torch.frombuffer(bytearray((look() or "").encode() + b"\0"), dtype=torch.uint8)}

        found = self._answer("caption", f"{content_sha256}:{kind}", compute)["utf8"]
        return bytes(found.tolist()).rstrip(b"\0").decode() or None

    def _answer(self, kind: str, subject: str, compute: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        text = f"{CODE_VERSION}:{kind}:{self._resident.fingerprint}:{subject}"
        path = self._folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:40]}.safetensors"
        if path.is_file() or self._borrowed(path):
            try:
                return safetensors.torch.load_file(path)
            except safetensors.SafetensorError:
                _log.warning("cached features %s are damaged and will be computed again", path.name)
        value = compute()
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")  # another process may be at the same one
        safetensors.torch.save_file(value, partial)
        partial.replace(path)
        self._share(path)
        return value

    def _borrowed(self, path: Path) -> bool:
        """Bring what another training computed; False when none did."""
        if self._shared is None:
            return False
        theirs = self._shared / path.name
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            os.utime(theirs)
            path.hardlink_to(theirs)
        except OSError:
            return False
        return True

    def _share(self, path: Path) -> None:
        """Leave a link for other trainings, in place of what may be damaged there."""
        if self._shared is None:
            return
        self._shared.mkdir(parents=True, exist_ok=True)
        link = self._shared / f"{path.name}.{os.getpid()}"
        with contextlib.suppress(OSError):  # a favour to others, and whoever owns the folder may be tidying it
            link.unlink(missing_ok=True)
            link.hardlink_to(path)
            link.replace(self._shared / path.name)
