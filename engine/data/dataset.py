"""The training set in memory: items become samples of cached features, samples become batches in a reproducible order.

A batch never touches raw pictures. Everything about the order lives in `BatchOrder` and can be saved and restored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.geometry import GeometryRule
from engine.contracts.lora import LoraKind
from engine.data.buckets import Bucket, choose, fit, resampled_indices, window_starts
from engine.data.cache import FeatureCache
from engine.data.captions import class_caption, item_caption
from engine.data.media import inspect_media, iter_frames, load_picture
from engine.errors import InvalidMediaError
from engine.model.loader import TextFeatures, to_pixels


@dataclass(frozen=True)
class LocalItem:
    """One picture or clip of a training set, on this machine."""

    path: Path
    media_type: str
    filename: str  # as uploaded, for captions and messages
    caption: str | None = None


@dataclass(frozen=True)
class Sample:
    """One window of one item, as the transformer sees it."""

    latents: torch.Tensor  # [C, f, h, w], normalised, fp32
    bucket: Bucket
    caption: str
    class_caption: str | None  # the caption as if the trigger had never been; None without a trigger


@dataclass(frozen=True)
class Batch:
    """Samples of one bucket."""

    latents: torch.Tensor  # [B, C, f, h, w]
    bucket: Bucket
    captions: tuple[str, ...]
    class_captions: tuple[str, ...] | None


@dataclass(frozen=True)
class ItemReader:
    """Turns items into samples at the sizes of one training."""

    cache: FeatureCache
    rule: GeometryRule
    options: tuple[tuple[int, int], ...]  # (width, height) of the buckets, pixels
    max_frames: int
    kind: LoraKind
    trigger: str | None

    def read(self, item: LocalItem) -> list[Sample]:
        """Samples of `item`: one for a picture, one per window for a clip.

        Raises:
            InvalidMediaError: the item cannot be decoded; the message names it.
        """
        caption = item_caption(item.caption, item.filename, self.kind, self.trigger)
        plain = None if self.trigger is None else class_caption(caption, self.kind, self.trigger)
        try:
            windows = list(self._clip(item) if item.media_type.startswith("video/") else self._still(item))
        except InvalidMediaError as error:
            raise InvalidMediaError(f"{item.filename}: {error}") from error
        return [Sample(latents, bucket, caption, plain) for latents, bucket in windows]

    def _still(self, item: LocalItem) -> Iterator[tuple[torch.Tensor, Bucket]]:
        picture = load_picture(item.path)
        bucket = self._bucket(picture.width, picture.height, 1)
        yield self.cache.latents(_sha256(item.path), bucket, 0, lambda: to_pixels([fit(picture, bucket.width, bucket.height)])), bucket

    def _clip(self, item: LocalItem) -> Iterator[tuple[torch.Tensor, Bucket]]:
        facts = inspect_media(item.path)
        shown = resampled_indices(facts.num_frames, facts.fps or self.rule.fps, self.rule.fps)
        bucket = self._bucket(facts.width, facts.height, len(shown))
        digest = _sha256(item.path)
        for start in window_starts(len(shown), bucket.num_frames):
            wanted = shown[start : start + bucket.num_frames]
            yield self.cache.latents(digest, bucket, start, partial(_frames, item.path, wanted, bucket)), bucket

    def _bucket(self, width: int, height: int, available_frames: int) -> Bucket:
        return choose(width, height, available_frames, list(self.options), self.max_frames, self.rule.frame_stride)


class BatchOrder:
    """An endless, reproducible sequence of batches of indices: every sample once per pass, one bucket per batch.

    Buckets are drawn by their share of the samples; a batch is always full, if need be across passes, so that one noise
    level per sample is all that differs between the repeats of a small set.
    """

    def __init__(self, buckets: Sequence[Bucket], batch_size: int, generator: torch.Generator) -> None:
        self._groups: list[list[int]] = [
            [index for index, bucket in enumerate(buckets) if bucket == wanted] for wanted in sorted(set(buckets))
        ]
        self._waiting: list[list[int]] = [[] for _ in self._groups]
        self._batch_size = batch_size
        self._generator = generator

    def next(self) -> list[int]:
        """Indices of the next batch."""
        shares = torch.tensor([float(len(group)) for group in self._groups])
        chosen = int(torch.multinomial(shares, 1, generator=self._generator)) if len(self._groups) > 1 else 0
        group, waiting = self._groups[chosen], self._waiting[chosen]
        while len(waiting) < self._batch_size:
            waiting.extend(group[index] for index in torch.randperm(len(group), generator=self._generator).tolist())
        self._waiting[chosen] = waiting[self._batch_size :]
        return waiting[: self._batch_size]

    def state(self) -> list[list[int]]:
        """What is still to come of the current passes; the generator is saved by its owner."""
        return [list(waiting) for waiting in self._waiting]

    def restore(self, state: Sequence[Sequence[int]]) -> None:
        """Go on from `state`."""
        self._waiting = [list(waiting) for waiting in state]


class TextTable:
    """Features of every caption a training can meet, on the base's device."""

    def __init__(self, cache: FeatureCache) -> None:
        self._cache = cache
        self._features: dict[str, TextFeatures] = {}

    def add(self, caption: str) -> None:
        """Compute and keep the features of `caption`, once."""
        if caption not in self._features:
            self._features[caption] = self._cache.text(caption)

    def batch(self, captions: Sequence[str]) -> TextFeatures:
        """Features of `captions`, [B, L, D]."""
        rows = [self._features[caption] for caption in captions]
        return TextFeatures(
            torch.cat([row.video for row in rows]), torch.cat([row.audio for row in rows]), torch.cat([row.mask for row in rows])
        )


def collate(samples: Sequence[Sample], indices: Sequence[int], device: torch.device) -> Batch:
    """The samples at `indices` as one batch on `device`."""
    chosen = [samples[index] for index in indices]
    plain = [sample.class_caption for sample in chosen if sample.class_caption is not None]
    return Batch(
        latents=torch.stack([sample.latents for sample in chosen]).to(device),
        bucket=chosen[0].bucket,
        captions=tuple(sample.caption for sample in chosen),
        class_captions=tuple(plain) if len(plain) == len(chosen) else None,
    )


def data_sha256(items: Sequence[LocalItem]) -> str:
    """Hash over the sorted hashes of the items and their captions; the order of an upload does not matter."""
    facts = sorted(f"{_sha256(item.path)}:{item.caption or ''}" for item in items)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _frames(path: Path, wanted: Sequence[int], bucket: Bucket) -> torch.Tensor:
    """The frames of a clip at rising indices `wanted`, fitted; an index may repeat."""
    fitted: dict[int, NDArray[np.uint8]] = {}
    for index, frame in enumerate(islice(iter_frames(path), wanted[-1] + 1)):
        if index in wanted:
            fitted[index] = fit(Image.fromarray(frame), bucket.width, bucket.height)
    last = max(fitted)  # a container may promise a frame more than it holds
    return to_pixels([fitted[min(index, last)] for index in wanted])


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
