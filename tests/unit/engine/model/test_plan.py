"""The memory planner: arithmetic that must agree with real layers, and choices that must follow from free memory."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from engine.cli import main
from engine.config import TrainConfig
from engine.contracts.bases import LTX_2_3, TINY
from engine.contracts.lora import LoraKind
from engine.errors import OutOfMemoryError
from engine.model.adapters import TrainableAdapter
from engine.model.bases import VIDEO_TARGETS, get_base
from engine.model.loader import ResidentBase
from engine.model.plan import (
    GIB,
    Device,
    MemoryPlan,
    Precision,
    adapter_parameters,
    block_parameters,
    needed_bytes,
    plan_training,
    stepped_down,
)


def _config(**changes: Any) -> TrainConfig:
    base = get_base("ltx-2.3")
    defaults = base.profile.training[LoraKind.CHARACTER].model_dump()
    return base.completed(TrainConfig(**{"name": "zoko", "kind": LoraKind.CHARACTER, "max_frames": 49, **defaults, **changes}))


def _planned(free_gib: float, *, has_fp8: bool = False, **changes: Any) -> MemoryPlan:
    device = Device("a test GPU", int(free_gib * GIB), has_fp8)
    return plan_training(_config(**changes), LTX_2_3.transformer, LTX_2_3.geometry, Precision.BF16, device)


def test_counts_are_those_of_real_layers(tiny: ResidentBase) -> None:
    """Weights of a block and values of an adapter are counted from the profile exactly as the model has them, gates aside."""
    blocks = [
        m for name, m in tiny.transformer.named_modules() if name.startswith("transformer_blocks.") and isinstance(m, torch.nn.Linear)
    ]
    real = sum(layer.weight.numel() for layer in blocks if layer.out_features != TINY.transformer.heads) / TINY.transformer.blocks
    assert block_parameters(TINY.transformer) == real
    adapter = TrainableAdapter(tiny, 4, VIDEO_TARGETS, torch.Generator().manual_seed(1))
    assert adapter_parameters(TINY.transformer, 4) == sum(weight.numel() for weight in adapter.parameters)
    adapter.remove()


@pytest.mark.parametrize(
    ("free_gib", "precision", "offloads", "frames"),
    [(79, "bf16", False, 49), (47, "bf16", False, 49), (31, "int8", False, 49), (15, "int8", True, 49), (7, "int8", True, 49)],
)
def test_plan_follows_from_free_memory(free_gib: float, precision: str, *, offloads: bool, frames: int) -> None:
    """Quality goes in a fixed order: precision, then speed, then length; what fits is never more than what is free."""
    plan = _planned(free_gib)
    assert (plan.precision, plan.offloads_blocks, plan.frames) == (precision, offloads, frames)
    assert plan.needed_bytes <= plan.free_bytes
    assert bool(plan.notes) == (precision != "bf16")


def test_fp8_is_used_where_the_device_has_it() -> None:
    """Eight bits as floating point where they are multiplied as such."""
    assert _planned(31, has_fp8=True).precision is Precision.FP8


def test_clips_get_shorter_before_they_get_smaller() -> None:
    """Lengths stay whole strides, and the notes name all that was given up, the worst first."""
    plan = _planned(6.5, max_frames=241, batch_size=2)
    assert plan.frames < 241
    assert (plan.frames - 1) % LTX_2_3.geometry.frame_stride == 0
    assert (plan.width, plan.height) == (512, 512)
    assert "frames" in plan.notes[0]
    assert "1 at a time" in plan.notes[-1]
    assert "int8" in plan.notes[-2]


def test_device_that_is_too_small_is_refused_with_what_would_do() -> None:
    """Nobody waits for a training that cannot begin."""
    with pytest.raises(OutOfMemoryError, match=r"has 1\.0 GiB free and even int8 base, blocks on the host"):
        _planned(1.0)


def test_plan_that_ran_out_of_memory_steps_down_to_a_cheaper_one() -> None:
    """Whatever was planned, the next one needs less; the cheapest has no next."""
    plan, device = _planned(79), Device("a test GPU", 79 * GIB)
    needs = [plan.needed_bytes]
    while True:
        try:
            plan = stepped_down(plan, _config(), LTX_2_3.transformer, LTX_2_3.geometry, Precision.BF16, device)
        except OutOfMemoryError:
            break
        needs.append(plan.needed_bytes)
    assert needs == sorted(set(needs), reverse=True)
    assert len(needs) > 3


def test_gradient_checkpointing_and_guides_count() -> None:
    """Keeping all activations costs more, and so do an effect's reference tokens."""
    shape, rule, plan = LTX_2_3.transformer, LTX_2_3.geometry, _planned(79)
    plain = needed_bytes(plan, _config(), shape, rule)
    assert needed_bytes(replace(plan, recomputes=False), _config(), shape, rule) > 1.2 * plain
    guided = get_base("ltx-2.3").completed(_config(kind=LoraKind.EFFECT))
    assert needed_bytes(plan, guided, shape, rule) > plain


def test_shell_prints_plan_and_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m engine plan` needs no weights: sizes come from the profile, memory from the device or from the command line."""
    asked = ["plan", "--base", "ltx-2.3", "--max-frames", "49", "--free-gib", "31", "--tflops", "400", "--json"]
    assert main(asked) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["precision"] == "int8"
    assert said["needed_gib"] < said["free_gib"] == 31.0
    assert said["tokens"] == 7 * 16 * 16
    assert said["minutes"] == pytest.approx(said["tflop_per_step"] * said["steps"] / 400 / 60, rel=0.05)
    assert main(["plan", "--base", "ltx-2.3", "--free-gib", "1", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "out_of_memory"
