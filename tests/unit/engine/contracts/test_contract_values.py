"""Rules the contract values keep by themselves."""

from __future__ import annotations

import math

import pytest
from pydantic import TypeAdapter, ValidationError

from engine.contracts import wire
from engine.contracts.bases import BASES, LTX_2_3, TINY
from engine.contracts.failures import FailureCode
from engine.contracts.jobs import lane_of
from engine.contracts.lora import LoraKind, LoraManifest
from engine.contracts.model import StoreKey
from engine.contracts.status import JobStatus, Lane
from tests.support.contracts import adapter_use, generate_video, geometry, manifest, train_lora

KEY = TypeAdapter(StoreKey)


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
    """A message carries keys; a megabyte in Redis is a bug on our side."""
    with pytest.raises(wire.MessageTooLargeError):
        wire.dumps("x" * (wire.MAX_MESSAGE_BYTES + 1))


def test_failure_codes_that_blame_the_input_are_not_retried() -> None:
    """Trying the same bad file again wastes a GPU."""
    assert not FailureCode.INVALID_MEDIA.retryable
    assert FailureCode.OUT_OF_MEMORY.retryable
