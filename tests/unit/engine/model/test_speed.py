"""What makes a base faster or smaller: no clip shows it, and a training never meets it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from engine.config import SampleConfig
from engine.contracts.geometry import Geometry
from engine.contracts.speed import SpeedOptions, TextEncoderPlace
from engine.errors import InvalidConfigError
from engine.model import speed
from engine.model.bases import get_base
from engine.model.loader import ResidentBase, load_base
from engine.model.memory import DeviceMemory
from engine.model.speed import AttentionKernel, RestingEncoder, rests
from engine.sample.generate import generate
from tests.support.engine import predict

CONFIG = SampleConfig(
    prompt="a red ball on a beach", geometry=Geometry(width=32, height=32, num_frames=9, fps=8), seed=7, num_inference_steps=2
)


def backends(tiny: ResidentBase) -> set[Any]:
    return {
        module.processor._attention_backend
        for block in tiny.transformer.transformer_blocks
        for module in block.modules()
        if hasattr(module, "set_attention_backend")
    }


def test_kernel_of_renders_is_chosen_by_what_runs_here_and_taken_off_afterwards(tiny: ResidentBase) -> None:
    """On a CPU torch's own; another exact one gives the same clip to a level of 255, and is on for renders alone."""
    assert AttentionKernel(tiny.transformer).name is None
    wanted = generate(tiny, CONFIG).frames
    kernel = AttentionKernel(tiny.transformer, "_native_math")
    before = backends(tiny)
    with kernel.at_work():
        assert backends(tiny) != before
    frames = generate(replace(tiny, kernel=kernel), CONFIG).frames
    assert int(np.abs(frames.astype(int) - wanted.astype(int)).max()) <= 1
    assert backends(tiny) == before


@pytest.mark.parametrize("name", ["flash", "sage", "no_such_kernel"])
def test_kernel_that_does_not_run_here_is_refused_with_a_sentence(tiny: ResidentBase, name: str) -> None:
    """At the start of the worker, not in the middle of somebody's clip."""
    with pytest.raises(InvalidConfigError, match=rf"{name} does not run on this machine: use auto\.$"):
        AttentionKernel(tiny.transformer, name)


def test_first_exact_kernel_that_runs_is_taken(tiny: ResidentBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` asks the machine, the fastest first."""
    monkeypatch.setattr(speed, "_EXACT", ("no_such_kernel", "_native_math", "native"))
    assert AttentionKernel(tiny.transformer).name == "_native_math"


def test_resting_text_encoder_comes_for_new_texts_and_leaves_before_anything_is_denoised(
    tiny: ResidentBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One visit reads both prompts of a clip, known ones need none, and the frames are those of an encoder that stays."""
    wanted = generate(tiny, CONFIG).frames
    told: list[str] = []
    encoder, transformer = tiny.pipeline.text_encoder, tiny.transformer
    monkeypatch.setattr(encoder, "to", lambda device: told.append(str(device)))
    hook = transformer.register_forward_pre_hook(lambda *_: told.append("denoised") if told[-1:] != ["denoised"] else None)
    tiny.prompt_states.clear()
    resting = replace(tiny, resting=RestingEncoder(encoder, torch.device("cuda")))
    assert np.array_equal(generate(resting, CONFIG).frames, wanted)
    assert told == ["cuda", "cpu", "denoised"]
    told.clear()
    generate(resting, CONFIG)
    assert told == ["denoised"]
    told.clear()
    predict(resting)  # a training reads captions and denoises, too
    assert told == ["cuda", "cpu", "denoised"]
    hook.remove()


def test_text_encoder_rests_where_the_base_nearly_fills_the_device(tiny: ResidentBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself only then; by order always, or never."""
    parts, cuda = tiny.pipeline.components, torch.device("cuda")
    weights = sum(p.nbytes for part in parts.values() if isinstance(part, torch.nn.Module) for p in part.parameters())
    for total, wanted in ((2 * weights, False), (weights * 8 // 7, True)):
        monkeypatch.setattr(speed, "device_memory", lambda _, total=total: DeviceMemory(total, total, 0))
        assert rests(TextEncoderPlace.AUTO, parts, cuda) is wanted
        assert rests(TextEncoderPlace.HOST, parts, cuda)
        assert not rests(TextEncoderPlace.DEVICE, parts, cuda)
    assert load_base(get_base("tiny"), "cpu", speed=SpeedOptions(text_encoder=TextEncoderPlace.HOST)).resting is not None
