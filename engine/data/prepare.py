"""From items to samples, one small piece of work at a time, so that a render never waits for a whole set to be encoded."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.contracts.controls import Control
from engine.contracts.geometry import GeometryRule
from engine.contracts.lora import LoraKind
from engine.data.buckets import Bucket
from engine.data.cache import FeatureCache
from engine.data.captioner import Captioner, NoCaptioner, frames_to_show
from engine.data.captions import class_caption, item_caption, mirrored_caption
from engine.data.clips import Source, Window, beside, plan, read_window, survey
from engine.data.dataset import LocalItem, Sample
from engine.errors import InvalidMediaError
from engine.hashing import file_sha256
from engine.model.loader import to_pixels

Extract = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Guiding frames of a clip's frames, [F, H, W, 3] each; see `engine.control.extract`."""


@dataclass(frozen=True)
class ItemReader:
    """Turns items into samples at the sizes of one training."""

    cache: FeatureCache
    rule: GeometryRule
    options: tuple[tuple[int, int], ...]  # (width, height) of the buckets, pixels
    max_frames: int
    kind: LoraKind
    trigger: str | None
    batch_size: int = 1
    mirror: bool = False
    """Whether every window is also shown mirrored."""

    control: Control | None = None  # of an effect
    extract: Extract | None = None  # makes the guides of items that bring none
    captioner: Captioner = field(default_factory=NoCaptioner)  # for items without a caption

    def read(self, item: LocalItem, source: Source, guide: Source | None, windows: Sequence[Window]) -> list[Sample]:
        """Samples of `item`, one per window, and the same mirrored if that is wanted.

        Raises:
            InvalidMediaError: the item cannot be decoded, or an effect has no guide for it.
        """
        digest = file_sha256(item.path)
        caption = item_caption(item.caption or self.seen(digest, source, windows), item.filename, self.kind, self.trigger)
        guide_digest = file_sha256(guide.path) if guide is not None else ""
        plain, mirrored = list[Sample](), list[Sample]()
        for window in windows:
            shot = _Footage(digest, functools.cache(partial(read_window, source, window.frames)))
            guiding = self._guiding(shot, source, guide, guide_digest, window)
            plain.append(self._sample(shot, guiding, window, caption))
            if self.mirror:
                mirrored.append(self._sample(shot.mirrored(), guiding and guiding.mirrored(), window, mirrored_caption(caption)))
        return plain + mirrored

    def _sample(self, shot: _Footage, guiding: _Footage | None, window: Window, caption: str) -> Sample:
        bucket, factor = window.bucket, self.control.downscale if self.control is not None else 1
        smaller = Bucket(bucket.width // factor, bucket.height // factor, bucket.num_frames)
        return Sample(
            latents=self._latents(shot, bucket, window.start),
            bucket=bucket,
            caption=caption,
            class_caption=None if self.trigger is None else class_caption(caption, self.kind, self.trigger),
            guide=None if guiding is None else self._latents(guiding, smaller, window.start),
        )

    def _latents(self, shot: _Footage, bucket: Bucket, start: int) -> torch.Tensor:
        return self.cache.latents(shot.subject, bucket, start, lambda: shot.pixels(bucket.width, bucket.height))

    def seen(self, digest: str, source: Source, windows: Sequence[Window]) -> str | None:
        """What the captioner says of an item without a caption: of its first window, at the size it is trained at."""
        if not windows:
            return None
        window = windows[0]
        frames = tuple(window.frames[index] for index in frames_to_show(len(window.frames)))
        size = window.bucket.width, window.bucket.height
        return self.cache.caption(digest, self.kind.value, lambda: self.captioner.caption(read_window(source, frames, *size), self.kind))

    def _guiding(self, shot: _Footage, source: Source, guide: Source | None, guide_digest: str, window: Window) -> _Footage | None:
        """What guides a window: the supplied guide, else what is extracted from the item itself."""
        if self.control is None:
            return None
        if guide is not None:
            return _Footage(f"guide:{guide_digest}", functools.cache(partial(read_window, guide, beside(source, guide, window.frames))))
        if self.extract is None:
            raise InvalidMediaError("There is no guide for it: put one with the same name and _control at the end beside it.")
        return replace(shot, subject=f"{self.control.kind}:{shot.subject}", extract=self.extract)


@dataclass(frozen=True)
class _Footage:
    """The frames of one window, decoded when the first is wanted that no cache has, and once for all that is made of them."""

    subject: str  # what a cache calls its content
    shown: Callable[[int, int], NDArray[np.uint8]]  # (width, height) -> [F, H, W, 3]
    extract: Extract | None = None
    is_mirrored: bool = False

    def mirrored(self) -> _Footage:
        """Its mirror image."""
        return replace(self, subject=f"mirrored:{self.subject}", is_mirrored=True)

    def pixels(self, width: int, height: int) -> torch.Tensor:
        """What is seen, or extracted from it: [3, F, H, W] in -1..1."""
        clip = self.shown(width, height)
        if self.is_mirrored:
            clip = np.ascontiguousarray(clip[:, :, ::-1])
        return to_pixels(clip if self.extract is None else self.extract(clip))


class Preparation:
    """Encodes a set: clips are looked through one by one, then windows are planned for the whole set, then every item is encoded.

    `step()` does one of these pieces and returns the samples that came of it. Messages of errors begin with the item's file name.
    Items are encoded from number `first` on, round to the one before it: processes that share a cache each begin at another one, and
    find what the others have done when they come to it.
    """

    def __init__(self, reader: ItemReader, items: Sequence[LocalItem], first: int = 0) -> None:
        self._reader = reader
        self._items = items
        self._sources: dict[int, tuple[Source, Source | None]] = {}
        self._unseen = deque(index for index, item in enumerate(items) if item.media_type.startswith("video/"))
        self._unread = deque(range(len(items)))
        self._unread.rotate(-first)
        self._windows: list[list[Window]] | None = None
        self._captions: dict[int, str] = {}  # as learned
        self.total = len(items) + len(self._unseen)

    @property
    def left(self) -> int:
        """Pieces of work to go."""
        return len(self._unseen) + len(self._unread)

    def step(self) -> list[Sample]:
        """The next piece of work.

        Raises:
            InvalidMediaError: an item cannot be used; the message names it.
        """
        if self._unseen:
            self._survey(self._unseen.popleft())
            return []
        if self._windows is None:
            self._windows = self._planned()
        index = self._unread.popleft()
        source, guide = self._sources[index]
        try:
            samples = self._reader.read(self._items[index], source, guide, self._windows[index])
        except InvalidMediaError as error:
            raise self._named(index, error) from error
        if samples:
            self._captions[index] = samples[0].caption
        return [replace(sample, item=index) for sample in samples]

    def facts(self) -> list[dict[str, Any]]:
        """What is learned from each file, for people: its windows, the shots too short for any, its caption with the trigger."""
        windows = self._windows or []
        return [
            {
                "file": item.filename,
                "shots": len(self._sources[index][0].shots),
                "windows": [
                    {"start": w.start, "frames": w.bucket.num_frames, "width": w.bucket.width, "height": w.bucket.height}
                    for w in windows[index]
                ],
                "unused_shots": _unused(self._sources[index][0], windows[index]),
                "caption": self._captions.get(index),
            }
            for index, item in enumerate(self._items)
            if self._windows is not None
        ]

    def _planned(self) -> list[list[Window]]:
        for index in range(len(self._items)):
            if index not in self._sources:
                self._survey(index)
        reader = self._reader
        sources = [self._sources[index][0] for index in range(len(self._items))]
        return plan(sources, reader.options, reader.rule, reader.max_frames, reader.batch_size)

    def _survey(self, index: int) -> None:
        item, rule = self._items[index], self._reader.rule
        try:
            guide = survey(item.guide, item.media_type, rule) if item.guide is not None else None
            self._sources[index] = survey(item.path, item.media_type, rule), guide
        except InvalidMediaError as error:
            raise self._named(index, error) from error

    def _named(self, index: int, error: InvalidMediaError) -> InvalidMediaError:
        return InvalidMediaError(f"{self._items[index].filename}: {error}")


def _unused(source: Source, windows: Sequence[Window]) -> int:
    """Shots without a window."""
    return sum(not any(window.start in shot for window in windows) for shot in source.shots)
