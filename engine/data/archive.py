"""Unpacks a stranger's zip: the whole archive is judged from its directory before one byte of content is written.

Names inside never become paths on disk (entries are written as `0000.bin`, `0001.bin`, …), so traversal is impossible by
construction; an archive that tries it is refused all the same, because nothing good was meant by it. Torch-free.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.contracts.media import MediaProblem
from engine.data.media import ARCHIVES, HEAD_BYTES, RefusedMediaError, sniff

_NESTED_SUFFIXES = frozenset({".zip", ".7z", ".rar", ".gz", ".tgz", ".tar", ".xz", ".bz2", ".zst", ".cbz", ".jar"})
_JUNK_NAMES = frozenset({"thumbs.db", "desktop.ini"})
_CHUNK_BYTES = 1024 * 1024
_END_RECORD = struct.Struct("<4s4H2LH")
_END_SEARCH_BYTES = _END_RECORD.size + 0xFFFF
_DIRECTORY_BYTES_PER_ENTRY = 2048
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"^[A-Za-z]:")


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may hold."""

    max_entries: int = 1000
    max_unpacked_bytes: int = 1024 * 1024 * 1024
    max_entry_bytes: int = 200 * 1024 * 1024
    max_ratio: int = 100  # unpacked to packed; pictures and clips hardly shrink
    ratio_free_bytes: int = 1024 * 1024  # entries up to this size may shrink as they like (captions do)


LIMITS = ArchiveLimits()


@dataclass(frozen=True)
class Member:
    """One unpacked entry: its name inside the archive, for messages and pairing, and where its bytes lie."""

    name: str
    path: Path


def member_name(raw: str) -> str:
    """The entry's name as a clean relative POSIX path.

    Raises:
        RefusedMediaError: The name is absolute, climbs with `..`, names a drive or has control characters.
    """
    name = raw.replace("\\", "/")  # what older Windows tools write
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or _DRIVE.match(name) or _CONTROL.search(name):
        raise _unsafe(raw)
    return "/".join(parts)


def unpack(archive: Path, folder: Path, limits: ArchiveLimits = LIMITS) -> list[Member]:
    """Write every file of `archive` into `folder` (which exists) and return them in the archive's order.

    Folders, hidden files and the litter of macOS and Windows are left out. On an error `folder` may hold some entries:
    the caller throws it away.

    Raises:
        RefusedMediaError: The archive as a whole is refused; the code says why.
        OSError: The disk is full or not writable.
    """
    _check_end_record(archive, limits)
    with _opened(archive) as source:
        chosen = _judge(source.infolist(), limits)
        members = []
        for index, (name, info) in enumerate(chosen):
            path = folder / f"{index:04d}.bin"
            _write(source, info, path)
            with path.open("rb") as handle:
                if sniff(handle.read(HEAD_BYTES)) in ARCHIVES:
                    raise _nested(name)
            members.append(Member(name, path))
    return members


def _judge(entries: list[zipfile.ZipInfo], limits: ArchiveLimits) -> list[tuple[str, zipfile.ZipInfo]]:
    """Refuse the archive, or say which entries to unpack under which name."""
    if len(entries) > limits.max_entries:
        raise _too_many(limits)
    chosen = []
    for info in entries:
        name = member_name(info.orig_filename)
        if _is_special(info):
            raise _unsafe(name)
        if info.is_dir() or _is_junk(name):
            continue
        if info.flag_bits & 0x1:
            raise RefusedMediaError(MediaProblem.ARCHIVE_ENCRYPTED, "The zip asks for a password: pack it again without one.")
        if PurePosixPath(name).suffix.lower() in _NESTED_SUFFIXES:
            raise _nested(name)
        chosen.append((name, info))
    _check_sizes([info for _, info in chosen], limits)
    if not chosen:
        raise RefusedMediaError(MediaProblem.ARCHIVE_EMPTY, "The zip has no files in it: pack the pictures or clips themselves.")
    return chosen


def _check_sizes(entries: list[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    """Refuse bombs by what the directory declares; `zipfile` never yields more than that of an entry."""
    bomb = RefusedMediaError(MediaProblem.ARCHIVE_BOMB, "The zip unpacks to far more than it should: pack only pictures and clips.")
    if sum(info.file_size for info in entries) > limits.max_unpacked_bytes:
        raise bomb
    for info in entries:
        packed = max(info.compress_size, 1)
        if info.file_size > limits.max_entry_bytes:
            raise bomb
        if info.file_size > limits.ratio_free_bytes and info.file_size > packed * limits.max_ratio:
            raise bomb


def _check_end_record(archive: Path, limits: ArchiveLimits) -> None:
    """Refuse an archive with a giant directory before `zipfile` reads all of it into memory."""
    with archive.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(0, size - _END_SEARCH_BYTES))
        tail = handle.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END_RECORD.size:
        raise _damaged()
    _, _, _, _, count, directory_bytes, _, _ = _END_RECORD.unpack_from(tail, at)
    if count > limits.max_entries or directory_bytes > limits.max_entries * _DIRECTORY_BYTES_PER_ENTRY:
        raise _too_many(limits)


def _write(source: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    with source.open(info) as content, path.open("wb") as target:
        while chunk := content.read(_CHUNK_BYTES):
            target.write(chunk)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as source:
            yield source
    except RefusedMediaError:
        raise
    # NotImplementedError: compression methods other than stored, deflate, bzip2, LZMA; RuntimeError: encryption
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, LookupError, NotImplementedError, RuntimeError) as error:
        raise _damaged() from error


def _is_special(info: zipfile.ZipInfo) -> bool:
    """True for links, devices and pipes (the Unix mode sits in the upper half of the external attributes)."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


def _is_junk(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[-1].lower() in _JUNK_NAMES or any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _damaged() -> RefusedMediaError:
    return RefusedMediaError(MediaProblem.ARCHIVE_DAMAGED, "The zip cannot be read: pack it again as an ordinary zip.")


def _unsafe(name: str) -> RefusedMediaError:
    shown = _CONTROL.sub("?", name)[:80]
    return RefusedMediaError(
        MediaProblem.ARCHIVE_UNSAFE_PATH, f"The zip holds a link or a path that leaves its folder ({shown!r}): pack plain files only."
    )


def _nested(name: str) -> RefusedMediaError:
    return RefusedMediaError(
        MediaProblem.ARCHIVE_NESTED, f"The zip holds another archive ({name[:80]!r}): pack the pictures or clips themselves."
    )


def _too_many(limits: ArchiveLimits) -> RefusedMediaError:
    return RefusedMediaError(
        MediaProblem.ARCHIVE_TOO_MANY, f"The zip has more than {limits.max_entries} files: split it or leave out what is not needed."
    )
