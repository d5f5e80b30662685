"""The training set in memory: samples of cached features become batches in a reproducible order.

A batch never touches raw pictures. Everything about the order lives in `BatchOrder` and can be saved and restored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.data.buckets import Bucket
from engine.data.cache import FeatureCache
from engine.hashing import file_sha256
from engine.model.loader import TextFeatures


@dataclass(frozen=True)
class LocalItem:
    """One picture or clip of a training set, on this machine."""

    path: Path
    media_type: str
    filename: str  # as uploaded, for captions and messages
    caption: str | None = None
    guide: Path | None = None  # a control clip or picture that came with it, for effects


@dataclass(frozen=True)
class Sample:
    """One window of one item, as the transformer sees it."""

    latents: torch.Tensor  # [C, f, h, w], normalised, fp32
    bucket: Bucket
    caption: str
    class_caption: str | None  # the caption as if the trigger had never been; None without a trigger
    guide: torch.Tensor | None = None  # [C, f, h/k, w/k], normalised latents of the guiding frames of an effect
    item: int = 0  # index of the item it is a window of


@dataclass(frozen=True)
class Batch:
    """Samples of one bucket."""

    latents: torch.Tensor  # [B, C, f, h, w]
    bucket: Bucket
    captions: tuple[str, ...]
    class_captions: tuple[str, ...] | None
    guides: torch.Tensor | None = None  # [B, C, f, h/k, w/k]


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
    guides = [sample.guide for sample in chosen if sample.guide is not None]
    return Batch(
        latents=torch.stack([sample.latents for sample in chosen]).to(device),
        bucket=chosen[0].bucket,
        captions=tuple(sample.caption for sample in chosen),
        class_captions=tuple(plain) if len(plain) == len(chosen) else None,
        guides=torch.stack(guides).to(device) if guides else None,
    )


def data_sha256(items: Sequence[LocalItem]) -> str:
    """Hash over the sorted hashes of the items and their captions; the order of an upload does not matter."""
    facts = sorted(f"{file_sha256(item.path)}:{item.caption or ''}{_guide_sha256(item)}" for item in items)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _guide_sha256(item: LocalItem) -> str:
    return f":{file_sha256(item.guide)}" if item.guide is not None else ""
