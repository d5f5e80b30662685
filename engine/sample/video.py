"""Frames to files: MP4 that fits a size limit, contact sheets, posters. Torch-free (PyAV, Pillow, numpy)."""

from __future__ import annotations

import math
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.geometry import Geometry
from engine.contracts.results import SceneRendered
from engine.data.media import inspect_media, iter_frames
from engine.errors import InvalidMediaError, ResultTooLargeError

Frame = NDArray[np.uint8]  # [H, W, 3], RGB

PROVENANCE = "AI-generated with Callsheet"
_BEST_CRF, _WORST_CRF = 18, 38  # visually lossless; still recognisable
_CRF_PER_HALVING = 6.0  # x264's rule of thumb: six steps halve the bits
_SHRINK = 0.7
_MIN_SIDE = 64  # pixels; below this a smaller picture saves nothing any more
_SILENCE = 1e-4  # peak amplitude, 0..1
_BT709 = 1  # the number of ITU-R BT.709 in H.273, the same for primaries, transfer and matrix
_AUDIO_BITRATE = 128_000
_TILE_SIDE = 128


@dataclass(frozen=True)
class RenderedClip:
    """One denoised clip in memory."""

    frames: NDArray[np.uint8]  # [F, H, W, 3], RGB
    fps: float
    audio: NDArray[np.float32] | None  # [channels, samples], -1..1
    audio_rate: int  # Hz
    seed: int
    geometry: Geometry  # as denoised; a film of several parts has more frames
    prompt: str = ""  # with the triggers
    scenes: tuple[SceneRendered, ...] = ()  # of a storyboard
    join_psnr: float | None = None  # dB; of an extension, the source's last frame against the same frame made again

    @property
    def has_sound(self) -> bool:
        """False for a clip without an audio track, and for silence, which is not written."""
        return _audible(self.audio, len(self.frames) / self.fps, self.audio_rate) is not None


@dataclass(frozen=True)
class WrittenVideo:
    """What lies on disk now."""

    width: int
    height: int
    size: int  # bytes


@dataclass(frozen=True)
class _Source:
    """Frames that can be read as often as encoding is tried, and the sound beside them."""

    frames: Callable[[], Iterable[Frame]]
    width: int
    height: int
    fps: float
    audio: NDArray[np.float32] | None
    audio_rate: int


def write_mp4(clip: RenderedClip, path: Path, *, max_bytes: int, min_side: int, metadata: Mapping[str, str] | None = None) -> WrittenVideo:
    """Write `clip` as MP4: H.264, yuv420p, index in front, with sound unless it is silent.

    Clips whose shorter side is below `min_side` are enlarged by the whole factor that reaches it, nearest neighbour. When the file
    does not fit `max_bytes`, quality goes down first and size after. `path` appears whole or not at all; `metadata` goes into it.

    Raises:
        ResultTooLargeError: No encoding fits.
        InvalidMediaError: The clip has no frames.
    """
    if len(clip.frames) == 0:
        raise InvalidMediaError("The clip has no frames.")
    _, height, width, _ = clip.frames.shape
    factor = upscale_factor(width, height, min_side)
    audio = _audible(clip.audio, len(clip.frames) / clip.fps, clip.audio_rate)
    source = _Source(lambda: _enlarged(clip.frames, factor), width * factor, height * factor, clip.fps, audio, clip.audio_rate)
    return _write_fitting(source, path, max_bytes, metadata or {})


def fit(source: Path, target: Path, *, max_bytes: int, metadata: Mapping[str, str] | None = None) -> WrittenVideo:
    """Re-encode the clip at `source` so that it fits, with `metadata`; one that does already is copied.

    Raises:
        InvalidMediaError: `source` is no readable clip.
        ResultTooLargeError: No encoding fits.
    """
    facts = inspect_media(source)
    if facts.fps is None:
        raise InvalidMediaError("Only clips can be re-encoded, this is a picture.")
    if source.stat().st_size <= max_bytes:
        shutil.copyfile(source, target)
        return WrittenVideo(facts.width, facts.height, target.stat().st_size)
    audio, rate = read_audio(source)
    again = _Source(lambda: iter_frames(source), facts.width, facts.height, facts.fps, audio, rate)
    return _write_fitting(again, target, max_bytes, metadata or {})


def upscale_factor(width: int, height: int, min_side: int) -> int:
    """The smallest whole factor, at least 1, that brings the shorter side to `min_side`."""
    return max(1, math.ceil(min_side / min(width, height)))


def contact_sheet(frames: Sequence[Frame] | NDArray[np.uint8], path: Path, *, max_tiles: int = 9) -> None:
    """Write up to `max_tiles` frames, evenly spaced from first to last, as one PNG read left to right, top to bottom.

    Raises:
        InvalidMediaError: There are no frames.
    """
    if len(frames) == 0:
        raise InvalidMediaError("The clip has no frames.")
    chosen = np.unique(np.linspace(0, len(frames) - 1, num=min(max_tiles, len(frames))).round().astype(int))
    tiles = [_tile(frames[int(index)]) for index in chosen]
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    height, width, _ = tiles[0].shape
    gap = 4
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 24, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    _save_png(sheet, path)


def poster(frames: Sequence[Frame] | NDArray[np.uint8], path: Path, *, min_side: int = 0) -> None:
    """Write the middle frame as PNG, enlarged by a whole factor to `min_side`.

    Raises:
        InvalidMediaError: There are no frames.
    """
    if len(frames) == 0:
        raise InvalidMediaError("The clip has no frames.")
    frame = frames[len(frames) // 2]
    _save_png(_repeat(frame, upscale_factor(frame.shape[1], frame.shape[0], min_side)), path)


def strip(frames: NDArray[np.uint8], path: Path) -> None:
    """Write frames [F, H, W, 3] side by side as one PNG, each about `_TILE_SIDE` pixels."""
    _save_png(np.concatenate([_tile(frame) for frame in frames], axis=1), path)


def read_audio(path: Path, rate: int | None = None) -> tuple[NDArray[np.float32] | None, int]:
    """The first sound track of a clip as float samples [channels, N] with its rate in Hz, resampled to `rate`; None without one."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None, 0
        rate = rate or container.streams.audio[0].rate
        layout = "mono" if container.streams.audio[0].channels == 1 else "stereo"
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        chunks = [piece.to_ndarray() for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    return (np.ascontiguousarray(np.concatenate(chunks, axis=1), dtype=np.float32), rate) if chunks else (None, 0)


def joined_audio(
    source: Path, seconds: float, audio: NDArray[np.float32] | None, rate: int, skip_s: float
) -> tuple[NDArray[np.float32] | None, int]:
    """Sound of an extended film: the source's for `seconds`, then `audio` from `skip_s` on; silence where one has none."""
    before, before_rate = read_audio(source, rate or None)
    rate = rate or before_rate
    if audio is None and before is None:
        return None, 0
    channels = max(len(part) for part in (before, audio) if part is not None)
    length, skipped = round(seconds * rate), round(skip_s * rate)
    first = np.zeros((channels, length), dtype=np.float32)
    if before is not None:
        count = min(length, before.shape[1])
        first[:, :count] = before[:, :count]
    rest = np.zeros((channels, 0), dtype=np.float32) if audio is None else np.broadcast_to(audio, (channels, audio.shape[1]))[:, skipped:]
    return np.concatenate([first, rest], axis=1), rate


def _write_fitting(source: _Source, path: Path, max_bytes: int, metadata: Mapping[str, str]) -> WrittenVideo:
    """Encode until it fits: raise CRF by what the last size asks for, and when that is not enough, shrink the picture."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    scale, crf = 1.0, _BEST_CRF
    try:
        while True:
            width, height = _even(source.width * scale), _even(source.height * scale)
            _encode(source, part, width, height, crf, metadata)
            size = part.stat().st_size
            if size <= max_bytes:
                part.replace(path)
                return WrittenVideo(width, height, size)
            if crf < _WORST_CRF:
                crf = min(_WORST_CRF, crf + max(2, math.ceil(_CRF_PER_HALVING * math.log2(size / max(1, max_bytes)))))
            elif min(width, height) * _SHRINK >= _MIN_SIDE:
                scale *= _SHRINK
            else:
                raise ResultTooLargeError(f"The clip does not fit into {max_bytes} bytes: make it shorter or smaller.")
    finally:
        part.unlink(missing_ok=True)


def _encode(source: _Source, path: Path, width: int, height: int, crf: int, metadata: Mapping[str, str]) -> None:
    rate = Fraction(source.fps).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata.update({"comment": PROVENANCE, **metadata})
        video = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "medium"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        context = video.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        audio = None
        if source.audio is not None:
            audio = container.add_stream("aac", rate=source.audio_rate, layout="mono" if len(source.audio) == 1 else "stereo")
            audio.bit_rate = _AUDIO_BITRATE
        for index, pixels in enumerate(source.frames()):
            frame = av.VideoFrame.from_ndarray(_resized(pixels, width, height), format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and source.audio is not None:
            sound = av.AudioFrame.from_ndarray(source.audio, format="fltp", layout=audio.layout.name)
            sound.sample_rate, sound.pts = source.audio_rate, 0
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))


def _audible(audio: NDArray[np.float32] | None, seconds: float, rate: int) -> NDArray[np.float32] | None:
    """At most two channels of at most `seconds`, or None for silence."""
    if audio is None or audio.size == 0 or not float(np.nanmax(np.abs(audio))) > _SILENCE:
        return None
    cut = np.nan_to_num(audio[:2, : math.ceil(seconds * rate)]).clip(-1.0, 1.0)
    return np.ascontiguousarray(cut, dtype=np.float32)


def _enlarged(frames: NDArray[np.uint8], factor: int) -> Iterator[Frame]:
    return (_repeat(frame, factor) for frame in frames)


def _repeat(frame: Frame, factor: int) -> Frame:
    return frame if factor == 1 else np.repeat(np.repeat(frame, factor, axis=0), factor, axis=1)


def _resized(pixels: Frame, width: int, height: int) -> Frame:
    """`pixels` at exactly this size; an odd side loses its last row or column, anything else is averaged down."""
    if abs(pixels.shape[1] - width) <= 1 and abs(pixels.shape[0] - height) <= 1:
        return np.ascontiguousarray(pixels[:height, :width])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def _even(side: float) -> int:
    """yuv420p halves both sides for colour."""
    return max(2, int(side) // 2 * 2)


def _tile(frame: Frame) -> Frame:
    """The frame at about `_TILE_SIDE`: enlarged by a whole factor, or averaged down."""
    height, width, _ = frame.shape
    if min(width, height) <= _TILE_SIDE:
        return _repeat(frame, upscale_factor(width, height, _TILE_SIDE))
    scale = 2 * _TILE_SIDE / max(width, height)
    return np.asarray(Image.fromarray(frame).resize((max(1, int(width * scale)), max(1, int(height * scale))), Image.Resampling.BOX))


def _save_png(pixels: Frame, path: Path) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        Image.fromarray(np.ascontiguousarray(pixels)).save(part, format="PNG")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
