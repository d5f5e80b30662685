"""Bringing LoRAs of other tools in: every dialect becomes the same file, and nothing gets in that cannot be used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from engine.contracts.bases import TINY
from engine.contracts.lora import LoraKind
from engine.contracts.lora_facts import LoraDialect, LoraImport, LoraProblem
from engine.data.lora_import import import_lora
from engine.errors import AdapterIncompatibleError, AdapterInvalidError, DeadAdapterError
from engine.lora_file import inspect_lora_header
from engine.model.adapters import read_lora, save_lora
from tests.support.contracts import manifest

MODULES = ("transformer_blocks.0.attn1.to_q", "transformer_blocks.5.attn2.to_out.0", "transformer_blocks.1.ff.net.0.proj")
WIDTH = TINY.transformer.width


def _weights(dtype: torch.dtype = torch.float32, rank: int = 4) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    sizes = {module: (WIDTH, 4 * WIDTH if "net.0" in module else WIDTH) for module in MODULES}
    return {
        module: (torch.randn(rank, into, generator=generator).to(dtype), torch.randn(out, rank, generator=generator).to(dtype))
        for module, (into, out) in sizes.items()
    }


def _written(dialect: str, path: Path, alpha: float | None = None, dtype: torch.dtype = torch.float32) -> Path:
    """The weights as a tool writes them."""
    tensors = {}
    for module, (down, up) in _weights(dtype).items():
        match dialect:
            case "kohya":
                stem = "lora_unet_" + module.replace(".", "_")
                tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
            case "peft":
                stem = f"base_model.model.{module}"
                tensors |= {f"{stem}.lora_A.default.weight": down, f"{stem}.lora_B.default.weight": up}
            case _:
                stem = f"{dialect}.{module}"
                tensors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
        if alpha is not None:
            tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    safetensors.torch.save_file(tensors, path)
    return path


def _imported(path: Path, out: Path, **changes: Any) -> LoraImport:
    return import_lora(path, out, **{"base": "tiny", "name": "guest", "kind": LoraKind.STYLE, "trigger": "guest", **changes})


@pytest.mark.parametrize("dialect", ["diffusion_model", "transformer", "peft", "kohya"])
def test_every_dialect_becomes_the_same_file(tmp_path: Path, dialect: str) -> None:
    """ComfyUI's and ltx-trainer's, diffusers', raw PEFT and kohya keys: the weights are untouched, the keys are ours."""
    out = tmp_path / "ours.safetensors"
    answer = _imported(_written(dialect, tmp_path / "theirs.safetensors"), out)
    found = safetensors.torch.load_file(out)
    assert sorted(found) == sorted(f"diffusion_model.{module}.lora_{half}.weight" for module in MODULES for half in "AB")
    for module, (down, up) in _weights().items():
        assert torch.equal(found[f"diffusion_model.{module}.lora_A.weight"], down)
        assert torch.equal(found[f"diffusion_model.{module}.lora_B.weight"], up)
    read = read_lora(out, TINY)
    assert read.manifest == answer.manifest
    assert read.manifest is not None
    assert (read.manifest.name, read.manifest.trigger, read.manifest.base, read.manifest.steps) == ("guest", "guest", "tiny", 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_alpha_is_folded_in_as_torch_would_round_it(tmp_path: Path, dtype: torch.dtype) -> None:
    """B is multiplied by alpha / rank and keeps its type, rounded to nearest; no alpha is left."""
    out = tmp_path / "ours.safetensors"
    answer = _imported(_written("kohya", tmp_path / "theirs.safetensors", alpha=3.0, dtype=dtype), out)
    assert answer.facts is not None
    assert (answer.facts.dialect, answer.facts.has_alpha, answer.facts.rank) == (LoraDialect.KOHYA, False, 4)
    found = safetensors.torch.load_file(out)
    for module, (_, up) in _weights(dtype).items():
        expected = (up.float() * 0.75).to(dtype)
        assert torch.equal(found[f"diffusion_model.{module}.lora_B.weight"], expected)


def test_imported_file_is_read_like_the_original(tmp_path: Path) -> None:
    """The engine gets the same change of weights from the original and from the import."""
    theirs = _written("kohya", tmp_path / "theirs.safetensors", alpha=2.0)
    _imported(theirs, tmp_path / "ours.safetensors")
    one, other = read_lora(theirs, TINY), read_lora(tmp_path / "ours.safetensors", TINY)
    assert one.modules.keys() == other.modules.keys()
    assert all(torch.equal(one.modules[module][1], other.modules[module][1]) for module in one.modules)


def test_our_own_file_keeps_what_its_manifest_knows(tmp_path: Path) -> None:
    """A LoRA that comes back from a friend is renamed, and is still known to have been trained here."""
    path = tmp_path / "friend.safetensors"
    save_lora(path, _weights(), manifest(), torch.float32)
    answer = _imported(path, tmp_path / "ours.safetensors")
    assert answer.manifest == manifest().model_copy(update={"name": "guest", "kind": LoraKind.STYLE, "trigger": "guest"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_numbers_are_refused(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    """In every type, and nothing is left on the disk under the final name."""
    weights = _weights(dtype)
    weights[MODULES[2]][1][3, 1] = value
    path, out = tmp_path / "x.safetensors", tmp_path / "ours.safetensors"
    save_lora(path, weights, manifest(), dtype)
    with pytest.raises(AdapterInvalidError, match="not numbers") as refused:
        _imported(path, out)
    assert refused.value.problem is LoraProblem.NOT_FINITE
    assert not out.exists()


def test_alpha_that_overflows_is_refused(tmp_path: Path) -> None:
    """A scale that turns numbers into infinity is as bad as infinity."""
    path = _written("kohya", tmp_path / "x.safetensors", alpha=1e9, dtype=torch.float16)
    with pytest.raises(AdapterInvalidError, match="not numbers"):
        _imported(path, tmp_path / "ours.safetensors")


def test_lora_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    """All B zero is a LoRA that was never trained."""
    path = tmp_path / "x.safetensors"
    save_lora(path, {module: (down, torch.zeros_like(up)) for module, (down, up) in _weights().items()}, manifest(), torch.float32)
    with pytest.raises(DeadAdapterError, match="changes nothing"):
        _imported(path, tmp_path / "ours.safetensors")


def test_layers_of_another_model_are_refused(tmp_path: Path) -> None:
    """A LoRA of the big base does not fit the tiny one, whatever the person says."""
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file(
        {
            f"diffusion_model.{MODULES[0]}.lora_A.weight": torch.ones(2, 4096),
            f"diffusion_model.{MODULES[0]}.lora_B.weight": torch.ones(4096, 2),
        },
        path,
    )
    with pytest.raises(AdapterIncompatibleError, match="another model"):
        _imported(path, tmp_path / "ours.safetensors")


def test_command_answers_in_json_for_good_and_bad_files(tmp_path: Path) -> None:
    """The bot starts it as a process: one JSON value, exit code 0, a reason for what is refused; no torch in it."""
    good, bad = _written("kohya", tmp_path / "good.safetensors", alpha=4.0), tmp_path / "bad.safetensors"
    bad.write_bytes(b"PK\x03\x04 a pickle")

    def answer(path: Path) -> LoraImport:
        options = [
            "--out",
            str(tmp_path / "out.safetensors"),
            "--base",
            "tiny",
            "--name",
            "guest",
            "--kind",
            "style",
            "--filename",
            "my.lora",
        ]
        code = (
            "import sys, runpy; sys.modules['torch'] = None; sys.argv = ['x', *sys.argv[1:]];"
            " runpy.run_module('engine.data.lora_import', run_name='__main__')"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path), *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return LoraImport.model_validate(json.loads(done.stdout))

    assert answer(bad) == LoraImport(problem=LoraProblem.PICKLE, detail=answer(bad).detail)
    assert "my.lora" in (answer(bad).detail or "")
    taken = answer(good)
    assert taken.facts == inspect_lora_header(tmp_path / "out.safetensors").model_copy(update={"dialect": LoraDialect.KOHYA})
