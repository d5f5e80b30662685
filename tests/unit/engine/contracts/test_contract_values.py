"""Rules the contract values keep by themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from ulid import ULID

from engine.contracts import wire
from engine.contracts.bases import BASES, LTX_2_3, TINY
from engine.contracts.failures import FailureCode
from engine.contracts.generation import (
    Extension,
    GenerationMode,
    Guide,
    Quality,
    Restyle,
    Scene,
    Storyboard,
    Upscale,
    Variation,
)
from engine.contracts.jobs import JOB_ADAPTER, DatasetItem, lane_of
from engine.contracts.lora import LoraKind, LoraManifest
from engine.contracts.media import MAX_CAPTION_CHARS, MAX_DATASET_ITEMS
from engine.contracts.model import StoredObject, StoreKey
from engine.contracts.stack import StackNote, notes_on, senseless
from engine.contracts.status import JobStatus, Lane
from engine.contracts.versions import encode
from tests.support.contracts import adapter_use, generate_video, geometry, manifest, stored, train_lora

KEY = TypeAdapter(StoreKey)
_TWO_SCENES = Storyboard(scenes=(Scene(prompt="zoko wakes"), Scene(prompt="zoko walks")))


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../b", "a//b", "", "a/.hidden", "a\\b", "a/b\n"])
def test_store_key_is_refused_when_it_could_leave_the_store(key: str) -> None:
    """No key climbs, starts at the root or hides."""
    with pytest.raises(ValidationError):
        KEY.validate_python(key)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -0.1, 2.1])
def test_adapter_weight_is_refused_when_out_of_range(weight: float) -> None:
    """Weights are finite and between 0 and 2."""
    with pytest.raises(ValidationError):
        adapter_use(weight=weight)


def test_manifest_survives_the_safetensors_header() -> None:
    """What is written into a file's metadata comes back equal."""
    assert LoraManifest.from_metadata(manifest().to_metadata()) == manifest()


@pytest.mark.parametrize("metadata", [{}, {"callsheet_manifest": "{"}, {"callsheet_manifest": '{"name": 1}'}])
def test_manifest_is_none_when_the_header_is_foreign_or_broken(metadata: dict[str, str]) -> None:
    """A file of another tool has no manifest; a broken one is no reason to crash."""
    assert LoraManifest.from_metadata(metadata) is None


def test_unknown_key_is_refused_in_a_job() -> None:
    """A newer sender is noticed, not half understood."""
    with pytest.raises(ValidationError):
        generate_video(colour="red")


def test_lane_follows_the_kind_of_job() -> None:
    """Trainings and renders wait in queues of their own."""
    assert lane_of(train_lora()) is Lane.TRAIN
    assert lane_of(generate_video()) is Lane.RENDER


@pytest.mark.parametrize(("seconds", "frames"), [(0.1, 5), (1.0, 9), (1.125, 9), (2.0, 17), (60.0, 17)])
def test_frames_for_rounds_to_an_allowed_count_on_tiny(seconds: float, frames: int) -> None:
    """Frames are 4k+1 on the tiny base and stay within its maximum."""
    assert TINY.geometry.frames_for(seconds) == frames


def test_tokens_match_the_packed_length_on_ltx() -> None:
    """768x448 at 89 frames packs to 4032 tokens (ltx-2.3.md section 1.1)."""
    assert LTX_2_3.geometry.tokens(geometry(width=768, height=448, num_frames=89)) == 4032


@pytest.mark.parametrize("profile", BASES.values(), ids=BASES.keys())
def test_profile_is_consistent_with_its_own_geometry_rule(profile: object) -> None:
    """Default sizes and frame counts of a base satisfy its own rule, and every kind can be trained."""
    rule = profile.geometry  # type: ignore[attr-defined]
    assert rule.default_frames % rule.frame_stride == 1
    assert rule.max_frames % rule.frame_stride == 1
    for width, height in rule.aspects.values():
        assert width % rule.spatial_multiple == height % rule.spatial_multiple == 0
    assert set(profile.training) == set(LoraKind)  # type: ignore[attr-defined]


def test_price_grows_with_steps_and_is_never_zero() -> None:
    """A unit is an amount of work; even the smallest job costs one."""
    defaults = TINY.training[LoraKind.CHARACTER]
    assert TINY.training_units(defaults, 1) == 1
    assert TINY.training_units(defaults, 400) < TINY.training_units(defaults, 800)
    assert TINY.generation_units(geometry(num_frames=5)) >= 1


def test_status_sources_never_lead_out_of_an_ended_job() -> None:
    """A job that ended stays ended."""
    assert all(not source.terminal for status in JobStatus for source in status.sources)


def test_wire_codec_carries_an_exception_as_a_string() -> None:
    """A failure can be stored; its type never crosses the process border."""
    value = wire.loads(wire.dumps({"error": ValueError("boom")}))
    assert isinstance(value["error"], wire.RemoteError)
    assert str(value["error"]) == "ValueError: boom"


def test_wire_codec_refuses_content_when_it_belongs_in_the_store() -> None:
    """A message carries keys and captions; a clip in Redis is a bug on our side."""
    with pytest.raises(wire.MessageTooLargeError):
        wire.dumps("x" * (wire.MAX_MESSAGE_BYTES + 1))


def test_largest_training_that_settings_allow_fits_into_one_message() -> None:
    """As many items as an operator may allow, each with a guide and the longest caption, in characters of four bytes."""

    def media(number: int) -> StoredObject:
        return stored(f"uploads/{10**19}/{ULID()}-{number:04d}.png", "image/png")

    caption, name = "𐍈" * MAX_CAPTION_CHARS, "ß" * 255
    items = tuple(
        DatasetItem(media=media(number), filename=name, caption=caption, guide=media(number)) for number in range(MAX_DATASET_ITEMS)
    )
    job = train_lora(items=items)
    assert JOB_ADAPTER.validate_python(wire.loads(wire.dumps(encode(job)))) == job


def test_failure_codes_that_blame_the_input_are_not_retried() -> None:
    """Trying the same bad file again wastes a GPU."""
    assert not FailureCode.INVALID_MEDIA.retryable
    assert FailureCode.OUT_OF_MEMORY.retryable


@pytest.mark.parametrize(
    ("sources", "mode"),
    [
        ({}, GenerationMode.TEXT),
        ({"vary": Variation(seed=1)}, GenerationMode.TEXT),
        ({"image": stored()}, GenerationMode.IMAGE),
        ({"image": stored(), "guide": Guide(video=stored())}, GenerationMode.CONTROL),
        ({"restyle": Restyle(video=stored()), "vary": Variation(seed=1)}, GenerationMode.VIDEO),
        ({"extend": Extension(video=stored())}, GenerationMode.EXTEND),
        ({"upscale": Upscale()}, GenerationMode.UPSCALE),
        ({"storyboard": _TWO_SCENES}, GenerationMode.STORYBOARD),
    ],
)
def test_render_job_tells_its_mode_by_what_it_is_made_from(sources: dict[str, Any], mode: GenerationMode) -> None:
    """The mode is never sent beside the sources, so the two cannot contradict each other."""
    assert generate_video(**sources).mode is mode


@pytest.mark.parametrize(
    "sources",
    [
        {"image": stored(), "extend": Extension(video=stored())},
        {"restyle": Restyle(video=stored()), "upscale": Upscale()},
        {"storyboard": _TWO_SCENES, "guide": Guide(video=stored())},
        {"upscale": Upscale(), "vary": Variation(seed=1)},
        {"upscale": Upscale(), "geometry": geometry(width=33, height=32)},
    ],
)
def test_render_job_refuses_sources_that_do_not_go_together(sources: dict[str, Any]) -> None:
    """A job says one thing; which of two starts would count is never a guess."""
    with pytest.raises(ValidationError):
        generate_video(**sources)


def test_price_of_a_render_follows_what_it_denoises() -> None:
    """Scenes cost a clip each, a guide doubles the tokens, little of a restyle is cheap, fast costs half the steps."""
    text = TINY.job_units(generate_video())
    assert text == TINY.generation_units(geometry())
    exact = TINY.model_copy(update={"token_steps_per_unit": 1})
    units = exact.job_units(generate_video())
    assert exact.job_units(generate_video(storyboard=_TWO_SCENES)) == 2 * units
    assert exact.job_units(generate_video(guide=Guide(video=stored()))) == 2 * units
    assert exact.job_units(generate_video(restyle=Restyle(video=stored(), strength=0.25))) == units / 4
    assert exact.job_units(generate_video(quality=Quality.FAST)) == units / 2
    big = geometry(width=64, height=64)
    second = exact.geometry.tokens(big) * exact.second_stage_steps
    assert exact.job_units(generate_video(geometry=big, upscale=Upscale())) == units + second
    assert exact.job_units(generate_video(geometry=big, upscale=Upscale(video=stored()))) == second


def test_stack_of_loras_is_senseless_when_its_weights_add_up_to_nothing_or_too_much() -> None:
    """Nobody is charged for a clip that is the bare base's or noise; no stack at all is the bare base on purpose."""
    assert senseless([0.0])
    assert senseless([0.0, 0.0])
    assert senseless([2.0, 2.0, 0.5])
    assert not senseless([])
    assert not senseless([0.0, 1.0])
    assert not senseless([2.0, 2.0])


def test_stack_of_loras_is_noted_when_two_characters_meet() -> None:
    """A weight of 0 takes no part."""
    character, style = (LoraKind.CHARACTER, 1.0), (LoraKind.STYLE, 0.7)
    assert notes_on([character, style]) == ()
    assert notes_on([character, style, character]) == (StackNote.TWO_CHARACTERS,)
    assert notes_on([character, (LoraKind.CHARACTER, 0.0)]) == ()


def test_lora_of_a_base_fits_its_distilled_sister() -> None:
    """LoRAs are trained on the dev weights and run on both."""
    fast = BASES["ltx-2.3-fast"]
    assert (fast.lora_base, LTX_2_3.lora_base, fast.steps(Quality.BEST)) == ("ltx-2.3", "ltx-2.3", 8)
    assert fast.default_weight(LoraKind.STYLE, 1) == 1.0 > fast.default_weight(LoraKind.STYLE, 2)
