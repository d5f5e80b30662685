"""The stepper: exact resume, exact interleaving, and a base that is the base again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import LTX2Pipeline
from PIL import Image

from engine.config import SampleConfig, Schedule
from engine.contracts.bases import TINY
from engine.contracts.events import Phase
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind, LoraManifest
from engine.data.cache import FeatureCache
from engine.data.prepare import ItemReader
from engine.errors import (
    DatasetTooSmallError,
    DeadAdapterError,
    InvalidConfigError,
    InvalidMediaError,
    JobCancelledError,
    LossNotFiniteError,
)
from engine.model.adapters import AdapterStack, LoadedUse, read_lora
from engine.model.bases import get_base
from engine.model.loader import ResidentBase, load_base, pack_latents
from engine.sample.generate import generate
from engine.train import recipe
from engine.train.learning_rate import learning_rate_at
from engine.train.objective import noised, velocity_loss
from tests.support.engine import (
    Recorder,
    Switch,
    checksum,
    predict,
    read_all,
    run_to_end,
    run_until,
    start_run,
    train_config,
    write_pictures,
)

GEOMETRY = Geometry(width=32, height=32, num_frames=9, fps=8.0)


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(safetensors.torch.load_file(path))


def _same(one: Path, other: Path) -> bool:
    first, second = _weights(one), _weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_equal_runs_give_equal_files(tiny: ResidentBase, tmp_path: Path) -> None:
    """Config, data and seed decide the weights; another seed gives others."""
    items = write_pictures(tmp_path / "data")
    files = []
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        with start_run(tiny, items, tmp_path / name, seed=seed) as run:
            files.append(run_to_end(run))
    assert _same(files[0], files[1])
    assert not _same(files[0], files[2])


def test_resumed_run_ends_bit_identical(tiny: ResidentBase, tmp_path: Path) -> None:
    """Stopped in the middle and resumed by a new process's worth of objects, the training ends as if never interrupted."""
    items = write_pictures(tmp_path / "data", count=5)
    settings = {"steps": 7, "preservation_share": 0.4, "caption_dropout": 0.3, "warmup_steps": 2}
    with start_run(tiny, items, tmp_path / "whole", **settings) as run:
        whole = run_to_end(run)
        whole_losses = (tmp_path / "whole" / "metrics.jsonl").read_text()
    with start_run(tiny, items, tmp_path / "broken", **settings) as run:
        run_until(run, 3)
        run.save_checkpoint()
        run_until(run, 5)  # these two steps are lost with the process
    with start_run(tiny, items, tmp_path / "broken", resume=True, **settings) as run:
        assert run.steps_done == 3
        resumed = run_to_end(run)
    assert _same(whole, resumed)

    def told(text: str) -> list[tuple[int, float]]:
        rows = [json.loads(line) for line in text.splitlines()]
        return [(row["step"], row.get("loss", row.get("preservation_loss"))) for row in rows]

    assert told((tmp_path / "broken" / "metrics.jsonl").read_text()) == told(whole_losses)


def test_resume_without_a_checkpoint_begins_at_the_beginning(tiny: ResidentBase, tmp_path: Path) -> None:
    """A retry of a job that died before its first checkpoint just starts."""
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run", resume=True) as run:
        assert run.steps_done == 0
        run_until(run, 1)


def test_checkpoint_before_the_first_step_is_none(tiny: ResidentBase, tmp_path: Path) -> None:
    """While items are prepared there is nothing to resume, and asking for it does no harm."""
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run") as run:
        for _ in range(4):
            assert run.save_checkpoint() is None
            run.step()
        assert run.save_checkpoint() is None
        run.step()
        assert run.save_checkpoint() is not None


def test_checkpoint_of_another_training_is_refused(tiny: ResidentBase, tmp_path: Path) -> None:
    """Going on with other settings or other pictures would be neither the one training nor the other."""
    items = write_pictures(tmp_path / "data", count=5)
    with start_run(tiny, items, tmp_path / "run") as run:
        run_until(run, 1)
        run.save_checkpoint()
    with pytest.raises(InvalidConfigError, match="another training"):
        start_run(tiny, items, tmp_path / "run", resume=True, learning_rate=2e-3)
    with pytest.raises(InvalidConfigError, match="another training"):
        start_run(tiny, items[:4], tmp_path / "run", resume=True)


def test_render_between_steps_leaves_the_training_bit_identical(tiny: ResidentBase, tmp_path: Path) -> None:
    """Renders with another LoRA between steps change no bit of the trained file, and their frames are a fresh pipeline's."""
    items = write_pictures(tmp_path / "data")
    with start_run(tiny, items, tmp_path / "other", seed=9, learning_rate=3e-2, name="other") as run:
        other = run_to_end(run)
    with start_run(tiny, items, tmp_path / "calm") as run:
        calm = run_to_end(run)
    sample = SampleConfig(prompt="a red ball on a beach", geometry=GEOMETRY, seed=3, num_inference_steps=2)
    use = LoadedUse(other, "other", 0.9, None, LoraKind.STYLE)
    clips = []
    with start_run(tiny, items, tmp_path / "busy") as run:
        while not run.finished:
            run.step()
            clips.append(generate(tiny, sample, [use]).frames)
        busy = run.finish().path
    AdapterStack(tiny).forget()
    fresh = LTX2Pipeline.from_pretrained(tiny.base.source)
    fresh.load_lora_weights(str(other), adapter_name="other")
    fresh.set_adapters(["other"], [0.9])
    fresh.set_progress_bar_config(disable=True)
    arguments = {**tiny.base.sampling.pipeline_kwargs, "guidance_scale": 3.0, "max_sequence_length": 32, "num_inference_steps": 2}
    plain = fresh(
        sample.prompt,
        height=32,
        width=32,
        num_frames=9,
        frame_rate=8.0,
        output_type="np",
        generator=torch.Generator().manual_seed(3),
        **arguments,
    ).frames[0]
    assert _same(calm, busy)
    assert len(clips) == 4 + 4  # one per prepared item, one per step
    assert all(np.array_equal(clips[0], clip) for clip in clips)
    assert np.array_equal(clips[0], np.rint(plain * 255).astype(np.uint8))


def test_closed_run_leaves_the_exact_base(tiny: ResidentBase, tmp_path: Path) -> None:
    """Names, values and trainability of every weight are what they were, after success and after a cancelled run alike."""
    before, cancel = checksum(tiny), Switch()
    items = write_pictures(tmp_path / "data")
    with start_run(tiny, items, tmp_path / "run", gradient_checkpointing=True) as run:
        run_to_end(run)
        assert checksum(tiny) != before
    assert checksum(tiny) == before
    with start_run(tiny, items, tmp_path / "cancelled", cancel=cancel) as run:
        run_until(run, 1)
        cancel.on = True
        with pytest.raises(JobCancelledError):
            run.step()
        assert run.save_checkpoint() is not None
        run.close()
    assert checksum(tiny) == before


def test_trained_file_acts_and_tells_what_it_is(tiny: ResidentBase, tmp_path: Path) -> None:
    """The file changes the model, its manifest describes the training, and the loss curve is a picture."""
    base = predict(tiny)
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run") as run:
        run_until(run, 4)
        trained = run.finish()
    manifest = read_lora(trained.path, TINY).manifest
    assert manifest == trained.manifest
    assert isinstance(manifest, LoraManifest)
    assert (manifest.steps, manifest.items, manifest.rank, manifest.trigger) == (4, 4, 2, "zoko")
    assert manifest.final_loss is not None
    with Image.open(trained.loss_curve_png) as picture:
        assert picture.format == "PNG"
    with AdapterStack(tiny).applied([LoadedUse(trained.path, "zoko", 1.0, "zoko", LoraKind.CHARACTER)]):
        assert not torch.equal(predict(tiny), base)


def test_training_lowers_the_loss_on_its_items(tiny: ResidentBase, tmp_path: Path) -> None:
    """On fixed noise the trained model is clearly less wrong about its pictures: gradients, optimizer and targets fit together."""
    items = write_pictures(tmp_path / "data")
    cache = FeatureCache(tmp_path / "cache", tiny)
    reader = ItemReader(cache, tiny.base.profile.geometry, ((32, 32),), 9, LoraKind.CHARACTER, "zoko")
    samples = read_all(reader, items)
    clean = pack_latents(torch.stack([sample.latents for sample in samples])).repeat(8, 1, 1)
    text = tiny.encode_text([sample.caption for sample in samples] * 8)

    def loss() -> float:
        noisy = noised(clean, 16, 0.0, torch.Generator().manual_seed(1))
        with torch.no_grad():
            predicted = tiny.velocity(noisy.tokens, noisy.timestep, noisy.sigma, text, tiny.video_coords(1, 4, 4, 8.0))
        return float(velocity_loss(predicted, noisy.target, noisy.learned))

    before = loss()
    with start_run(tiny, items, tmp_path / "run", steps=40, rank=8, batch_size=4, learning_rate=1e-2, preservation_share=0.0) as run:
        run_until(run, 40)
        after = loss()
    assert after < 0.97 * before


def test_second_training_of_the_same_files_encodes_nothing(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What depends on files, base and captions alone is taken from an earlier training; a damaged file is computed again, for both."""
    items, shared = write_pictures(tmp_path / "data"), tmp_path / "shared"
    with start_run(tiny, items, tmp_path / "one", shared_cache=shared) as run:
        first = run_to_end(run)
    encoded: list[str] = []
    for name in ("encode_video", "encode_text"):
        whole = getattr(ResidentBase, name)
        monkeypatch.setattr(ResidentBase, name, lambda *args, whole=whole, name=name: (encoded.append(name), whole(*args))[1])
    with start_run(tiny, items, tmp_path / "two", shared_cache=shared) as run:
        second = run_to_end(run)
    assert encoded == []
    assert _same(first, second)
    damaged = next(shared.glob("latents-*"))
    damaged.unlink()  # not the first training's file, which is the same one
    damaged.write_bytes(b"x")
    for name, expected in (("three", ["encode_video"]), ("four", [])):
        encoded.clear()
        with start_run(tiny, items, tmp_path / name, shared_cache=shared) as run:
            run_until(run, 1)
        assert encoded == expected


def test_each_call_does_one_small_thing(tiny: ResidentBase, tmp_path: Path) -> None:
    """Preparation goes item by item, so that a render waits for one picture at most, and every optimizer step is told."""
    sink = Recorder()
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run", sink=sink, steps=3) as run:
        calls = 0
        while not run.finished:
            run.step()
            calls += 1
    assert calls == 4 + 3
    assert sink.steps == [(Phase.PREPARING, n, 4) for n in (1, 2, 3, 4)] + [(Phase.TRAINING, n, 3) for n in (1, 2, 3)]


def test_preservation_keeps_the_base_on_prompts_without_the_trigger(tiny: ResidentBase, tmp_path: Path) -> None:
    """With preservation the same training moves the model less on a caption that lacks the trigger."""
    items = write_pictures(tmp_path / "data")
    base = predict(tiny, "a creature standing on hill 1", num_frames=1)
    moved = []
    for share in (0.0, 0.5):
        settings = {"steps": 25, "rank": 8, "learning_rate": 3e-3, "preservation_share": share, "schedule": Schedule.CONSTANT}
        with start_run(tiny, items, tmp_path / f"run-{share}", **settings) as run:
            run_until(run, 25)
            moved.append(float((predict(tiny, "a creature standing on hill 1", num_frames=1) - base).norm()))
    assert moved[1] < 0.8 * moved[0]


def test_preservation_needs_a_trigger_to_take_away(tiny: ResidentBase, tmp_path: Path) -> None:
    """Without a trigger every step learns the items, whatever the share."""
    settings = {"steps": 6, "trigger": None, "preservation_share": 0.9}
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run", **settings) as run:
        run_to_end(run)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]


def test_preview_is_rendered_from_the_adapter_as_it_is(tiny: ResidentBase, tmp_path: Path) -> None:
    """A picture every so many steps, nothing of it left on the base, and not a bit of the training changed by it."""
    items, sink = write_pictures(tmp_path / "data"), Recorder()
    with start_run(tiny, items, tmp_path / "calm") as run:
        calm = run_to_end(run)
    with start_run(tiny, items, tmp_path / "run", sink=sink, preview_every=2, preview_prompt="zoko on a beach") as run:
        shown = run_to_end(run)
    assert [step for step, _ in sink.previews] == [2, 4]
    with Image.open(sink.previews[0][1]) as picture:
        assert picture.format == "PNG"
    assert _same(calm, shown)
    assert not tiny.loaded_adapters
    assert not (tmp_path / "run" / "preview.safetensors").exists()


def test_preview_gives_way_and_is_tried_again(tiny: ResidentBase, tmp_path: Path) -> None:
    """A render that waits stops the preview between two denoising steps; later the preview is made after all."""
    sink, waiting = Recorder(), Switch()
    items = write_pictures(tmp_path / "data")
    with start_run(tiny, items, tmp_path / "run", sink=sink, gives_way=waiting, preview_every=4, preview_prompt="zoko") as run:
        run_until(run, 4)
        waiting.on = True
        run.step()
        assert sink.previews == []
        assert not run.finished
        waiting.on = False
        run.step()
        assert [step for step, _ in sink.previews] == [4]
        assert run.finished


def test_checkpoints_are_reported_as_they_are_written(tiny: ResidentBase, tmp_path: Path) -> None:
    """Whoever uploads them learns of each, complete on disk; there is none after the last step."""
    sink = Recorder()
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run", sink=sink, checkpoint_every=2) as run:
        run_to_end(run)
    assert [step for step, _ in sink.checkpoints] == [2]
    assert all(path.is_file() for _, files in sink.checkpoints for path in files)


def test_diverging_training_is_told(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that is no number ends the training with its step, instead of writing black LoRAs."""
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run") as run:
        run_until(run, 1)
        velocity = ResidentBase.velocity
        monkeypatch.setattr(ResidentBase, "velocity", lambda *args: velocity(*args) * math.nan)
        with pytest.raises(LossNotFiniteError, match="step 2"):
            run_until(run, 2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_latents_that_are_no_numbers_name_their_file(
    tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """What the encoder cannot make numbers of is refused before the first step, and is not kept for the next try."""
    encode = ResidentBase.encode_video
    broken = iter([1.0, 1.0, value])
    monkeypatch.setattr(ResidentBase, "encode_video", lambda base, pixels: encode(base, pixels) * next(broken))
    with (
        start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run") as run,
        pytest.raises(InvalidMediaError, match=r"picture-2\.png: Its pixels come out of the encoder as no numbers"),
    ):
        run_until(run, 1)
    assert len(list((tmp_path / "run" / "cache").glob("latents-*.safetensors"))) == 2


def test_checkpoint_made_on_another_base_is_refused(tiny: ResidentBase, tmp_path: Path) -> None:
    """The same settings and pictures on a base with other weights are another training."""
    items = write_pictures(tmp_path / "data")
    with start_run(tiny, items, tmp_path / "run") as run:
        run_until(run, 1)
        run.save_checkpoint()
    with pytest.raises(InvalidConfigError, match="other settings, pictures or base"):
        start_run(replace(tiny, fingerprint="another"), items, tmp_path / "run", resume=True)


def test_adapter_that_learned_nothing_is_dead(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes nothing is a failure, not a result."""
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda _: None)
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run") as run:
        run_until(run, 4)
        with pytest.raises(DeadAdapterError):
            run.finish()


def test_finish_before_the_first_step_is_refused(tiny: ResidentBase, tmp_path: Path) -> None:
    """There is nothing to save yet."""
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run") as run, pytest.raises(InvalidConfigError):
        run.finish()


def test_too_few_items_are_refused_before_work_begins(tiny: ResidentBase, tmp_path: Path) -> None:
    """The message says how many are needed."""
    with pytest.raises(DatasetTooSmallError, match="at least 4"):
        start_run(tiny, write_pictures(tmp_path / "data", count=3), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_size_the_base_cannot_do_is_refused(tiny: ResidentBase, tmp_path: Path) -> None:
    """Sides must be multiples the base allows."""
    with pytest.raises(InvalidConfigError, match="multiples of 32"):
        start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run", width=40)


def test_item_that_cannot_be_decoded_is_named(tiny: ResidentBase, tmp_path: Path) -> None:
    """The person learns which file it was."""
    items = write_pictures(tmp_path / "data")
    items[2].path.write_bytes(items[2].path.read_bytes()[:100])
    with start_run(tiny, items, tmp_path / "run") as run, pytest.raises(InvalidMediaError, match=r"picture-2\.png"):
        run_until(run, 1)


def test_second_run_on_the_same_data_encodes_nothing(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry in the same folder reads its features from the cache and ends with the same file."""
    items = write_pictures(tmp_path / "data")
    with start_run(tiny, items, tmp_path / "run") as run:
        first = _weights(run_to_end(run))
    monkeypatch.setattr(ResidentBase, "encode_video", None)
    monkeypatch.setattr(ResidentBase, "encode_text", None)
    with start_run(tiny, items, tmp_path / "run") as run:
        second = _weights(run_to_end(run))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule.CONSTANT, [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        (Schedule.LINEAR, [0.5, 1.0, 1.0, 0.7, 0.4, 0.1]),
        (Schedule.COSINE, [0.5, 1.0, 1.0, 0.775, 0.325, 0.1]),
    ],
)
def test_learning_rate_warms_up_and_follows_its_schedule(schedule: Schedule, expected: list[float]) -> None:
    """A pure function of the step: linear warm-up, then constant, linear or cosine down to the final fraction."""
    config = train_config(steps=6, warmup_steps=2, schedule=schedule, learning_rate=1.0, final_lr_fraction=0.1)
    assert [learning_rate_at(step, config) for step in range(6)] == pytest.approx(expected)


def test_recipe_offers_what_callers_need() -> None:
    """Worker and shell need one import for a training."""
    assert {"LocalItem", "TrainingRun", "build_run"} <= set(recipe.__all__)


def test_bf16_base_trains_fp32_weights_and_writes_a_bf16_file(tmp_path: Path) -> None:
    """The big base is bf16: its adapters learn in fp32 and are stored, and rendered, in the base's precision."""
    half = load_base(replace(get_base("tiny"), dtype="bfloat16"), "cpu")
    settings = {"steps": 3, "learning_rate": 1e-2, "preservation_share": 0.5, "gradient_checkpointing": True}
    with start_run(half, write_pictures(tmp_path / "data"), tmp_path / "run", preview_every=3, preview_prompt="zoko", **settings) as run:
        run_until(run, 1)
        learning = [parameter for parameter in half.transformer.parameters() if parameter.requires_grad]
        assert {parameter.dtype for parameter in learning} == {torch.float32}
        path = run_to_end(run)
    assert {tensor.dtype for tensor in _weights(path).values()} == {torch.bfloat16}
    with AdapterStack(half).applied([LoadedUse(path, "zoko", 1.0, "zoko", LoraKind.CHARACTER)]):
        assert bool(torch.isfinite(predict(half)).all())
