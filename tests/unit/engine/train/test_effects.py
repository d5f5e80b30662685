"""Effects (IC-LoRA): guided training resumes exactly, and calls the model as diffusers' in-context pipeline calls it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from diffusers import LTX2InContextPipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition
from PIL import Image
from pydantic import ValidationError

from engine.config import GuideVideo
from engine.contracts.controls import Control, ControlKind
from engine.contracts.lora import LoraKind, LoraManifest
from engine.control.extract import extractor_for, guiding_frames
from engine.data.clips import read_window, survey
from engine.errors import InvalidConfigError, InvalidMediaError, JobCancelledError
from engine.evaluate.exam import Showing
from engine.model.adapters import TrainableAdapter
from engine.model.bases import VIDEO_TARGETS
from engine.model.loader import ResidentBase
from tests.support.engine import Recorder, Switch, run_to_end, run_until, start_run, train_config, write_clip, write_pictures

EDGES = Control(kind=ControlKind.EDGES)
SETTINGS: dict[str, Any] = {"kind": LoraKind.EFFECT, "control": EDGES, "steps": 4}
PREVIEWS: dict[str, Any] = {"preview_every": 4, "preview_prompt": "a red ball"}


class _Spy:
    """Remembers how a transformer is called."""

    def __init__(self, resident: ResidentBase, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        forward = resident.transformer.forward

        def remembered(*args: Any, **kwargs: Any) -> Any:
            self.calls.append({name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in kwargs.items()})
            return forward(*args, **kwargs)

        monkeypatch.setattr(resident.transformer, "forward", remembered)


def _clips(folder: Path) -> list[Any]:
    return [write_clip(folder / f"clip-{index}.mp4", 9 + 4 * index, 8) for index in range(4)]


def _sample_in_context(resident: ResidentBase, guide: np.ndarray) -> None:
    """Two denoising steps of diffusers' own pipeline with `guide` as its reference."""
    known = inspect.signature(LTX2InContextPipeline.__init__).parameters
    pipeline = LTX2InContextPipeline(**{name: part for name, part in resident.pipeline.components.items() if name in known})
    pipeline.set_progress_bar_config(disable=True)
    pipeline(
        prompt="a clip",
        reference_conditions=LTX2ReferenceCondition(frames=[Image.fromarray(frame) for frame in guide]),
        width=32,
        height=32,
        num_frames=len(guide),
        frame_rate=8.0,
        num_inference_steps=2,
        max_sequence_length=32,
        guidance_scale=1.0,
        output_type="latent",
        **resident.base.sampling.pipeline_kwargs,
    )


def test_training_calls_the_model_as_the_in_context_pipeline_does(
    tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order of tokens, positions, and timestep 0 on exactly the reference tokens, which are the latents of the same guide."""
    items = [write_clip(tmp_path / f"clip-{index}.mp4", 9, 8) for index in range(4)]
    spy = _Spy(tiny, monkeypatch)
    with start_run(tiny, items, tmp_path / "run", **SETTINGS, batch_size=1, first_frame_probability=0.0) as run:
        run_until(run, 1)
    source = survey(items[0].path, items[0].media_type, tiny.base.profile.geometry)
    frames = read_window(source, source.shots[0][:9], 32, 32)
    _sample_in_context(tiny, guiding_frames(frames, EDGES, 32, 32, extractor_for(ControlKind.EDGES)))
    ours, theirs = spy.calls[0], spy.calls[1]
    assert ours["hidden_states"].shape == theirs["hidden_states"].shape == (1, 96, 64)
    assert torch.equal(ours["video_coords"], theirs["video_coords"])
    assert torch.equal(ours["timestep"] == 0, theirs["timestep"] == 0)
    assert int((ours["timestep"] == 0).sum()) == 48
    assert torch.allclose(ours["hidden_states"][:, 48:], theirs["hidden_states"][:, 48:], atol=1e-5)
    assert ours["use_cross_timestep"] is theirs["use_cross_timestep"]
    assert ours["sigma"].shape == theirs["sigma"].shape
    assert 0 < float(ours["sigma"]) <= 1000


def test_untrained_adapter_leaves_a_guided_prediction_identical(tiny: ResidentBase) -> None:
    """B is zero at the start, so the first step of an effect sees the base itself, bit for bit."""
    generator = torch.Generator().manual_seed(1)
    tokens, sigma = torch.randn(2, 96, 64, generator=generator), torch.tensor([0.3, 0.8])
    timestep = torch.cat([sigma[:, None].expand(2, 48), torch.zeros(2, 48)], dim=1)
    coords = tiny.video_coords(3, 4, 4, 8.0)
    text = tiny.encode_text(["a", "b"])

    def predicted() -> torch.Tensor:
        with torch.no_grad():
            return tiny.velocity(tokens, timestep, sigma, text, torch.cat([coords, coords], dim=2))

    before = predicted()
    adapter = TrainableAdapter(tiny, 4, VIDEO_TARGETS, torch.Generator().manual_seed(0))
    try:
        assert torch.equal(predicted(), before)
    finally:
        adapter.remove()


def test_resumed_effect_ends_bit_identical(tiny: ResidentBase, tmp_path: Path) -> None:
    """Guides come back from the cache or are computed again, and the file is the same; it says what it is guided by."""
    items = _clips(tmp_path / "data")
    with start_run(tiny, items, tmp_path / "whole", **SETTINGS) as run:
        whole = run_to_end(run)
    with start_run(tiny, items, tmp_path / "parts", **SETTINGS) as run:
        run_until(run, 2)
        run.save_checkpoint()
    with start_run(tiny, items, tmp_path / "parts", **SETTINGS, resume=True) as run:
        assert run.steps_done == 2
        parts = run_to_end(run)
    with safetensors.safe_open(whole, "pt") as one, safetensors.safe_open(parts, "pt") as other:
        assert all(torch.equal(one.get_tensor(key), other.get_tensor(key)) for key in one.keys())  # noqa: SIM118
        metadata = one.metadata()
    manifest = LoraManifest.from_metadata(metadata)
    assert manifest is not None
    assert manifest.control == EDGES
    assert metadata["reference_downscale_factor"] == "1"


def test_previews_of_an_effect_follow_a_clip_that_is_kept_aside(
    tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks at checkpoints, pictures on the way and the closing clip are guided, and show what the guide's caption says."""
    items = [write_clip(tmp_path / f"clip-{index}.mp4", 9, 8, caption=f"a red ball {index}") for index in range(4)]
    sink, spy = Recorder(), _Spy(tiny, monkeypatch)
    with start_run(tiny, items, tmp_path / "run", sink=sink, **SETTINGS, evaluate_every=4, held_out=1, **PREVIEWS) as run:
        run_until(run, 4)
        spy.calls.clear()
        while not run.finished:
            run.step()
        trained = run.finish()
        aside = next(index for index in range(4) if index in run._parts.kept_aside)
    tokens = [call["hidden_states"].shape[1] for call in spy.calls if call["hidden_states"].shape[0] == 2]  # with and without the prompt
    bare = tokens.count(48)
    assert 0 < bare < len(tokens)
    assert tokens == [48] * bare + [96] * (len(tokens) - bare)  # the bare base once, then 48 tokens of the clip, 48 of its guide
    assert [step for step, _ in sink.previews] == [4, 4]
    assert trained.showing == Showing(f"zoko a red ball {aside}", GuideVideo(path=items[aside].path), items[aside].path)
    assert trained.selection is not None
    assert trained.selection.scores[0].identity is None  # an effect is like nothing, it follows
    assert trained.selection.scores[0].adherence is not None


def test_effect_is_shown_without_a_guide_when_no_item_can_be_one(tiny: ResidentBase, tmp_path: Path) -> None:
    """Clips longer than any clip of the base, and stills, train an effect and guide nothing."""
    items = [*write_pictures(tmp_path / "data", 3), write_clip(tmp_path / "long.mp4", 30, 8)]
    with start_run(tiny, items, tmp_path / "run", **SETTINGS, preview_prompt="a red ball") as run:
        run_to_end(run)
        assert run.finish().showing == Showing("a red ball")


def test_guide_decides_what_is_learned(tiny: ResidentBase, tmp_path: Path) -> None:
    """The same clips with other guides give other weights."""
    items = _clips(tmp_path / "data")
    files = []
    for name, kind in (("edges", ControlKind.EDGES), ("video", ControlKind.VIDEO)):
        pairs = [replace(item, guide=item.path) for item in items] if kind is ControlKind.VIDEO else items
        with start_run(tiny, pairs, tmp_path / name, **{**SETTINGS, "control": Control(kind=kind)}) as run:
            files.append(run_to_end(run).read_bytes())
    assert files[0] != files[1]


def test_effect_defaults_to_the_bases_control(tiny: ResidentBase) -> None:
    """What the config leaves open comes from the preset of the kind, and no other kind is guided."""
    assert tiny.base.completed(train_config(kind=LoraKind.EFFECT)).control == EDGES
    assert tiny.base.completed(train_config(kind=LoraKind.MOTION)).control is None
    with pytest.raises(ValidationError, match="only an effect"):
        train_config(kind=LoraKind.CHARACTER, control=EDGES)


def test_guide_too_small_for_the_base_is_refused_before_work_begins(tiny: ResidentBase, tmp_path: Path) -> None:
    """32 px cannot be halved here; nothing is encoded."""
    with pytest.raises(InvalidConfigError, match="multiples of 32"):
        start_run(
            tiny, _clips(tmp_path / "data"), tmp_path / "run", **{**SETTINGS, "control": Control(kind=ControlKind.EDGES, downscale=2)}
        )


def test_effect_without_its_guides_names_the_file(tiny: ResidentBase, tmp_path: Path) -> None:
    """Video-to-video cannot make up its guides."""
    with (
        start_run(
            tiny, write_pictures(tmp_path / "data"), tmp_path / "run", **{**SETTINGS, "control": Control(kind=ControlKind.VIDEO)}
        ) as run,
        pytest.raises(InvalidMediaError, match=r"picture-0\.png: There is no guide"),
    ):
        run_until(run, 1)


def test_cancelled_preparation_of_clips_stops_between_two_files(tiny: ResidentBase, tmp_path: Path) -> None:
    """Looking through clips is work in small pieces too."""
    with start_run(tiny, _clips(tmp_path / "data"), tmp_path / "run", **SETTINGS, cancel=Switch(after=2)) as run:
        run.step()
        run.step()
        with pytest.raises(JobCancelledError):
            run.step()
        assert run.steps_done == 0
