"""`engine.store` on a local folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contracts.model import StoredObject
from engine.errors import InvalidConfigError, ObjectCorruptError, ObjectMissingError, StoreError
from engine.store import CHUNK_BYTES, ObjectStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store folder"


@pytest.fixture
def store(root: Path) -> ObjectStore:
    return ObjectStore.open(root.as_uri())


async def test_store_returns_what_was_put_when_asked_by_reference(store: ObjectStore) -> None:
    """`get_bytes(put_bytes(x)) == x`, and the reference carries hash, size and media type."""
    stored = await store.put_bytes("uploads/7/a.png", b"content", "image/png")
    assert stored == StoredObject(key="uploads/7/a.png", sha256=hashlib.sha256(b"content").hexdigest(), size=7, media_type="image/png")
    assert await store.get_bytes(stored) == b"content"


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES * 2 + 5])
async def test_store_keeps_a_file_exactly_when_it_is_of_any_size(store: ObjectStore, tmp_path: Path, size: int) -> None:
    """`put_file` then `get_file` copies byte for byte around every chunk border."""
    source = tmp_path / "source.bin"
    source.write_bytes(bytes(i * 31 % 251 for i in range(1000)) * (size // 1000 + 1))
    with source.open("r+b") as handle:
        handle.truncate(size)
    stored = await store.put_file("jobs/1/out.bin", source, "application/octet-stream")
    copy = await store.get_file(stored, tmp_path / "new" / "copy.bin")
    assert stored.size == size
    assert copy.read_bytes() == source.read_bytes()
    assert [p.name for p in copy.parent.iterdir()] == ["copy.bin"]


async def test_store_replaces_the_content_when_a_key_is_put_again(store: ObjectStore) -> None:
    """The last write wins and the old reference no longer verifies."""
    old = await store.put_bytes("a/b", b"old", "text/plain")
    new = await store.put_bytes("a/b", b"new", "text/plain")
    assert await store.get_bytes(new) == b"new"
    with pytest.raises(ObjectCorruptError):
        await store.get_bytes(old)


async def test_store_raises_object_missing_when_nothing_is_under_the_key(store: ObjectStore, tmp_path: Path) -> None:
    """A missing object is a StoreError and leaves no local file behind."""
    ghost = StoredObject(key="no/such", sha256="0" * 64, size=3, media_type="text/plain")
    with pytest.raises(ObjectMissingError) as caught:
        await store.get_file(ghost, tmp_path / "out" / "x")
    assert isinstance(caught.value, StoreError)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("damage", [b"conteNt", b"content and more", b""])
async def test_store_raises_object_corrupt_when_the_content_was_changed(
    store: ObjectStore, root: Path, tmp_path: Path, damage: bytes
) -> None:
    """A flipped byte, an appended one and an emptied file are all noticed, and nothing is published locally."""
    stored = await store.put_bytes("a/b.txt", b"content", "text/plain")
    (root / "a" / "b.txt").write_bytes(damage)
    with pytest.raises(ObjectCorruptError):
        await store.get_bytes(stored)
    with pytest.raises(ObjectCorruptError):
        await store.get_file(stored, tmp_path / "out" / "b.txt")
    assert list((tmp_path / "out").iterdir()) == []


async def test_store_refuses_to_load_into_memory_when_the_object_is_too_large(store: ObjectStore) -> None:
    """`max_bytes` holds before anything is read."""
    stored = await store.put_bytes("a", b"x" * 11, "text/plain")
    with pytest.raises(ObjectCorruptError):
        await store.get_bytes(stored, max_bytes=10)


async def test_store_exists_and_delete_agree_when_an_object_comes_and_goes(store: ObjectStore) -> None:
    """Deleting twice is as good as once."""
    await store.put_bytes("a/b", b"1", "text/plain")
    assert await store.exists("a/b")
    await store.delete("a/b")
    await store.delete("a/b")
    assert not await store.exists("a/b")


async def test_store_list_matches_whole_key_parts_when_prefixes_overlap(store: ObjectStore) -> None:
    """`jobs/1` lists its own keys and not those of `jobs/10`."""
    for key in ("jobs/1/b", "jobs/1/a", "jobs/10/a", "loras/x"):
        await store.put_bytes(key, b"", "text/plain")
    assert await store.list("jobs/1") == ["jobs/1/a", "jobs/1/b"]
    assert await store.list("jobs/1/") == ["jobs/1/a", "jobs/1/b"]
    assert await store.list("") == ["jobs/1/a", "jobs/1/b", "jobs/10/a", "loras/x"]
    assert await store.list("none") == []


async def test_store_signs_no_url_when_it_is_a_folder(store: ObjectStore) -> None:
    """A folder has no server, so there is no link to give."""
    await store.put_bytes("a", b"1", "text/plain")
    assert await store.signed_url("a", 60) is None


@pytest.mark.parametrize("key", ["../up", "/abs", "a//b", "a/../b", "a/", "", "a\\b", "a\nb", "a/.hidden", "x" * 513, "ä"])
async def test_store_refuses_a_key_when_it_could_leave_the_folder(store: ObjectStore, key: str) -> None:
    """No method accepts a key outside the pattern."""
    with pytest.raises(ValueError, match="store key"):
        await store.put_bytes(key, b"x", "text/plain")
    with pytest.raises(ValueError, match="store key"):
        await store.exists(key)
    with pytest.raises(ValueError, match="store key"):
        await store.delete(key)


@given(key=st.text(alphabet="ab./\\~\0 %:", max_size=12))
async def test_store_writes_below_its_folder_whatever_the_key(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    """Property: a key is refused, or its file lies below the root."""
    root = tmp_path_factory.mktemp("root")
    store = ObjectStore.open((root / "in").as_uri())
    try:
        await store.put_bytes(key, b"x", "text/plain")
    except ValueError:
        assert list((root / "in").iterdir()) == []
    else:
        assert (root / "in" / key).read_bytes() == b"x"
    assert [p.name for p in root.iterdir()] == ["in"]


@pytest.mark.parametrize("url", ["", "folder", "file://relative", "http://host/x", "s3://", "s3:bucket", "file:///x?y=1", "ftp://x/y"])
def test_store_open_refuses_when_the_url_is_not_a_store(url: str) -> None:
    """One sentence names the two forms that work."""
    with pytest.raises(InvalidConfigError):
        ObjectStore.open(url)
