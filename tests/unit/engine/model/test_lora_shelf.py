"""LoRA files kept in host memory: read once, by content, within a bound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.contracts.bases import TINY
from engine.errors import AdapterMissingError
from engine.model import lora_weights
from engine.model.adapters import save_lora
from engine.model.lora_weights import LoraShelf
from tests.support.contracts import manifest


def write_lora(path: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    pair = (torch.randn(4, 192, generator=generator), torch.randn(192, 4, generator=generator))
    save_lora(path, {"transformer_blocks.0.attn1.to_q": pair}, manifest(rank=4), torch.float32)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files whose weights were read, in order."""
    seen: list[str] = []
    read = lora_weights.read_lora

    def reading(path: Path, profile: object) -> object:
        seen.append(path.name)
        return read(path, profile)  # type: ignore[arg-type]

    monkeypatch.setattr(lora_weights, "read_lora", reading)
    return seen


def test_shelf_reads_a_file_once_whatever_it_is_called(tmp_path: Path, reads: list[str]) -> None:
    """The same content under another name, as another job links it, is the same LoRA."""
    shelf, first = LoraShelf(), write_lora(tmp_path / "a.safetensors", 1)
    link = tmp_path / "b.safetensors"
    link.hardlink_to(first)
    assert shelf.get(first, TINY) is shelf.get(link, TINY)
    assert reads == ["a.safetensors"]


def test_shelf_sees_that_a_file_has_changed(tmp_path: Path, reads: list[str]) -> None:
    """A path is no identity."""
    shelf, path = LoraShelf(), write_lora(tmp_path / "a.safetensors", 1)
    before = shelf.get(path, TINY)
    write_lora(path, 2)
    assert shelf.get(path, TINY).sha256 != before.sha256
    assert reads == ["a.safetensors"] * 2


def test_shelf_puts_the_least_used_away_when_it_is_full(tmp_path: Path, reads: list[str]) -> None:
    """Bounded by bytes; the newest stays even when it alone is too large."""
    paths = [write_lora(tmp_path / f"{index}.safetensors", index) for index in range(3)]
    size = LoraShelf().get(paths[0], TINY).nbytes
    shelf = LoraShelf(max_bytes=2 * size)
    for path in (paths[0], paths[1], paths[0], paths[2]):
        shelf.get(path, TINY)
    assert [shelf.sha256(path) in shelf for path in paths] == [True, False, True]
    assert shelf.sha256(paths[1]) not in shelf
    small = LoraShelf(max_bytes=1)
    assert small.get(paths[0], TINY).sha256 in small


def test_shelf_has_what_was_fetched_ahead(tmp_path: Path, reads: list[str]) -> None:
    """Read in the background; what cannot be read says so when it is wanted."""
    shelf, path = LoraShelf(), write_lora(tmp_path / "a.safetensors", 1)
    shelf.prefetch([path, tmp_path / "gone.safetensors"], TINY)
    shelf.settle()
    assert reads == ["a.safetensors"]
    shelf.get(path, TINY)
    assert reads == ["a.safetensors"]
    with pytest.raises(AdapterMissingError):
        shelf.get(tmp_path / "gone.safetensors", TINY)
