"""Local files of a worker and checkpoints in the store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.contracts import objects
from engine.contracts.model import StoredObject
from engine.errors import ObjectMissingError
from engine.store import ObjectStore
from tests.support.contracts import JOB_ID
from worker.files import Checkpoints, HomeInUseError, Scratch, locked_home


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """An empty local store."""
    return ObjectStore.open((tmp_path / "store").as_uri())


async def test_fetch_returns_local_copies_in_order(store: ObjectStore, tmp_path: Path) -> None:
    """The same object twice is downloaded once and given twice."""
    one, two = await _put(store, "a", "one"), await _put(store, "b", "two")
    paths = await Scratch(tmp_path / "home", store, 1000).fetch([two, one, two], tmp_path / "job")
    assert [path.read_text() for path in paths] == ["two", "one", "two"]
    assert all(path.suffix == ".png" for path in paths)


async def test_fetch_uses_the_cache_when_the_object_was_fetched_before(store: ObjectStore, tmp_path: Path) -> None:
    """A LoRA that every clip uses is downloaded once."""
    obj = await _put(store, "a", "one")
    scratch = Scratch(tmp_path / "home", store, 1000)
    await scratch.fetch([obj], tmp_path / "first")
    await store.delete(obj.key)
    assert (await scratch.fetch([obj], tmp_path / "second"))[0].read_text() == "one"


async def test_cache_forgets_the_oldest_file_and_takes_nothing_from_a_job(store: ObjectStore, tmp_path: Path) -> None:
    """Disk use is bounded; a job keeps what it was given."""
    scratch = Scratch(tmp_path / "home", store, cache_bytes=5)
    (first,) = await scratch.fetch([await _put(store, "a", "one")], tmp_path / "first")
    await scratch.fetch([await _put(store, "b", "two")], tmp_path / "second")
    assert len(list((tmp_path / "home" / "cache").iterdir())) == 1
    assert first.read_text() == "one"


async def test_features_share_the_caches_limit_and_outlive_their_job(store: ObjectStore, tmp_path: Path) -> None:
    """What one training computed is there for the next one until something newer needs the room."""
    scratch = Scratch(tmp_path / "home", store, cache_bytes=5)
    async with scratch.job_folder(JOB_ID, 1):
        (scratch.features / "latents").write_text("abc")
    assert (scratch.features / "latents").exists()
    os.utime(scratch.features / "latents", (0, 0))
    await scratch.fetch([await _put(store, "a", "one")], tmp_path / "job")
    assert not (scratch.features / "latents").exists()


async def test_cache_is_given_up_before_jobs_are(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room counts without what is kept for reuse; and it is not asked for at every look at the queue."""
    scratch = Scratch(tmp_path / "home", store, 1000, least_free_bytes=10)
    await scratch.fetch([await _put(store, "a", "one")], tmp_path / "first")
    cache = tmp_path / "home" / "cache"
    monkeypatch.setattr(scratch, "_free", lambda: 5 if any(cache.iterdir()) else 10)
    assert scratch.has_room
    assert not any(cache.iterdir())
    monkeypatch.setattr(scratch, "_free", lambda: 9)
    assert scratch.has_room
    monkeypatch.setattr(scratch, "_look_at", 0.0)
    assert not scratch.has_room


async def test_nothing_is_kept_of_somebody_who_was_forgotten_while_the_worker_was_down(store: ObjectStore, tmp_path: Path) -> None:
    """Each time once: what came into the cache afterwards stays."""
    obj = await _put(store, "a", "one")
    cache = tmp_path / "home" / "cache"
    before = Scratch(tmp_path / "home", store, 1000)
    before.obey("monday")
    await before.fetch([obj], tmp_path / "first")
    before.obey("monday")
    assert any(cache.iterdir())
    after = Scratch(tmp_path / "home", store, 1000)
    after.obey("tuesday")
    assert not any(cache.iterdir())
    await after.fetch([obj], tmp_path / "second")
    Scratch(tmp_path / "home", store, 1000).obey("tuesday")
    assert any(cache.iterdir())


async def test_fetch_fails_when_an_object_is_gone(store: ObjectStore, tmp_path: Path) -> None:
    """The error carries its own code."""
    obj = await _put(store, "a", "one")
    await store.delete(obj.key)
    with pytest.raises(ObjectMissingError):
        await Scratch(tmp_path / "home", store, 1000).fetch([obj], tmp_path / "job")


async def test_job_folder_is_deleted_when_the_try_is_over(store: ObjectStore, tmp_path: Path) -> None:
    """Nothing of a job stays on the disk."""
    async with Scratch(tmp_path / "home", store, 1000).job_folder(JOB_ID, 1) as folder:
        (folder / "x").write_text("x")
    assert not folder.exists()


def test_home_belongs_to_one_process_and_starts_clean(tmp_path: Path) -> None:
    """A second owner is refused; leftovers of a killed one are deleted, its cache is kept."""
    home = tmp_path / "w1"
    (home / "jobs" / "old").mkdir(parents=True)
    (home / "cache").mkdir()
    (home / "cache" / "file").write_text("kept")
    with locked_home(home):
        assert not (home / "jobs").exists()
        assert (home / "cache" / "file").exists()
        with pytest.raises(HomeInUseError, match="CALLSHEET_WORKER_ID"), locked_home(home):
            pass
    with locked_home(home):
        pass


async def test_checkpoint_comes_back_as_it_was_saved(store: ObjectStore, tmp_path: Path) -> None:
    """Names, content and step."""
    checkpoints = Checkpoints(store)
    await checkpoints.save(JOB_ID, 1, 40, _files(tmp_path, "state.safetensors", "facts.json"))
    assert await checkpoints.restore(JOB_ID, tmp_path / "run") == 40
    assert {path.name: path.read_text() for path in (tmp_path / "run").iterdir()} == {
        "state.safetensors": "state.safetensors",
        "facts.json": "facts.json",
    }


async def test_only_the_newest_checkpoint_is_kept(store: ObjectStore, tmp_path: Path) -> None:
    """The store does not fill up with states nobody will read."""
    checkpoints = Checkpoints(store)
    for attempt, step in ((1, 40), (1, 80), (2, 120)):
        await checkpoints.save(JOB_ID, attempt, step, _files(tmp_path, "state.safetensors"))
    assert len(await store.list("checkpoints")) == 2  # the file and its index
    assert await checkpoints.restore(JOB_ID, tmp_path / "run") == 120


async def test_half_uploaded_checkpoint_is_invisible(store: ObjectStore, tmp_path: Path) -> None:
    """A worker that died while it uploaded leaves the state before in force."""
    checkpoints = Checkpoints(store)
    await checkpoints.save(JOB_ID, 1, 40, _files(tmp_path, "state.safetensors"))
    await store.put_bytes(f"checkpoints/{JOB_ID}/000080-1-state.safetensors", b"half", "application/octet-stream")
    assert await checkpoints.restore(JOB_ID, tmp_path / "run") == 40


async def test_damaged_checkpoint_is_passed_over(store: ObjectStore, tmp_path: Path) -> None:
    """Training starts anew rather than from rubbish."""
    checkpoints = Checkpoints(store)
    await checkpoints.save(JOB_ID, 1, 40, _files(tmp_path, "state.safetensors"))
    await store.put_bytes(f"checkpoints/{JOB_ID}/000040-1-state.safetensors", b"damaged", "application/octet-stream")
    assert await checkpoints.restore(JOB_ID, tmp_path / "run") is None
    assert not (tmp_path / "run").exists()


async def test_dropped_checkpoints_are_gone(store: ObjectStore, tmp_path: Path) -> None:
    """A job that is over leaves no state."""
    checkpoints = Checkpoints(store)
    await checkpoints.save(JOB_ID, 1, 40, _files(tmp_path, "state.safetensors"))
    await checkpoints.drop(JOB_ID)
    assert await store.list("checkpoints") == []
    assert await checkpoints.restore(JOB_ID, tmp_path / "run") is None


async def test_features_are_kept_beside_checkpoints_and_dropped_alike(store: ObjectStore, tmp_path: Path) -> None:
    """Another try finds what the first one computed of its set; neither kind of state touches the other."""
    checkpoints, features = Checkpoints(store), Checkpoints(store, objects.features_key)
    await checkpoints.save(JOB_ID, 1, 40, _files(tmp_path, "state.safetensors"))
    await features.save(JOB_ID, 1, 0, _files(tmp_path, "latents-1.safetensors", "text-2.safetensors"))
    assert await features.restore(JOB_ID, tmp_path / "cache") == 0
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"latents-1.safetensors", "text-2.safetensors"}
    await features.drop(JOB_ID)
    assert await store.list("features") == []
    assert await checkpoints.restore(JOB_ID, tmp_path / "run") == 40


async def _put(store: ObjectStore, name: str, text: str) -> StoredObject:
    return await store.put_bytes(f"uploads/1/{name}.png", text.encode(), "image/png")


def _files(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_text(name)
    return [folder / name for name in names]
