"""Resume state survives crashes at any moment."""

from __future__ import annotations

from pathlib import Path

import torch

from engine.train.checkpoint import FILENAMES, Checkpoint, load_latest, save


def _checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, "run-1", {"losses": [[1, 0.5]], "waiting": [[3, 1]]}, {"weight.0": torch.full((2, 3), float(step))})


def test_saved_checkpoint_comes_back_whole(tmp_path: Path) -> None:
    """Step, identity, facts and tensors are what was saved; nothing half-written lies about."""
    save(tmp_path, _checkpoint(7))
    found = load_latest(tmp_path)
    assert found is not None
    assert (found.step, found.identity, found.facts) == (7, "run-1", {"losses": [[1, 0.5]], "waiting": [[3, 1]]})
    assert torch.equal(found.tensors["weight.0"], torch.full((2, 3), 7.0))
    assert [path.name for path in tmp_path.iterdir()] == [FILENAMES[0]]


def test_two_files_take_turns(tmp_path: Path) -> None:
    """The newest checkpoint is never overwritten by the next one, and a run leaves two files, not hundreds."""
    paths = [save(tmp_path, _checkpoint(step)) for step in (1, 2, 3)]
    assert [path.name for path in paths] == [FILENAMES[0], FILENAMES[1], FILENAMES[0]]
    found = load_latest(tmp_path)
    assert found is not None
    assert found.step == 3


def test_damaged_newest_falls_back_to_the_one_before(tmp_path: Path) -> None:
    """A file cut off by a crash of the disk or the network costs some steps, not the training."""
    save(tmp_path, _checkpoint(1))
    newest = save(tmp_path, _checkpoint(2))
    newest.write_bytes(newest.read_bytes()[:-4])
    found = load_latest(tmp_path)
    assert found is not None
    assert found.step == 1


def test_without_a_readable_checkpoint_there_is_none(tmp_path: Path) -> None:
    """A missing folder, an interrupted write and a foreign file all mean: begin at the beginning."""
    assert load_latest(tmp_path / "nowhere") is None
    (tmp_path / "checkpoint-a.partial").write_bytes(b"half")
    (tmp_path / FILENAMES[1]).write_bytes(b"\x80\x04pickle")
    assert load_latest(tmp_path) is None
