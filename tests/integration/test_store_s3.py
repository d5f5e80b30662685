"""`engine.store` against an S3 protocol server (moto) in a process of its own."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import pytest

from engine.contracts.model import StoredObject
from engine.errors import ObjectCorruptError, ObjectMissingError, StoreUnavailableError
from engine.store import CHUNK_BYTES, ObjectStore
from tests.support.object_server import BUCKET, client, free_port, options


def fetched(url: str) -> tuple[bytes, str | None]:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read(), response.headers["Content-Type"]


@pytest.fixture
def store(endpoint: str, request: pytest.FixtureRequest) -> ObjectStore:
    """A store under a prefix of its own."""
    return ObjectStore.open(f"s3://{BUCKET}/{abs(hash(request.node.name))}/inner", s3_options=options(endpoint))


@pytest.mark.parametrize("size", [0, 1000, CHUNK_BYTES * 3 + 17])
async def test_s3_store_keeps_a_file_exactly_when_small_or_multipart(store: ObjectStore, tmp_path: Path, size: int) -> None:
    """One request or a multipart upload: the same bytes come back, verified."""
    source = tmp_path / "source.bin"
    source.write_bytes((bytes(range(251)) * (size // 251 + 1))[:size])
    stored = await store.put_file("jobs/1/out.bin", source, "video/mp4")
    copy = await store.get_file(stored, tmp_path / "copy.bin")
    assert copy.read_bytes() == source.read_bytes()
    assert await store.get_bytes(stored) == source.read_bytes()


async def test_s3_store_lists_below_its_prefix_only_when_the_bucket_is_shared(store: ObjectStore, endpoint: str) -> None:
    """Keys are relative to the URL's prefix; other tenants of the bucket do not show."""
    client(endpoint).put_object(Bucket=BUCKET, Key="elsewhere/x", Body=b"1")
    await store.put_bytes("jobs/1/a", b"1", "text/plain")
    await store.put_bytes("jobs/10/a", b"1", "text/plain")
    assert await store.list("jobs/1") == ["jobs/1/a"]
    assert await store.list("") == ["jobs/1/a", "jobs/10/a"]


async def test_s3_store_exists_and_delete_agree_when_an_object_comes_and_goes(store: ObjectStore) -> None:
    """Deleting twice is as good as once."""
    await store.put_bytes("a/b", b"1", "text/plain")
    assert await store.exists("a/b")
    await store.delete("a/b")
    await store.delete("a/b")
    assert not await store.exists("a/b")


async def test_s3_store_signed_url_serves_content_and_type_when_opened(store: ObjectStore) -> None:
    """Anyone with the link gets the bytes with the media type they were stored under, without credentials."""
    await store.put_bytes("clip.mp4", b"moving", "video/mp4")
    url = await store.signed_url("clip.mp4", 300)
    assert url is not None
    content, media_type = await asyncio.to_thread(fetched, url)
    assert content == b"moving"
    assert media_type == "video/mp4"


async def test_s3_store_raises_by_kind_when_missing_or_changed(store: ObjectStore) -> None:
    """Missing and corrupt are told apart, as with a folder."""
    with pytest.raises(ObjectMissingError):
        await store.get_bytes(StoredObject(key="ghost", sha256="0" * 64, size=1, media_type="text/plain"))
    old = await store.put_bytes("a", b"old", "text/plain")
    await store.put_bytes("a", b"new", "text/plain")
    with pytest.raises(ObjectCorruptError):
        await store.get_bytes(old)


async def test_s3_store_raises_unavailable_when_nobody_listens() -> None:
    """A dead store is noticed within its retry time and is a retryable failure."""
    store = ObjectStore.open(f"s3://{BUCKET}", s3_options=options(f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(StoreUnavailableError) as caught:
        await store.put_bytes("a", b"1", "text/plain")
    assert caught.value.code.retryable


async def test_s3_store_raises_unavailable_when_the_bucket_does_not_exist(endpoint: str) -> None:
    """A wrong bucket name is a store failure, not a crash."""
    store = ObjectStore.open("s3://no-such-bucket", s3_options=options(endpoint))
    with pytest.raises((StoreUnavailableError, ObjectMissingError)):
        await store.put_bytes("a", b"1", "text/plain")
