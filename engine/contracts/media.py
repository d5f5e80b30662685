"""What the check of uploaded files says about each of them (`python -m engine.data.ingest check`)."""

from __future__ import annotations

from enum import StrEnum

from engine.contracts.model import Contract, Sha256

MAX_CAPTION_CHARS = 2000


class MediaProblem(StrEnum):
    """Why a file is not used; never renamed, only added to."""

    EMPTY = "empty"  # no bytes
    NOT_MEDIA = "not_media"  # the content is no picture, clip or zip, whatever the name says
    UNSUPPORTED = "unsupported"  # a picture, clip or archive of a kind we do not read (GIF, HEIC, AVI, RAR, …)
    DAMAGED = "damaged"  # truncated, or it does not decode
    TOO_LARGE = "too_large"  # bytes
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"  # pixels per side
    TOO_LONG = "too_long"  # seconds or frames
    SINGLE_FRAME = "single_frame"  # where something has to move
    VARIABLE_RATE = "variable_rate"  # frames at uneven times, where the rate matters
    NO_VIDEO = "no_video"  # a picture or sound where a clip is needed
    DUPLICATE = "duplicate"  # the same bytes as an earlier file of the batch
    CAPTION_UNREADABLE = "caption_unreadable"  # a .txt that is not UTF-8 text or is too long
    CAPTION_ORPHAN = "caption_orphan"  # a .txt without a picture or clip of the same name
    ARCHIVE_DAMAGED = "archive_damaged"
    ARCHIVE_EMPTY = "archive_empty"  # no picture or clip inside
    ARCHIVE_ENCRYPTED = "archive_encrypted"
    ARCHIVE_NESTED = "archive_nested"  # an archive inside the archive
    ARCHIVE_UNSAFE_PATH = "archive_unsafe_path"  # `..`, an absolute path, a link
    ARCHIVE_BOMB = "archive_bomb"  # unpacks to far more than it should
    ARCHIVE_TOO_MANY = "archive_too_many"  # entries
    CHECK_FAILED = "check_failed"  # the check itself was stopped (time, memory, crash of a decoder)


class MediaNote(StrEnum):
    """A weakness worth telling before training; the file is used all the same."""

    BLURRY = "blurry"
    DARK = "dark"
    BRIGHT = "bright"
    LOW_CONTRAST = "low_contrast"
    NEAR_DUPLICATE = "near_duplicate"  # of an earlier item of the batch
    SMALL = "small"  # fewer pixels than the base trains on


class Problem(Contract):
    """A code for programs and one sentence for the shell and for operators."""

    code: MediaProblem
    detail: str


class ItemVerdict(Contract):
    """One file of an upload, or one entry of a zip. Usable if and only if `problem` is None."""

    filename: str  # as uploaded (zip entries: path inside the zip), for messages only; never a path to open
    archive: str | None = None  # name of the zip it came in
    path: str | None = None  # where the accepted bytes lie now; None when refused
    media_type: str | None = None  # by content
    sha256: Sha256 | None = None
    size: int = 0  # bytes
    width: int | None = None  # as shown: after EXIF orientation or clip rotation
    height: int | None = None
    num_frames: int | None = None  # 1 for a picture
    fps: float | None = None  # None for a picture
    caption: str | None = None
    notes: tuple[MediaNote, ...] = ()
    problem: Problem | None = None


class IngestReport(Contract):
    """Verdicts in the order of the upload. A refused zip is one verdict and brings no items."""

    items: tuple[ItemVerdict, ...]

    @property
    def accepted(self) -> tuple[ItemVerdict, ...]:
        """The usable pictures and clips."""
        return tuple(item for item in self.items if item.problem is None)

    @property
    def refused(self) -> tuple[ItemVerdict, ...]:
        """What is not used, each with its problem."""
        return tuple(item for item in self.items if item.problem is not None)
