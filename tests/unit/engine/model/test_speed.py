"""What makes a base faster or smaller: no clip shows it, and a training never meets it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.config import SampleConfig
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.contracts.speed import SpeedOptions, TextEncoderPlace
from engine.errors import InvalidConfigError
from engine.model import speed
from engine.model.adapters import AdapterStack, LoadedUse
from engine.model.bases import get_base
from engine.model.compiled import CompiledBlocks
from engine.model.loader import ResidentBase, load_base
from engine.model.memory import DeviceMemory
from engine.model.speed import AttentionKernel, RestingEncoder, rests
from engine.sample.generate import generate
from tests.support.engine import predict
from tests.support.lora_files import VIDEO_LAYERS, write_lora

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


def test_compiled_blocks_take_any_stack_without_being_compiled_again(tiny: ResidentBase, tmp_path: Path) -> None:
    """Frames are those of the plain blocks to a level of 255; a training, and a LoRA too large for a slot, never meet the program."""
    files = [write_lora(tmp_path / f"{rank}.safetensors", rank=rank, seed=rank, scale=0.05, modules=VIDEO_LAYERS) for rank in (3, 4, 12)]
    uses = [LoadedUse(path, path.stem, 1.0, None, LoraKind.STYLE) for path in files]
    stacks = [[uses[0]], [replace(uses[0], weight=0.4), replace(uses[1], weight=1.2)], []]
    wanted = [generate(tiny, CONFIG, stack).frames for stack in stacks]
    large, before = generate(tiny, CONFIG, uses[2:]).frames, predict(tiny)
    AdapterStack(tiny).forget()
    programs: list[Any] = []

    def compiler(graph: Any, _: Any) -> Any:
        programs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = replace(tiny, compiled=CompiledBlocks(tiny.transformer, rank=8, backend=compiler))
    made = [generate(compiled, CONFIG, stacks[0]).frames]
    first = len(programs)
    assert first > 0
    made += [generate(compiled, CONFIG, stack).frames for stack in stacks[1:]]
    assert len(programs) == first
    for frames, plain in zip(made, wanted, strict=True):
        assert int(np.abs(frames.astype(int) - plain.astype(int)).max()) <= 1
    assert not np.array_equal(made[0], made[1])
    assert torch.equal(predict(compiled), before)
    assert np.array_equal(generate(compiled, CONFIG, uses[2:]).frames, large)
    assert len(programs) == first
