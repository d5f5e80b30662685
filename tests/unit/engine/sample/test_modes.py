"""Every way to make a clip on the tiny base: sizes and lengths as asked, sources really used, bad ones refused before a step is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LTX2InContextPipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition
from numpy.typing import NDArray
from PIL import Image

from engine.config import ExtendedVideo, GuideVideo, RestyledVideo, SampleConfig, UpscaledVideo
from engine.contracts.controls import Control, ControlKind
from engine.contracts.events import Phase
from engine.contracts.failures import FailureCode
from engine.contracts.generation import Fit, Quality, Scene, Storyboard, Variation
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.control.edges import edges
from engine.data.videos import psnr, read_clip
from engine.errors import EngineError, GuideMissingError
from engine.model.adapters import LoadedUse
from engine.model.loader import ResidentBase
from engine.sample.generate import generate, total_steps
from engine.sample.schedule import plan
from engine.sample.sources import require_guide
from engine.sample.video import RenderedClip, write_mp4
from tests.support.engine import Recorder, write_effect
from tests.support.media import write_clip, write_picture, write_sound

STEPS = 4
SIZE = Geometry(width=32, height=32, num_frames=9, fps=8)


def config(**changes: Any) -> SampleConfig:
    values: dict[str, Any] = {"prompt": "a red ball on a beach", "geometry": SIZE, "seed": 7, "num_inference_steps": STEPS}
    return SampleConfig(**{**values, **changes})


@pytest.fixture
def earlier(tiny: ResidentBase, tmp_path: Path) -> tuple[RenderedClip, Path]:
    """A clip as it was made and as it was posted."""
    clip = generate(tiny, config())
    path = tmp_path / "earlier.mp4"
    write_mp4(clip, path, max_bytes=10**7, min_side=256)
    return clip, path


def mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_variation_of_strength_0_is_the_other_clip_and_grows_from_there(tiny: ResidentBase) -> None:
    """`vary` of a clip is the same family: the frames move away from it with the strength."""
    clip = generate(tiny, config()).frames
    far = [mean_difference(clip, generate(tiny, config(seed=8, vary=Variation(seed=7, strength=s))).frames) for s in (0.0, 0.2, 1.0)]
    assert far[0] == 0.0
    assert 0.0 < far[1] < far[2]
    assert np.array_equal(
        generate(tiny, config(seed=8, vary=Variation(seed=7, strength=1.0))).frames, generate(tiny, config(seed=8)).frames
    )


def test_variation_of_a_guided_or_pictured_clip_starts_from_its_noise(tiny: ResidentBase, tmp_path: Path) -> None:
    """The conditioned pipelines draw their noise otherwise; strength 0 is their clip again all the same."""
    picture = write_picture(tmp_path / "first.png", width=64, height=64)
    effect = write_effect(tmp_path / "edges.safetensors", tiny, Control(kind=ControlKind.EDGES))
    guide = GuideVideo(path=write_clip(tmp_path / "guide.mp4"))
    for sources, uses in (({"image": picture}, []), ({"guide": guide}, [effect])):
        clip = generate(tiny, config(**sources), uses).frames
        again = generate(tiny, config(seed=8, vary=Variation(seed=7, strength=0.0), **sources), uses).frames
        assert int(np.abs(clip.astype(int) - again.astype(int)).max()) <= 1


def test_extension_goes_on_without_a_jump_from_the_last_frames(tiny: ResidentBase, earlier: tuple[RenderedClip, Path]) -> None:
    """The film is the whole source and then what is new; the frame both have is the same to 30 dB."""
    clip, path = earlier
    for given in (1, 5):
        film = generate(tiny, config(seed=3, extend=ExtendedVideo(path=path, last_frames=given)))
        assert film.frames.shape == (9 + 9 - given, 32, 32, 3)
        assert min(psnr(one, other) for one, other in zip(film.frames, clip.frames, strict=False)) > 40  # as posted, H.264
        assert film.join_psnr is not None
        assert film.join_psnr >= 30
        assert film.geometry == SIZE


def test_extension_chooses_a_stride_of_frames_when_nobody_says_how_many(tiny: ResidentBase, earlier: tuple[RenderedClip, Path]) -> None:
    """A stride and one; fewer only when the source is shorter."""
    assert len(generate(tiny, config(extend=ExtendedVideo(path=earlier[1]))).frames) == 9 + 9 - 5


def test_restyle_keeps_less_of_the_source_the_stronger_it_is(tiny: ResidentBase, earlier: tuple[RenderedClip, Path]) -> None:
    """A weak one is almost the source, a full one almost another clip; fewer steps are made for a weak one."""
    clip, path = earlier
    far, steps = [], []
    for strength in (0.2, 1.0):
        sink = Recorder()
        again = generate(tiny, config(seed=9, num_inference_steps=8, restyle=RestyledVideo(path=path, strength=strength)), sink=sink)
        far.append(mean_difference(clip.frames, again.frames))
        steps.append(sum(phase is Phase.DENOISING for phase, _, _ in sink.steps))
    assert far[0] < 0.6 * far[1]
    assert steps[0] < steps[1]


def test_noise_levels_of_the_end_of_a_schedule_are_the_end_of_its_levels(tiny: ResidentBase) -> None:
    """A restyle enters the base's own schedule half-way; its scheduler must not stretch what is left."""
    sigmas = plan(tiny.base, config(num_inference_steps=8), []).sigmas
    levels = tiny.noise_levels(sigmas, 48, fixed_sigmas=False)
    assert tiny.noise_levels(sigmas[3:], 48, fixed_sigmas=False) == pytest.approx(levels[3:], abs=1e-6)
    assert tiny.noise_levels((0.9, 0.4), 48, fixed_sigmas=True) == pytest.approx([0.9, 0.4, 0.0])


def test_guide_reaches_the_model_as_diffusers_reference_tokens(tiny: ResidentBase, tmp_path: Path) -> None:
    """Bit for bit the frames of diffusers' own in-context pipeline with the outlines of the guide beside the noise."""
    path = write_clip(tmp_path / "guide.mp4", width=64, height=64)
    effect = write_effect(tmp_path / "edges.safetensors", tiny, Control(kind=ControlKind.EDGES))
    signal = edges(read_clip(path, 32, 32, fps=8, num_frames=9))
    pipeline = LTX2InContextPipeline.from_pretrained(tiny.base.source, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(str(effect.path), adapter_name="effect")
    wanted = pipeline(
        prompt="a red ball on a beach",
        negative_prompt="",
        reference_conditions=[LTX2ReferenceCondition(frames=[Image.fromarray(frame) for frame in signal])],
        generator=torch.Generator().manual_seed(7),
        output_type="np",
        **plan(tiny.base, config(), []).arguments,
    ).frames[0]
    frames = generate(tiny, config(guide=GuideVideo(path=path)), [effect]).frames
    assert np.array_equal(frames, (wanted * 255).round().astype(np.uint8))
    other = write_clip(tmp_path / "other.mp4", width=64, height=64, seed=5)
    assert not np.array_equal(frames, generate(tiny, config(guide=GuideVideo(path=other)), [effect]).frames)


def test_upscale_doubles_a_clip_and_keeps_what_is_seen(tiny: ResidentBase, earlier: tuple[RenderedClip, Path]) -> None:
    """Given or new, twice the size, and at half the size again it is still the first stage's picture."""
    clip, path = earlier
    double = SIZE.model_copy(update={"width": 64, "height": 64})
    for source in (path, None):
        larger = generate(tiny, config(geometry=double, upscale=UpscaledVideo(path=source)))
        assert larger.frames.shape == (9, 64, 64, 3)
        shrunk = larger.frames.reshape(9, 32, 2, 32, 2, 3).mean((2, 4)).round().astype(np.uint8)
        assert float(np.mean([psnr(one, other) for one, other in zip(shrunk, clip.frames, strict=True)])) > 20


def test_storyboard_is_one_film_of_its_scenes(tiny: ResidentBase) -> None:
    """Each scene is the clip of its prompt and seed; steps are counted through."""
    board = Storyboard(scenes=(Scene(prompt="a red ball on a beach", seed=7), Scene(prompt="a red ball in a forest")))
    sink = Recorder()
    wanted = config(prompt="a day", seed=20, storyboard=board)
    film = generate(tiny, wanted, sink=sink)
    assert film.frames.shape == (18, 32, 32, 3)
    assert np.array_equal(film.frames[:9], generate(tiny, config()).frames)
    assert [scene.seed for scene in film.scenes] == [7, 21]
    assert [step for phase, step, _ in sink.steps if phase is Phase.DENOISING] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]
    assert {total for phase, _, total in sink.steps if phase is Phase.DENOISING} == {total_steps(tiny.base, wanted)}


def test_fast_quality_makes_half_the_steps(tiny: ResidentBase) -> None:
    """The base's fast settings, unless somebody says how many."""
    sink = Recorder()
    generate(tiny, config(num_inference_steps=None, quality=Quality.FAST), sink=sink)
    assert max(step for phase, step, _ in sink.steps if phase is Phase.DENOISING) == tiny.base.profile.steps(Quality.FAST)


def test_muted_clip_has_no_sound(tiny: ResidentBase) -> None:
    """The switch counts before anything is decoded."""
    assert generate(tiny, config()).audio is not None
    assert generate(tiny, config(mute=True)).audio is None


def test_letterboxed_picture_is_seen_whole(tiny: ResidentBase, tmp_path: Path) -> None:
    """Another first frame than the cropped one, with bars at its edges."""
    wide = write_picture(tmp_path / "wide.png", width=128, height=32)
    boxed, cropped = (generate(tiny, config(image=wide, fit=fit)).frames[0] for fit in (Fit.LETTERBOX, Fit.CROP))
    assert boxed[:6].mean() < 40 < cropped[:6].mean()


def test_stills_show_where_a_long_denoising_is_going(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strip of three frames, close to what comes out; the clip is the same with stills and without."""
    monkeypatch.setattr("engine.sample.progress.STILL_EVERY_S", 0.0)
    sink = Recorder()
    clip = generate(tiny, config(num_inference_steps=8), sink=sink, stills=tmp_path)
    assert [step for step, _ in sink.previews] == [2, 3, 4, 5, 6, 7]
    last = np.asarray(Image.open(sink.previews[-1][1]).convert("RGB").resize((3 * 32, 32), Image.Resampling.BOX))
    wanted = np.concatenate([clip.frames[index] for index in (0, 4, 8)], axis=1)
    assert psnr(last, wanted) > 15
    assert np.array_equal(clip.frames, generate(tiny, config(num_inference_steps=8)).frames)


def bad_sources(tmp_path: Path, tiny: ResidentBase) -> dict[str, tuple[dict[str, Any], list[LoadedUse], FailureCode]]:
    guide = GuideVideo(path=write_clip(tmp_path / "guide.mp4"))
    effect = write_effect(tmp_path / "edges.safetensors", tiny, Control(kind=ControlKind.EDGES))
    plain = write_effect(tmp_path / "plain.safetensors", tiny, None, LoraKind.STYLE)
    against, strong = (LoadedUse(plain.path, "plain", weight, None, LoraKind.STYLE) for weight in (-0.5, 4.5))
    sound, one = write_sound(tmp_path / "sound.mp4"), write_clip(tmp_path / "one.mp4", num_frames=1)
    long = write_clip(tmp_path / "long.mp4", num_frames=40)
    uneven = write_clip(tmp_path / "uneven.mp4", num_frames=8, times=[0, 1, 2, 5, 6, 11, 12, 13])
    return {
        "guide without an effect": ({"guide": guide}, [plain], FailureCode.EFFECT_MISSING),
        "guide for no stack": ({"guide": guide}, [], FailureCode.EFFECT_MISSING),
        "guide of another kind": ({"guide": guide.model_copy(update={"control": ControlKind.DEPTH})}, [effect], FailureCode.INVALID_CONFIG),
        "guide too long": ({"guide": GuideVideo(path=long)}, [effect], FailureCode.VIDEO_TOO_LONG),
        "guide without pictures": ({"guide": GuideVideo(path=sound)}, [effect], FailureCode.VIDEO_MISSING_STREAM),
        "guide of uneven rate": ({"guide": GuideVideo(path=uneven)}, [effect], FailureCode.VIDEO_VARIABLE_RATE),
        "guide of one frame": ({"guide": GuideVideo(path=one)}, [effect], FailureCode.VIDEO_TOO_SHORT),
        "weights below nothing": ({}, [against], FailureCode.STACK_WEIGHTS),
        "weights of noise": ({}, [strong], FailureCode.STACK_WEIGHTS),
        "odd number of last frames": ({"extend": ExtendedVideo(path=guide.path, last_frames=4)}, [], FailureCode.INVALID_CONFIG),
        "extension of nothing new": ({"extend": ExtendedVideo(path=guide.path, last_frames=9)}, [], FailureCode.INVALID_CONFIG),
        "more last frames than there are": (
            {"extend": ExtendedVideo(path=guide.path, last_frames=13), "geometry": SIZE.model_copy(update={"num_frames": 17})},
            [],
            FailureCode.VIDEO_TOO_SHORT,
        ),
    }


def test_bad_source_is_refused_with_its_code_and_a_sentence_before_a_step(tiny: ResidentBase, tmp_path: Path) -> None:
    """Nothing is denoised, the message is one sentence, and the next clip is as ever."""
    before = generate(tiny, config()).frames
    for name, (sources, uses, code) in bad_sources(tmp_path, tiny).items():
        sink = Recorder()
        with pytest.raises(EngineError) as caught:
            generate(tiny, config(**sources), uses, sink)
        assert caught.value.code is code, name
        assert str(caught.value).endswith("."), name
        assert Phase.DENOISING not in {phase for phase, _, _ in sink.steps}, name
    assert np.array_equal(generate(tiny, config()).frames, before)


def test_stack_with_an_effect_is_refused_without_its_guide_when_a_person_asks(tiny: ResidentBase, tmp_path: Path) -> None:
    """With weight 0 it takes no part; a preview of its training may show it bare."""
    effect = write_effect(tmp_path / "edges.safetensors", tiny, Control(kind=ControlKind.EDGES))
    with pytest.raises(GuideMissingError, match=r"edges.*\.$"):
        require_guide(config(), [effect])
    require_guide(config(), [replace(effect, weight=0.0)])
    require_guide(config(guide=GuideVideo(path=tmp_path / "any.mp4")), [effect])
    assert generate(tiny, config(), [effect]).frames.shape == (9, 32, 32, 3)
