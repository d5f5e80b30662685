"""`engine.sample.generate` on the tiny base: the same frames as plain diffusers, and nothing left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LTX2ConditionPipeline, LTX2Pipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from numpy.typing import NDArray
from PIL import Image

from engine.config import SampleConfig
from engine.contracts.events import Phase
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind, LoraManifest
from engine.errors import AdapterIncompatibleError, AdapterMissingError, InvalidConfigError, InvalidMediaError, JobCancelledError
from engine.model.adapters import LoadedUse, TrainableAdapter, save_lora
from engine.model.bases import VIDEO_TARGETS
from engine.model.loader import ResidentBase
from engine.sample import prompts as module
from engine.sample.generate import generate
from tests.support.engine import Recorder, Switch
from tests.support.media import write_picture

STEPS = 4
GEOMETRY = Geometry(width=32, height=32, num_frames=9, fps=8)


def config(**changes: Any) -> SampleConfig:
    values: dict[str, Any] = {"prompt": "a red ball on a beach", "geometry": GEOMETRY, "seed": 7, "num_inference_steps": STEPS}
    return SampleConfig(**{**values, **changes})


def write_lora(path: Path, tiny: ResidentBase, seed: int, trigger: str | None = None, base: str = "tiny") -> LoadedUse:
    """A LoRA file with weights large enough to change every frame."""
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    for index in range(3):
        name = f"transformer_blocks.{index}.attn1.to_q"
        layer = tiny.transformer.get_submodule(name)
        down = torch.randn(4, layer.in_features, generator=generator) * 0.3
        modules[name] = (down, torch.randn(layer.out_features, 4, generator=generator) * 0.3)
    manifest = LoraManifest(
        name="zoko", kind=LoraKind.CHARACTER, trigger=trigger, base=base, base_revision="r", rank=4, targets=(), steps=1,
        learning_rate=1e-3, width=32, height=32, items=1, data_sha256="0" * 64, seed=0, created_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    save_lora(path, modules, manifest, torch.float32)
    return LoadedUse(path, f"lora-{seed}", 0.8, trigger, LoraKind.CHARACTER)


def plain_frames(
    tiny: ResidentBase, prompt: str, uses: Sequence[LoadedUse] = (), cls: type = LTX2Pipeline, **extra: Any
) -> NDArray[np.uint8]:
    """What anybody gets from the base's folder with diffusers alone."""
    pipeline = cls.from_pretrained(tiny.base.source, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    for use in uses:
        pipeline.load_lora_weights(str(use.path), adapter_name=use.name)
    if uses:
        pipeline.set_adapters([use.name for use in uses], [use.weight for use in uses])
    defaults = tiny.base.sampling
    output = pipeline(
        prompt=prompt,
        negative_prompt=defaults.negative_prompt,
        width=32,
        height=32,
        num_frames=9,
        frame_rate=8.0,
        num_inference_steps=STEPS,
        guidance_scale=defaults.guidance_scale,
        max_sequence_length=defaults.max_sequence_length,
        **defaults.pipeline_kwargs,
        **extra,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    )
    return (output.frames[0] * 255).round().astype(np.uint8)


def test_generate_renders_what_plain_diffusers_does_when_there_is_no_lora(tiny: ResidentBase) -> None:
    """Bit for bit the frames of `LTX2Pipeline.from_pretrained(base)`, cached prompt or not."""
    wanted = plain_frames(tiny, "a red ball on a beach")
    assert np.array_equal(generate(tiny, config()).frames, wanted)
    assert np.array_equal(generate(tiny, config()).frames, wanted)


def test_generate_renders_what_plain_diffusers_does_when_loras_are_stacked(tiny: ResidentBase, tmp_path: Path) -> None:
    """Bit for bit the frames of `load_lora_weights` and `set_adapters`, with one file and with two; and unlike the base's."""
    first, second = write_lora(tmp_path / "a.safetensors", tiny, 1), write_lora(tmp_path / "b.safetensors", tiny, 2)
    bare = generate(tiny, config()).frames
    for uses in ([first], [first, second]):
        frames = generate(tiny, config(), uses).frames
        assert np.array_equal(frames, plain_frames(tiny, "a red ball on a beach", uses))
        assert not np.array_equal(frames, bare)
    assert np.array_equal(generate(tiny, config()).frames, bare)


def test_generate_starts_from_the_picture_when_one_is_given(tiny: ResidentBase, tmp_path: Path) -> None:
    """Image-to-video renders what diffusers' own pipeline does with the cut and scaled picture."""
    path = write_picture(tmp_path / "first.png", width=64, height=64)
    first = Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BOX)
    condition = LTX2VideoCondition(frames=first, index=0, strength=1.0, crf=0)
    wanted = plain_frames(tiny, "a red ball on a beach", cls=LTX2ConditionPipeline, conditions=[condition])
    frames = generate(tiny, config(image=path)).frames
    assert np.array_equal(frames, wanted)
    assert not np.array_equal(frames, generate(tiny, config()).frames)


def test_generate_is_decided_by_its_seed_when_all_else_is_equal(tiny: ResidentBase) -> None:
    """Equal seeds give equal clips, other seeds others, and no generator but its own moves."""
    before = torch.random.get_rng_state()
    one, same, other = generate(tiny, config(seed=1)), generate(tiny, config(seed=1)), generate(tiny, config(seed=2))
    assert np.array_equal(one.frames, same.frames)
    assert not np.array_equal(one.frames, other.frames)
    assert torch.equal(before, torch.random.get_rng_state())


def test_generate_returns_a_whole_clip_when_it_is_done(tiny: ResidentBase) -> None:
    """Shapes, rates and the numbers that go into the message."""
    clip = generate(tiny, config())
    assert clip.frames.shape == (9, 32, 32, 3)
    assert clip.frames.dtype == np.uint8
    assert (clip.fps, clip.seed, clip.geometry) == (8.0, 7, GEOMETRY)
    assert clip.audio is not None
    assert clip.audio.shape[0] == 2
    assert clip.audio.shape[1] / clip.audio_rate == pytest.approx(9 / 8, rel=0.15)


def test_generate_reports_every_denoising_step_when_it_has_a_sink(tiny: ResidentBase) -> None:
    """Step 0 when denoising begins, then each step once, in order."""
    sink = Recorder()
    generate(tiny, config(), sink=sink)
    assert [step for phase, step, total in sink.steps if phase is Phase.DENOISING] == list(range(STEPS + 1))
    assert {total for phase, _, total in sink.steps if phase is Phase.DENOISING} == {STEPS}


@pytest.mark.parametrize(("asked", "done"), [(0, []), (1, [0, 1]), (3, [0, 1, 2, 3])])
def test_generate_stops_between_two_steps_when_it_is_cancelled(tiny: ResidentBase, tmp_path: Path, asked: int, done: list[int]) -> None:
    """At once or in the middle; the base is as before and renders the same as ever."""
    use, bare = write_lora(tmp_path / "a.safetensors", tiny, 1), generate(tiny, config()).frames
    sink = Recorder()
    with pytest.raises(JobCancelledError):
        generate(tiny, config(), [use], sink, Switch(after=asked))
    assert [step for phase, step, _ in sink.steps if phase is Phase.DENOISING] == done
    assert np.array_equal(generate(tiny, config()).frames, bare)


def test_generate_renders_the_same_frames_when_a_training_is_on_the_base(tiny: ResidentBase, tmp_path: Path) -> None:
    """A half-trained adapter on the base changes no frame of anybody's clip, with a stack and without."""
    use = write_lora(tmp_path / "a.safetensors", tiny, 1)
    bare, stacked = generate(tiny, config()).frames, generate(tiny, config(), [use]).frames
    adapter = TrainableAdapter(tiny, 2, VIDEO_TARGETS, torch.Generator().manual_seed(3))
    with torch.no_grad():
        for weight in adapter.parameters:
            weight.add_(0.1)
    assert np.array_equal(generate(tiny, config()).frames, bare)
    assert np.array_equal(generate(tiny, config(), [use]).frames, stacked)
    adapter.remove()
    assert np.array_equal(generate(tiny, config()).frames, bare)


def test_generate_puts_the_trigger_into_the_prompt_when_it_is_missing(tiny: ResidentBase, tmp_path: Path) -> None:
    """`walking` with zoko's LoRA is `zoko walking`."""
    use = write_lora(tmp_path / "a.safetensors", tiny, 1, trigger="zoko")
    typed = generate(tiny, config(prompt="zoko walking"), [use]).frames
    assert np.array_equal(generate(tiny, config(prompt="walking"), [use]).frames, typed)


def test_generate_refuses_before_denoising_when_something_cannot_be_used(tiny: ResidentBase, tmp_path: Path) -> None:
    """A missing file, a LoRA of another base, one LoRA twice, a broken picture: each by its error, none after a step."""
    good = write_lora(tmp_path / "a.safetensors", tiny, 1)
    foreign = write_lora(tmp_path / "b.safetensors", tiny, 2, base="ltx-2.3")
    gone = LoadedUse(tmp_path / "gone.safetensors", "gone", 1.0, None, LoraKind.STYLE)
    (tmp_path / "bad.png").write_text("text")
    sink = Recorder()
    for uses, changes, error in (
        ([gone], {}, AdapterMissingError),
        ([foreign], {}, AdapterIncompatibleError),
        ([good, good], {}, InvalidConfigError),
        ([], {"image": tmp_path / "bad.png"}, InvalidMediaError),
    ):
        with pytest.raises(error):
            generate(tiny, config(**changes), uses, sink)
    assert Phase.DENOISING not in {phase for phase, _, _ in sink.steps}


def test_prompt_states_keep_the_latest_texts_when_the_cache_is_full(tiny: ResidentBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded by bytes, least recently used first out, the newest always stays."""
    tiny.prompt_states.clear()
    states, mask = module.prompt_states(tiny, "one")
    monkeypatch.setattr(module, "PROMPT_CACHE_BYTES", 2 * (states.nbytes + mask.nbytes))
    for text in ("two", "one", "three"):
        module.prompt_states(tiny, text)
    assert list(tiny.prompt_states) == ["one", "three"]
    again, _ = module.prompt_states(tiny, "one")
    assert torch.equal(again, states)
    monkeypatch.setattr(module, "PROMPT_CACHE_BYTES", 1)
    module.prompt_states(tiny, "four")
    assert list(tiny.prompt_states) == ["four"]
