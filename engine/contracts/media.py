"""What the check of uploaded files says about each of them (`python -m engine.data.ingest check`)."""

from __future__ import annotations

from enum import StrEnum

from engine.contracts.model import Contract, Sha256

MAX_CAPTION_CHARS = 2000
MAX_DATASET_ITEMS = 800
"""Upper bound of what an operator may allow: such a training has to fit into one message, see `wire.MAX_MESSAGE_BYTES`."""


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
    TOO_SHORT = "too_short"  # a clip that shows no motion at the base's rate
    GUIDE_MISSING = "guide_missing"  # an effect of pairs, and no control file of the same name came along
    GUIDE_MISMATCH = "guide_mismatch"  # a control file of another length or kind than what it guides
    CHECK_FAILED = "check_failed"  # the check itself was stopped (time, memory, crash of a decoder)


class MediaNote(StrEnum):
    """A weakness worth telling before training; the file is used all the same."""

    BLURRY = "blurry"
    DARK = "dark"
    BRIGHT = "bright"
    LOW_CONTRAST = "low_contrast"
    NEAR_DUPLICATE = "near_duplicate"  # of an earlier item of the batch
    SMALL = "small"  # fewer pixels than the base trains on
    BORDERS = "borders"  # flat bars at its edges
    TEXT = "text"  # letters burnt into it
    CUTS = "cuts"  # the clip changes its shot; each shot is learned apart


_HASH_BITS = 256
_HASH_DIGITS, _THUMB_DIGITS = _HASH_BITS // 4, 8 * 8 * 3 * 2  # hexadecimal
_NEAR_BITS = 20  # of 256; re-encoding, scaling and brightening change up to 16, another pose of the same drawing at least 28
_NEAR_THUMB = 0.12  # mean difference of 8x8 RGB thumbnails, 0..1


def alike(one: str, other: str) -> bool:
    """True when two fingerprints are of nearly the same picture, or of clips that begin and end nearly the same.

    A fingerprint holds, per picture, a perceptual hash of 256 bits and an 8x8 RGB thumbnail, hexadecimal.
    """
    step = _HASH_DIGITS + _THUMB_DIGITS
    return len(one) == len(other) and all(_near(one[at : at + step], other[at : at + step]) for at in range(0, len(one), step))


def _near(one: str, other: str) -> bool:
    bits = int(one[:_HASH_DIGITS], 16) ^ int(other[:_HASH_DIGITS], 16)
    if bits.bit_count() > _NEAR_BITS:
        return False
    pixels = zip(bytes.fromhex(one[_HASH_DIGITS:]), bytes.fromhex(other[_HASH_DIGITS:]), strict=True)
    return sum(abs(a - b) for a, b in pixels) / (_THUMB_DIGITS / 2) / 255 < _NEAR_THUMB


class GuideRule(StrEnum):
    """What `x_control.mp4` beside `x.mp4` means in an upload."""

    NONE = "none"  # a file like any other
    OPTIONAL = "optional"  # the guide of x; without it, one is computed
    REQUIRED = "required"  # the guide of x; without it, x is of no use


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
    fingerprint: str | None = None  # for `alike`
    has_audio: bool = False
    guides: str | None = None  # file name of the picture or clip this one is the guide of; such a file is no item of its own
    thumb: str | None = None  # path of a small JPEG of it, for the report
    problem: Problem | None = None


class IngestReport(Contract):
    """Verdicts in the order of the upload. A refused zip is one verdict and brings no items."""

    items: tuple[ItemVerdict, ...]

    @property
    def accepted(self) -> tuple[ItemVerdict, ...]:
        """The usable pictures and clips, without their guides."""
        return tuple(item for item in self.items if item.problem is None and item.guides is None)

    def guide_of(self, item: ItemVerdict) -> ItemVerdict | None:
        """The usable guide that came with `item`."""
        mine = (guide for guide in self.items if guide.problem is None and guide.guides == item.filename and guide.archive == item.archive)
        return next(mine, None)

    @property
    def refused(self) -> tuple[ItemVerdict, ...]:
        """What is not used, each with its problem."""
        return tuple(item for item in self.items if item.problem is not None)
