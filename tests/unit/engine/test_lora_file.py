"""Reading and writing LoRA files: what comes from strangers is checked before it is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from engine.contracts.bases import LTX_2_3, TINY
from engine.contracts.lora import MANIFEST_KEY
from engine.contracts.lora_facts import LoraProblem
from engine.errors import AdapterIncompatibleError, AdapterInvalidError, AdapterMissingError
from engine.lora_file import MAX_HEADER_BYTES, inspect_lora_header, read_header
from engine.model.adapters import read_lora, save_lora
from tests.support.contracts import manifest

MODULE = "transformer_blocks.0.attn1.to_q"
A_KEY, B_KEY = f"diffusion_model.{MODULE}.lora_A.weight", f"diffusion_model.{MODULE}.lora_B.weight"


def _pair(rank: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rank, 6, generator=generator), torch.randn(8, rank, generator=generator)


def _raw(path: Path, header: Any, data: bytes = b"") -> Path:
    """A file with this header, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def _entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_saved_lora_reads_back_exactly(tmp_path: Path) -> None:
    """Weights, rank and manifest survive the file, under the keys that every tool reads and without alpha keys."""
    down, up = _pair()
    path = tmp_path / "zoko.safetensors"
    save_lora(path, {MODULE: (down, up)}, manifest(), torch.float32)
    read = read_lora(path, TINY)
    assert torch.equal(read.modules[MODULE][0], down)
    assert torch.equal(read.modules[MODULE][1], up)
    assert (read.rank, read.manifest) == (2, manifest())
    assert sorted(safetensors.torch.load_file(path)) == [A_KEY, B_KEY]
    assert list(tmp_path.iterdir()) == [path]


def test_delta_norm_is_that_of_the_product(tmp_path: Path) -> None:
    """The norm computed from Gram matrices is the Frobenius norm of B @ A."""
    down, up = _pair(4)
    path = tmp_path / "x.safetensors"
    save_lora(path, {MODULE: (down, up)}, manifest(), torch.float32)
    assert read_lora(path, TINY).delta_norms()[MODULE] == pytest.approx(float((up @ down).norm()), rel=1e-6)


def test_alpha_key_is_folded_in(tmp_path: Path) -> None:
    """A file with alpha keys acts with alpha / rank, not at full strength."""
    down, up = _pair(4)
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({A_KEY: down, B_KEY: up, f"diffusion_model.{MODULE}.alpha": torch.tensor(1.0)}, path)
    assert torch.equal(read_lora(path, TINY).modules[MODULE][1], up * 0.25)


def test_peft_metadata_alpha_is_folded_in(tmp_path: Path) -> None:
    """A file of diffusers with alpha != rank in its metadata acts with alpha / rank."""
    down, up = _pair(4)
    path = tmp_path / "x.safetensors"
    metadata = {"lora_adapter_metadata": json.dumps({"transformer.r": 4, "transformer.lora_alpha": 8})}
    keys = {A_KEY.replace("diffusion_model", "transformer"): down, B_KEY.replace("diffusion_model", "transformer"): up}
    safetensors.torch.save_file(keys, path, metadata=metadata)
    assert torch.equal(read_lora(path, TINY).modules[MODULE][1], up * 2)


def test_file_of_another_base_is_incompatible(tmp_path: Path) -> None:
    """The manifest's base decides, before a weight is read."""
    path = tmp_path / "x.safetensors"
    save_lora(path, {MODULE: _pair()}, manifest(), torch.float32)
    with pytest.raises(AdapterIncompatibleError, match="tiny"):
        read_lora(path, LTX_2_3)


def test_file_without_manifest_is_read(tmp_path: Path) -> None:
    """A LoRA of another tool, or with a manifest that is not one, is judged by its weights."""
    path = tmp_path / "x.safetensors"
    down, up = _pair()
    safetensors.torch.save_file({A_KEY: down, B_KEY: up}, path, metadata={MANIFEST_KEY: "{}"})
    assert read_lora(path, TINY).manifest is None


def test_missing_file_is_missing(tmp_path: Path) -> None:
    """A file that is gone is told apart from a file that is wrong."""
    with pytest.raises(AdapterMissingError):
        read_lora(tmp_path / "gone.safetensors", TINY)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused(tmp_path: Path, value: float) -> None:
    """One such weight would turn every video black."""
    down, up = _pair()
    down[0, 0] = value
    path = tmp_path / "x.safetensors"
    save_lora(path, {MODULE: (down, up)}, manifest(), torch.float32)
    with pytest.raises(AdapterInvalidError, match="not numbers"):
        read_lora(path, TINY)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", LoraProblem.NOT_SAFETENSORS),
        (b"hello, this is a text", LoraProblem.NOT_SAFETENSORS),
        (b"PK\x03\x04" + b"\0" * 64, LoraProblem.PICKLE),
        (b"\x80\x04\x95" + b"\0" * 64, LoraProblem.PICKLE),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}" * 40, LoraProblem.HEADER_TOO_LARGE),
        ((2**32 - 1).to_bytes(8, "little") + b"{}" * 40, LoraProblem.HEADER_TOO_LARGE),
    ],
    ids=["empty", "text", "zip of a .pt", "pickle", "huge header", "4 GB header"],
)
def test_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes, problem: LoraProblem) -> None:
    """Nothing but safetensors is opened, and a header cannot make us read gigabytes."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(AdapterInvalidError, match="not a safetensors file") as refused:
        read_header(path)
    assert refused.value.problem is problem


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("diffusion_model.../../etc/passwd.lora_A.weight", LoraProblem.UNSAFE_KEY),
        ("/etc/passwd", LoraProblem.UNSAFE_KEY),
        ("diffusion_model.\x00.lora_A.weight", LoraProblem.UNSAFE_KEY),
        ("diffusion_model." + "x" * 400 + ".lora_A.weight", LoraProblem.UNSAFE_KEY),
        (f"diffusion_model.{MODULE}.lokr_w1", LoraProblem.OTHER_METHOD),
        (f"diffusion_model.{MODULE}.dora_scale", LoraProblem.OTHER_METHOD),
        (f"diffusion_model.{MODULE}.diff", LoraProblem.OTHER_METHOD),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", LoraProblem.OTHER_PART),
        ("text_embedding_projection.aggregate_embed.lora_A.weight", LoraProblem.OTHER_PART),
        ("lora_unet_down_blocks_0_attentions_0_to_q.lora_down.weight", LoraProblem.UNKNOWN_KEY),
        (f"{MODULE}.weight", LoraProblem.UNKNOWN_KEY),
    ],
)
def test_key_of_anything_else_is_refused_with_its_reason(tmp_path: Path, key: str, problem: LoraProblem) -> None:
    """Paths, other methods, text encoders and other models' names each get their own reason."""
    with pytest.raises(AdapterInvalidError) as refused:
        read_header(_raw(tmp_path / "x.safetensors", {key: _entry([1, 1], 0, 4)}, b"\0" * 4))
    assert refused.value.problem is problem


def test_wrong_type_hidden_bytes_and_repeated_keys_are_refused(tmp_path: Path) -> None:
    """A file must be what its header says, to the last byte, and say it once."""
    pair = {A_KEY: _entry([2, 1], 0, 8), B_KEY: _entry([1, 2], 8, 16)}
    fp8 = {A_KEY: _entry([2, 1], 0, 2, "F8_E4M3"), B_KEY: _entry([1, 2], 2, 4, "F8_E4M3")}
    twice = json.dumps(pair).replace(B_KEY, A_KEY).encode()
    for header, data, problem in (
        (fp8, b"\0" * 4, LoraProblem.WRONG_DTYPE),
        (pair, b"\0" * 17, LoraProblem.DESCRIPTION),
        ({A_KEY: _entry([2, 1], 0, 8), B_KEY: _entry([1, 2], 4, 12)}, b"\0" * 12, LoraProblem.DESCRIPTION),
        (twice, b"\0" * 16, LoraProblem.NOT_SAFETENSORS),
    ):
        with pytest.raises(AdapterInvalidError) as refused:
            read_header(_raw(tmp_path / "x.safetensors", header, data))
        assert refused.value.problem is problem


def test_facts_name_the_bases_whose_layers_fit(tmp_path: Path) -> None:
    """A file without a manifest is told apart by the sizes of its layers; one that fits nothing is refused at once."""
    for width, fits in ((192, ("tiny",)), (4096, ("ltx-2.3",)), (7, None)):
        pair = {A_KEY: torch.zeros(2, width), B_KEY: torch.zeros(width, 2)}
        path = tmp_path / f"{width}.safetensors"
        safetensors.torch.save_file(pair, path, metadata={"trigger_word": " zoko ", "reference_downscale_factor": "2"})
        if fits is None:
            with pytest.raises(AdapterIncompatibleError, match="another model"):
                inspect_lora_header(path)
            continue
        facts = inspect_lora_header(path)
        assert facts.bases[: len(fits)] == fits
        assert (facts.rank, facts.modules, facts.parameters, facts.dtype) == (2, 1, 4 * width, "F32")
        assert (facts.trigger_hint, facts.reference_downscale_factor, facts.manifest) == ("zoko", 2, None)


@pytest.mark.parametrize("header", [b"[1]", b"{", b"\xff\xfe{}", b"[" * 100_000], ids=["list", "cut", "not utf-8", "deep"])
def test_header_that_is_no_object_is_refused(tmp_path: Path, header: bytes) -> None:
    """A header that is not a JSON object is no header."""
    with pytest.raises(AdapterInvalidError, match="not a safetensors file"):
        read_header(_raw(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"__metadata__": {"format": "pt"}},
        {"lora_unet_x.lora_down.weight": _entry([1, 1], 0, 4)},
        {A_KEY: _entry([2, 1], 0, 8)},
        {A_KEY: _entry([2, 1], 0, 8), B_KEY: _entry([1, 3], 8, 20)},
        {A_KEY: _entry([0, 1], 0, 0), B_KEY: _entry([1, 0], 0, 0)},
        {A_KEY: _entry([2], 0, 8), B_KEY: _entry([1, 2], 8, 16)},
        {A_KEY: _entry([2, 1], 0, 8), B_KEY: _entry([1, 2], 8, 400)},
        {A_KEY: _entry([2, 1], -8, 0), B_KEY: _entry([1, 2], 8, 16)},
        {A_KEY: _entry([2, 1], 0, 8, "I32"), B_KEY: _entry([1, 2], 8, 16, "I32")},
        {A_KEY: {"dtype": "F32"}, B_KEY: 7},
        {"__metadata__": {"a": 1}, A_KEY: _entry([2, 1], 0, 8), B_KEY: _entry([1, 2], 8, 16)},
        {A_KEY: _entry([2048, 1], 0, 8192), B_KEY: _entry([1, 2048], 8192, 16384)},
    ],
    ids=[
        *("nothing", "only metadata", "foreign key", "half a pair", "ranks differ", "rank 0", "vector", "beyond the end"),
        *("negative offset", "integers", "not described", "metadata not text", "rank too large"),
    ],
)
def test_implausible_header_is_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    """Only complete pairs of matrices with shapes, types and places that agree with the file are a LoRA."""
    with pytest.raises(AdapterInvalidError):
        read_header(_raw(tmp_path / "x.safetensors", header, b"\0" * 16384))
