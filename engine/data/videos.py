"""Videos that clips are made from: guides, sources of a restyle, of an extension, of an upscale. Torch-free.

An upload for training is judged by `engine.data.ingest`; what matters here is other: a guide must move, at an even rate, for no longer
than a clip can be. Frames are shrunk as they are decoded, so that a minute of 4K never lies in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.generation import Fit
from engine.data.buckets import fit as cropped
from engine.data.buckets import resampled_indices
from engine.data.media import CLIPS, HEAD_BYTES, LIMITS, MediaLimits, iter_frames, sniff
from engine.errors import InvalidMediaError, NoVideoError, VariableRateError, VideoTooLongError, VideoTooShortError

Frames = NDArray[np.uint8]  # [F, H, W, 3], RGB

MAX_FILM_SECONDS: Final = LIMITS.max_clip_seconds
"""Of a clip that is extended again and again."""

_UNEVEN: Final = 0.4  # share of the usual distance between two frames by which another one may differ
_UNEVEN_SHARE: Final = 0.02  # of all distances; one lost frame in a phone's clip is no variable rate
_SPARE_S: Final = 0.25  # what a clip may be longer than asked for: containers round


@dataclass(frozen=True)
class ClipFacts:
    """When the frames of a video are shown."""

    num_frames: int
    fps: float

    @property
    def seconds(self) -> float:
        """Playing time."""
        return self.num_frames / self.fps


def check_clip(path: Path, *, max_seconds: float = MAX_FILM_SECONDS, limits: MediaLimits = LIMITS) -> ClipFacts:
    """Read the times of all frames, without decoding a picture.

    Raises:
        NoVideoError: A picture, sound, or nothing of the kind.
        VideoTooShortError: One frame.
        VideoTooLongError: It plays longer than `max_seconds`.
        VariableRateError: Its frames come at uneven times.
        InvalidMediaError: It is damaged, or larger than is read.
    """
    if path.stat().st_size > limits.max_file_bytes:
        raise InvalidMediaError(f"The video is larger than {limits.max_file_bytes // 2**20} MiB: send a smaller one.")
    with path.open("rb") as handle:
        media_type = sniff(handle.read(HEAD_BYTES))
    if media_type not in CLIPS:
        raise NoVideoError("There is no video in this file: use an MP4, MOV or WebM clip.")
    times = sorted(_frame_times(path, media_type, limits, max_seconds))
    if len(times) < 2:
        raise VideoTooShortError("The video is a single frame: use a clip, or give the picture as the first frame.")
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    usual = median(steps)
    if usual <= 0 or sum(abs(step - usual) > _UNEVEN * usual for step in steps) > _UNEVEN_SHARE * len(steps):
        raise VariableRateError("The frames of this video come at uneven times: save it with a constant frame rate.")
    facts = ClipFacts(len(times), (len(times) - 1) / (times[-1] - times[0]))
    if facts.seconds > max_seconds + _SPARE_S:
        raise _too_long(max_seconds)
    return facts


def read_clip(path: Path, width: int, height: int, *, fps: float, num_frames: int | None = None, fit: Fit = Fit.CROP) -> Frames:
    """The checked clip at this size and rate: each frame the one that is shown at its time.

    With `num_frames` exactly that many from the start, the last one held when the clip ends before; without, all.

    Raises:
        InvalidMediaError: It does not decode.
    """
    facts = check_clip(path)
    shown = resampled_indices(facts.num_frames, facts.fps, fps)
    if num_frames is not None:
        shown = (shown + [shown[-1]] * num_frames)[:num_frames]
    needed, made = set(shown), {}
    for index, frame in enumerate(iter_frames(path)):
        if index in needed:
            made[index] = fit_picture(Image.fromarray(frame), width, height, fit)
        if index >= shown[-1]:
            break
    last = max(made)
    return np.stack([made[min(index, last)] for index in shown])


def fit_picture(picture: Image.Image, width: int, height: int, fit: Fit) -> NDArray[np.uint8]:
    """One picture at this size, [height, width, 3]: its middle, or all of it between black bars."""
    if fit is Fit.CROP:
        return cropped(picture, width, height)
    scale = min(width / picture.width, height / picture.height)
    inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    ground = Image.new("RGB", (width, height))
    small = Image.fromarray(cropped(picture, *inner))
    ground.paste(small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return np.asarray(ground, dtype=np.uint8)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two pictures of the same shape in dB; 100 for equal ones."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 100.0 if error == 0.0 else min(100.0, 10.0 * float(np.log10(255.0**2 / error)))


def _frame_times(path: Path, media_type: str, limits: MediaLimits, max_seconds: float) -> Iterator[float]:
    """Presentation times in seconds, in file order."""
    try:
        with path.open("rb") as handle, av.open(handle, mode="r", format=CLIPS[media_type], metadata_errors="ignore") as container:
            if not container.streams.video:
                raise NoVideoError("There is no video in this file: use an MP4, MOV or WebM clip.")
            stream = container.streams.video[0]
            if container.duration and container.duration / 1_000_000 > limits.max_clip_seconds + _SPARE_S:
                raise _too_long(max_seconds)
            count = 0
            for packet in container.demux(stream):
                if packet.pts is None or packet.time_base is None:
                    continue
                count += 1
                if count > limits.max_clip_frames:
                    raise _too_long(max_seconds)
                yield float(packet.pts * packet.time_base)
    except (av.FFmpegError, ValueError, ArithmeticError, LookupError) as error:
        raise InvalidMediaError("The video is damaged or cut off: save it again.") from error


def _too_long(max_seconds: float) -> VideoTooLongError:
    return VideoTooLongError(f"The video is longer than {max_seconds:.1f} seconds: trim it.")
