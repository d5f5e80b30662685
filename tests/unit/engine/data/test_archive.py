"""`engine.data.archive`: strangers' zips."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contracts.media import MediaProblem
from engine.data.archive import ArchiveLimits, member_name, unpack
from engine.data.media import RefusedMediaError
from tests.support.media import picture_bytes, write_zip, write_zip_with_mode

PICTURE = picture_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where entries are unpacked to."""
    path = tmp_path / "unpacked"
    path.mkdir()
    return path


def refusal(archive: Path, folder: Path, limits: ArchiveLimits | None = None) -> MediaProblem:
    with pytest.raises(RefusedMediaError) as caught:
        unpack(archive, folder, limits or ArchiveLimits())
    return caught.value.problem.code


def test_unpack_returns_files_with_names_and_bytes_when_the_zip_is_plain(tmp_path: Path, folder: Path) -> None:
    """Folders, hidden files and system litter are left out; the rest keeps order, name and content."""
    entries = {"set/": b"", "set/a.png": PICTURE, "set/a.txt": b"caption", "__MACOSX/._a.png": b"x", ".DS_Store": b"x", "Thumbs.db": b"x"}
    members = unpack(write_zip(tmp_path / "a.zip", entries), folder)
    assert [(member.name, member.path.read_bytes()) for member in members] == [("set/a.png", PICTURE), ("set/a.txt", b"caption")]


@pytest.mark.parametrize(
    "name", ["../a.png", "a/../../b.png", "/etc/a.png", "..\\a.png", "C:\\a.png", "c:a.png", "a\nb.png", "//x/a.png", ".."]
)
def test_unpack_refuses_the_zip_when_a_name_leaves_the_folder(tmp_path: Path, folder: Path, name: str) -> None:
    """One such name is enough, and nothing at all is written."""
    archive = write_zip(tmp_path / "a.zip", {"good.png": PICTURE, name: PICTURE})
    assert refusal(archive, folder) is MediaProblem.ARCHIVE_UNSAFE_PATH
    assert list(folder.iterdir()) == []


def test_unpack_refuses_the_zip_when_a_name_hides_behind_a_zero_byte(tmp_path: Path, folder: Path) -> None:
    """`zipfile` cuts names at NUL; the name as stored is what is judged."""
    archive = write_zip(tmp_path / "a.zip", {"a.png#../../x": PICTURE})
    archive.write_bytes(archive.read_bytes().replace(b"a.png#", b"a.png\0"))
    assert refusal(archive, folder) is MediaProblem.ARCHIVE_UNSAFE_PATH


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_unpack_refuses_the_zip_when_an_entry_is_no_plain_file(tmp_path: Path, folder: Path, kind: int) -> None:
    """Links, pipes and devices have no place in a set of pictures."""
    archive = write_zip_with_mode(tmp_path / "a.zip", "a.png", b"/etc/passwd", kind | 0o777)
    assert refusal(archive, folder) is MediaProblem.ARCHIVE_UNSAFE_PATH


def test_unpack_refuses_the_zip_when_an_archive_is_inside_by_name_or_by_content(tmp_path: Path, folder: Path) -> None:
    """Renaming the inner zip to .png does not help it."""
    inner = write_zip(tmp_path / "inner.zip", {"a.png": PICTURE}).read_bytes()
    by_name = write_zip(tmp_path / "1.zip", {"a.png": PICTURE, "more.zip": inner})
    by_content = write_zip(tmp_path / "2.zip", {"a.png": inner})
    assert refusal(by_name, folder) is MediaProblem.ARCHIVE_NESTED
    assert refusal(by_content, folder) is MediaProblem.ARCHIVE_NESTED


def test_unpack_refuses_a_bomb_when_an_entry_shrinks_too_well(tmp_path: Path, folder: Path) -> None:
    """Fifty megabytes of zeros in fifty kilobytes are refused before a byte is unpacked."""
    archive = write_zip(tmp_path / "a.zip", {"a.png": b"\0" * 50_000_000})
    assert archive.stat().st_size < 100_000
    assert refusal(archive, folder) is MediaProblem.ARCHIVE_BOMB
    assert list(folder.iterdir()) == []


def test_unpack_refuses_a_bomb_when_entries_add_up(tmp_path: Path, folder: Path) -> None:
    """Each entry may be fine and the sum too much."""
    archive = write_zip(tmp_path / "a.zip", {f"{n}.png": bytes(range(256)) * 40 for n in range(20)}, compression=zipfile.ZIP_STORED)
    assert refusal(archive, folder, ArchiveLimits(max_unpacked_bytes=100_000)) is MediaProblem.ARCHIVE_BOMB


def test_unpack_writes_no_more_than_declared_when_the_directory_lies(tmp_path: Path, folder: Path) -> None:
    """A header that claims ten bytes for a megabyte does not get its megabyte onto the disk."""
    archive = write_zip(tmp_path / "a.zip", {"a.png": b"\0" * 1_000_000})
    lie = (10).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace((1_000_000).to_bytes(4, "little"), lie))
    assert refusal(archive, folder) is MediaProblem.ARCHIVE_DAMAGED
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 1_000


def test_unpack_refuses_when_there_are_too_many_entries(tmp_path: Path, folder: Path) -> None:
    """The limit is read from the end record, before the directory is."""
    archive = write_zip(tmp_path / "a.zip", {f"{n}.txt": b"" for n in range(11)})
    assert refusal(archive, folder, ArchiveLimits(max_entries=10)) is MediaProblem.ARCHIVE_TOO_MANY
    assert len(unpack(archive, folder, ArchiveLimits(max_entries=11))) == 11


def test_unpack_refuses_when_a_password_is_needed(tmp_path: Path, folder: Path) -> None:
    """Encrypted entries are told by their flag."""
    archive = write_zip(tmp_path / "a.zip", {"a.png": PICTURE})
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    assert refusal(archive, folder) is MediaProblem.ARCHIVE_ENCRYPTED


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_unpack_refuses_when_the_zip_is_damaged_or_has_nothing_in_it(tmp_path: Path, folder: Path, damage: str) -> None:
    """Cut off, changed inside, or without files: each has its code."""
    archive = write_zip(tmp_path / "a.zip", {} if damage == "empty" else {"a.png": PICTURE})
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "noise":
        data[60:90] = b"x" * 30
    archive.write_bytes(data)
    assert refusal(archive, folder) is (MediaProblem.ARCHIVE_EMPTY if damage == "empty" else MediaProblem.ARCHIVE_DAMAGED)


parts = st.sampled_from(["a", "b.png", ".", "..", "/", "\\", ":", "~", " ", "\0", "\n", "é", "/../", "C:"])
names = st.lists(parts, min_size=1, max_size=8).map("".join)


@given(name=names)
def test_member_name_is_relative_and_stays_inside_whatever_the_entry_is_called(name: str) -> None:
    """Property: a name is refused, or it is relative without `..`, drive or control characters."""
    try:
        clean = member_name(name)
    except RefusedMediaError:
        return
    path = PurePosixPath(clean)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert (Path("/root") / clean).resolve().is_relative_to("/root")
    assert not any(ord(character) < 32 for character in clean)


@settings(max_examples=60, deadline=None)
@given(entries=st.dictionaries(names.filter(lambda name: "\0" not in name), st.binary(max_size=64), min_size=1, max_size=4))
def test_unpack_never_writes_outside_its_folder_whatever_the_names(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, bytes]
) -> None:
    """Property: whatever a zip is made of, only the given folder changes, and only flat files of our naming appear in it."""
    root = tmp_path_factory.mktemp("root")
    inside = root / "inside"
    inside.mkdir()
    archive = write_zip(root / "a.zip", entries)
    try:
        members = unpack(archive, inside)
    except RefusedMediaError:
        members = []
    assert sorted(path.name for path in root.iterdir()) == ["a.zip", "inside"]
    assert all(path.is_file() and path.suffix == ".bin" for path in inside.iterdir())
    assert all(member.path.parent == inside for member in members)
