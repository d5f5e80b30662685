"""Reads pictures and clips that strangers made: type by content, limits before decoding, one problem code per refusal.

Torch-free. `inspect_media` is the judge of an upload; `load_picture` and `iter_frames` are what training reads accepted files with.
An animated PNG or WebP counts as a still: its first frame. Transparent pixels become white. Metadata (EXIF, GPS) never leaves here.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from engine.contracts.media import MediaProblem, Problem
from engine.data.cuts import VIEW_SIDE, CutFinder
from engine.data.quality import Look, look_at
from engine.errors import InvalidMediaError

PICTURES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}  # media type -> the only Pillow plugin tried
CLIPS = {"video/mp4": "mov", "video/quicktime": "mov", "video/webm": "matroska"}  # media type -> the only FFmpeg demuxer tried
ZIP = "application/zip"
ARCHIVES = frozenset(
    {ZIP, "application/x-rar", "application/x-7z-compressed", "application/gzip", "application/x-xz", "application/x-bzip2"}
)

HEAD_BYTES = 4096  # what `sniff` wants to see
_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "prores", "mjpeg"})
_ORIENTATION, _FIRST_TURNED = 0x0112, 5  # EXIF: orientations from 5 on lie on their side
_NOMINAL_FPS = 24.0  # of a clip that does not tell
_MISSING_FRAMES = 0.9  # fewer decoded frames than this share of the container's claim means a cut-off file

# What Pillow raises on hostile bytes: parsers meet every kind of nonsense, so the list is long on purpose.
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, EOFError, MemoryError, struct.error, zlib.error
)  # fmt: skip


@dataclass(frozen=True)
class MediaLimits:
    """How much of a stranger's file is read; generous for people, small for machines."""

    max_file_bytes: int = 200 * 1024 * 1024
    max_picture_pixels: int = 50_000_000
    max_frame_pixels: int = 9_000_000  # 4K UHD
    max_clip_pixels: int = 4_000_000_000  # all frames together: half a minute of 1080p at 60 frames per second
    max_clip_seconds: float = 60.0
    max_clip_frames: int = 3600
    min_side: int = 16  # pixels


LIMITS = MediaLimits()


@dataclass(frozen=True)
class MediaFacts:
    """What a file is, once it decoded completely."""

    media_type: str
    width: int  # pixels, as shown
    height: int
    num_frames: int  # 1 for a picture
    fps: float | None  # None for a picture
    look: Look  # of the picture, or of the clip's first frame
    cuts: tuple[int, ...] = ()  # frames at which a clip cuts to another shot
    has_audio: bool = False


class RefusedMediaError(InvalidMediaError):
    """A file or archive that is not used; `problem` says why, with a code."""

    def __init__(self, code: MediaProblem, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(code=code, detail=detail)


def sniff(head: bytes) -> str | None:
    """Media type by the first `HEAD_BYTES` of a file, also of kinds we refuse; None when nothing is recognised."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video/x-msvideo"
    if head[4:8] == b"ftyp":
        return _sniff_ftyp(head[8:12])
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "video/quicktime"  # QuickTime files from before `ftyp`
    if head[257:262] == b"ustar":
        return "application/x-tar"
    return None


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"Rar!\x1a\x07", "application/x-rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"BZh", "application/x-bzip2"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),  # or Matroska: the codec decides
    (b"%PDF-", "application/pdf"),
)  # fmt: skip


def _sniff_ftyp(brand: bytes) -> str:
    if brand == b"qt  ":
        return "video/quicktime"
    if brand in (b"avif", b"avis"):
        return "image/avif"
    if brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        return "image/heic"
    return "audio/mp4" if brand in (b"M4A ", b"M4B ") else "video/mp4"


def inspect_media(path: Path, limits: MediaLimits = LIMITS) -> MediaFacts:
    """Decode the whole file within `limits`.

    Raises:
        RefusedMediaError: It is not a usable picture or clip.
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        raise RefusedMediaError(MediaProblem.EMPTY, "The file is empty: upload it again.")
    if size > limits.max_file_bytes:
        limit = limits.max_file_bytes // 2**20
        raise RefusedMediaError(MediaProblem.TOO_LARGE, f"The file is larger than {limit} MiB: upload a smaller version.")
    with path.open("rb") as handle:
        media_type = sniff(handle.read(HEAD_BYTES))
    if media_type in PICTURES:
        return _inspect_picture(path, media_type, limits)
    if media_type in CLIPS:
        return _inspect_clip(path, media_type, limits)
    if media_type is None:
        raise RefusedMediaError(MediaProblem.NOT_MEDIA, "The content is not a picture or clip: use PNG, JPEG, WebP, MP4, MOV or WebM.")
    raise RefusedMediaError(MediaProblem.UNSUPPORTED, f"{media_type} is not read here: save it as PNG, JPEG, WebP, MP4, MOV or WebM.")


def load_picture(path: Path, limits: MediaLimits = LIMITS) -> Image.Image:
    """The picture upright (EXIF orientation applied) in RGB.

    Raises:
        RefusedMediaError: It is no picture, or it does not decode within `limits`.
    """
    with path.open("rb") as handle:
        media_type = sniff(handle.read(HEAD_BYTES))
    if media_type not in PICTURES:
        raise RefusedMediaError(MediaProblem.NOT_MEDIA, "The content is not a picture: use PNG, JPEG or WebP.")
    return _decode_picture(path, media_type, limits)


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) of a picture as `load_picture` shows it, from its header alone.

    Raises:
        RefusedMediaError: It is no picture.
    """
    with path.open("rb") as handle:
        media_type = sniff(handle.read(HEAD_BYTES))
    if media_type not in PICTURES:
        raise RefusedMediaError(MediaProblem.NOT_MEDIA, "The content is not a picture: use PNG, JPEG or WebP.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=[PICTURES[media_type]]) as image:
                turned = image.getexif().get(_ORIENTATION, 1) >= _FIRST_TURNED
                return (image.height, image.width) if turned else image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, *_DECODE_ERRORS) as error:
        raise _damaged("picture") from error


def iter_frames(path: Path, limits: MediaLimits = LIMITS) -> Iterator[NDArray[np.uint8]]:
    """The clip's frames upright, RGB, [H, W, 3], in display order, at the file's own frame rate.

    Raises:
        RefusedMediaError: It is no clip, or it does not decode within `limits`.
    """
    with path.open("rb") as handle:
        media_type = sniff(handle.read(HEAD_BYTES))
    if media_type not in CLIPS:
        raise RefusedMediaError(MediaProblem.NOT_MEDIA, "The content is not a clip: use MP4, MOV or WebM.")
    for frame in _decoded(path, media_type, limits):
        yield _upright(frame)


def _inspect_picture(path: Path, media_type: str, limits: MediaLimits) -> MediaFacts:
    picture = _decode_picture(path, media_type, limits)
    return MediaFacts(media_type=media_type, width=picture.width, height=picture.height, num_frames=1, fps=None, look=look_at(picture))


def _decode_picture(path: Path, media_type: str, limits: MediaLimits) -> Image.Image:
    too_many = RefusedMediaError(
        MediaProblem.TOO_MANY_PIXELS, f"The picture has more than {limits.max_picture_pixels // 10**6} megapixels: scale it down."
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit is below the size Pillow warns at; odd EXIF is no news
            with Image.open(path, formats=[PICTURES[media_type]]) as image:
                if image.width * image.height > limits.max_picture_pixels:
                    raise too_many
                if min(image.size) < limits.min_side:
                    raise _too_small(image.width, image.height, limits)
                image.seek(0)
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise too_many from error
    except (UnidentifiedImageError, *_DECODE_ERRORS) as error:
        raise _damaged("picture") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a sample: Pillow's own conversion clips instead of scaling
        samples = np.asarray(image).astype(np.float32) / 257.0
        image = Image.fromarray(samples.clip(0, 255).astype(np.uint8), mode="L")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _inspect_clip(path: Path, media_type: str, limits: MediaLimits) -> MediaFacts:
    frames = _decoded(path, media_type, limits)
    first = last = next(frames)
    cuts = CutFinder()
    cuts.see(_view(first))
    num_frames, first_s = 1, first.time or 0.0
    last_s = first_s
    for frame in frames:
        last = frame
        num_frames += 1
        last_s = frame.time if frame.time is not None else last_s
        cuts.see(_view(frame))
    picture = Image.fromarray(_upright(first))
    fps = (num_frames - 1) / (last_s - first_s) if num_frames > 1 and last_s > first_s else _NOMINAL_FPS
    with _opened(path, media_type) as container:
        has_audio = bool(container.streams.audio)
    return MediaFacts(
        media_type=media_type,
        width=picture.width,
        height=picture.height,
        num_frames=num_frames,
        fps=round(min(fps, 240.0), 3),
        look=look_at(picture, Image.fromarray(_upright(last))),
        cuts=tuple(cuts.starts),
        has_audio=has_audio,
    )


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """The frame as shown, RGB, [H, W, 3]."""
    turned = np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90)
    return np.ascontiguousarray(turned, dtype=np.uint8)


def _view(frame: VideoFrame) -> NDArray[np.uint8]:
    """A small copy of the frame for finding cuts, BGR, [h, w, 3]; which way is up does not matter there."""
    scale = min(1.0, VIEW_SIDE / max(frame.width, frame.height))
    small = frame.reformat(width=max(2, round(frame.width * scale)), height=max(2, round(frame.height * scale)), format="bgr24")
    return np.ascontiguousarray(small.to_ndarray(), dtype=np.uint8)


def _decoded(path: Path, media_type: str, limits: MediaLimits) -> Iterator[VideoFrame]:
    """Frames of the first video stream, every limit checked before the work it limits; at least one."""
    with _opened(path, media_type) as container:
        if not container.streams.video:
            raise RefusedMediaError(MediaProblem.UNSUPPORTED, "The file has no picture track: upload a clip with pictures.")
        stream = container.streams.video[0]
        _check_stream(container, stream, limits)
        count, pixels = 0, 0
        for frame in container.decode(stream):
            count += 1
            pixels += frame.width * frame.height
            if count > limits.max_clip_frames or pixels > limits.max_clip_pixels:
                raise _too_long(limits)
            yield frame
        if count == 0 or count < stream.frames * _MISSING_FRAMES:
            raise _damaged("clip")


def _check_stream(container: Any, stream: VideoStream, limits: MediaLimits) -> None:
    context = stream.codec_context
    if context.name not in _CODECS:
        raise RefusedMediaError(MediaProblem.UNSUPPORTED, f"The clip's codec {context.name} is not read here: save it as MP4 with H.264.")
    if context.width * context.height > limits.max_frame_pixels:
        raise RefusedMediaError(MediaProblem.TOO_MANY_PIXELS, "The clip's frames are larger than 4K: scale it down.")
    if min(context.width, context.height) < limits.min_side:
        raise _too_small(context.width, context.height, limits)
    seconds = container.duration / 1_000_000 if container.duration else 0.0  # AV_TIME_BASE
    if seconds > limits.max_clip_seconds or stream.frames > limits.max_clip_frames:
        raise _too_long(limits)
    context.thread_count = 1
    context.options = {"max_pixels": str(limits.max_frame_pixels)}  # holds when the size changes inside the stream


@contextmanager
def _opened(path: Path, media_type: str) -> Iterator[Any]:
    """An open container.

    Only the demuxer of the sniffed type runs and it sees one file handle, so a crafted playlist or reference inside
    cannot make FFmpeg open other files or addresses.
    """
    try:
        with path.open("rb") as handle, av.open(handle, mode="r", format=CLIPS[media_type], metadata_errors="ignore") as container:
            yield container
    except RefusedMediaError:
        raise
    except (av.FFmpegError, *_DECODE_ERRORS) as error:
        raise _damaged("clip") from error


def _damaged(what: str) -> RefusedMediaError:
    return RefusedMediaError(MediaProblem.DAMAGED, f"The {what} is damaged or cut off: save it again and upload it again.")


def _too_small(width: int, height: int, limits: MediaLimits) -> RefusedMediaError:
    return RefusedMediaError(
        MediaProblem.TOO_SMALL, f"{width} x {height} pixels is too small: use at least {limits.min_side} pixels per side."
    )


def _too_long(limits: MediaLimits) -> RefusedMediaError:
    return RefusedMediaError(
        MediaProblem.TOO_LONG,
        f"The clip is too long: cut it to {limits.max_clip_seconds:g} seconds and {limits.max_clip_frames} frames at most.",
    )
