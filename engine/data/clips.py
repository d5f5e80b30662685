"""From files to windows: what each picture and clip of a set holds, which windows are learned from, and their frames. Torch-free.

A window lies within one shot. Which lengths and shapes exist is decided for the whole set at once (`plan`), so that a batch finds
enough windows of one bucket.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.geometry import GeometryRule
from engine.data.buckets import Bucket, choose_lengths, fit, length_for, nearest_size, resampled_indices, window_starts
from engine.data.cuts import shots
from engine.data.media import MediaFacts, inspect_media, iter_frames, load_picture, picture_size
from engine.errors import InvalidMediaError

Frames = NDArray[np.uint8]  # [F, H, W, 3], RGB


@dataclass(frozen=True)
class Source:
    """One file of a set. A picture has one shot of one frame."""

    path: Path
    width: int  # pixels, as shown
    height: int
    fps: float | None  # None for a picture
    shots: tuple[tuple[int, ...], ...]  # per shot, the file's frames as shown at the base's rate

    @property
    def is_clip(self) -> bool:
        """True for a file with a frame rate."""
        return self.fps is not None


@dataclass(frozen=True)
class Window:
    """Frames of one file that are learned together."""

    bucket: Bucket
    start: int  # the first frame, as the file counts
    frames: tuple[int, ...]  # rising; a frame repeats when the file is slower than the base


def survey(path: Path, media_type: str, rule: GeometryRule) -> Source:
    """What the file at `path` holds, seen at the base's rate.

    Raises:
        InvalidMediaError: it cannot be read, or it is a clip too short to show any motion.
    """
    if not media_type.startswith("video/"):
        width, height = picture_size(path)
        return Source(path, width, height, None, ((0,),))
    facts = inspect_media(path)
    fps = facts.fps or rule.fps
    seen = []
    for first, after in shots(facts.num_frames, facts.cuts):
        seen.append(tuple(first + index for index in resampled_indices(after - first, fps, rule.fps)))
    if longest_shot(facts, rule.fps) <= rule.frame_stride:
        raise InvalidMediaError(too_short(facts.num_frames, fps, rule))
    return Source(path, facts.width, facts.height, fps, tuple(seen))


def longest_shot(facts: MediaFacts, rate: float) -> int:
    """Frames of a clip's longest shot, seen at `rate` frames per second."""
    fps = facts.fps or rate
    return max(len(resampled_indices(after - first, fps, rate)) for first, after in shots(facts.num_frames, facts.cuts))


def too_short(num_frames: int, fps: float, rule: GeometryRule) -> str:
    """The sentence about a clip without a window of `rule.frame_stride + 1` frames."""
    needed = (rule.frame_stride + 1) / rule.fps
    return f"The clip's {num_frames} frames are only {num_frames / fps:.1f} s: use {needed:.1f} s or more without a cut, or a picture."


def plan(
    sources: Sequence[Source], options: Sequence[tuple[int, int]], rule: GeometryRule, max_frames: int, batch_size: int
) -> list[list[Window]]:
    """Windows of every source, in order. A shot too short for any window of the set is left out.

    A shape that fewer windows have than fill a batch is given up for the nearest one that more have.
    """
    lengths = choose_lengths([len(shot) for source in sources for shot in source.shots if source.is_clip], max_frames, rule.frame_stride)
    spans = [[span for shot in source.shots for span in _spans(shot, source.is_clip, lengths)] for source in sources]
    sizes = _sizes(sources, [len(found) for found in spans], options, batch_size)
    return [[Window(Bucket(*size, len(frames)), frames[0], frames) for frames in found] for size, found in zip(sizes, spans, strict=True)]


def read_window(source: Source, frames: Sequence[int], width: int, height: int) -> Frames:
    """The given frames of `source`, fitted: [F, height, width, 3].

    Raises:
        InvalidMediaError: the file cannot be decoded.
    """
    if not source.is_clip:
        return fit(load_picture(source.path), width, height)[None]
    wanted, fitted = frozenset(frames), dict[int, NDArray[np.uint8]]()
    for index, frame in enumerate(islice(iter_frames(source.path), max(frames) + 1)):
        if index in wanted:
            fitted[index] = fit(Image.fromarray(frame), width, height)
    last = max(fitted)  # a container may promise a frame more than it holds
    return np.stack([fitted[min(index, last)] for index in frames])


def beside(source: Source, guide: Source, frames: Sequence[int]) -> tuple[int, ...]:
    """The frames of `guide` shown at the moments of `frames` of `source`.

    Raises:
        InvalidMediaError: the two do not last equally long.
    """
    if source.fps is None or guide.fps is None:
        if source.fps is not guide.fps:
            raise InvalidMediaError("A picture and a clip cannot guide each other: give two clips or two pictures.")
        return (0,)
    ours, theirs = _seconds(source), _seconds(guide)
    if abs(ours - theirs) > max(1 / source.fps, 1 / guide.fps) + 1e-6:
        raise InvalidMediaError(f"The clip lasts {ours:.2f} s and its guide {theirs:.2f} s: cut both to the same length.")
    last = guide.shots[-1][-1]
    return tuple(min(last, math.floor(index / source.fps * guide.fps + 1e-6)) for index in frames)


def _seconds(source: Source) -> float:
    """Playing time up to the last frame seen."""
    return (source.shots[-1][-1] + 1) / (source.fps or 1.0)


def _spans(shot: tuple[int, ...], is_clip: bool, lengths: Sequence[int]) -> list[tuple[int, ...]]:
    if not is_clip:
        return [shot]
    length = length_for(len(shot), lengths)
    return [shot[start : start + length] for start in window_starts(len(shot), length)] if length > 1 else []


def _sizes(sources: Sequence[Source], weights: Sequence[int], options: Sequence[tuple[int, int]], batch_size: int) -> list[tuple[int, int]]:
    """One size per source; sizes with fewer windows than a batch are dropped as long as another remains."""
    left = list(options)
    while True:
        sizes = [nearest_size(source.width, source.height, left) for source in sources]
        counts = Counter[tuple[int, int]]()
        for size, weight in zip(sizes, weights, strict=True):
            counts[size] += weight
        rare = min(counts, key=lambda size: (counts[size], size))
        if counts[rare] >= batch_size or len(counts) == 1:
            return sizes
        left = [size for size in counts if size != rare]
