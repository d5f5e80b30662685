"""`engine.sample.schedule`: what a request becomes before anything is denoised."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import SampleConfig
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.errors import InvalidConfigError
from engine.model.adapters import LoadedUse
from engine.model.bases import get_base, list_bases
from engine.sample.schedule import check_geometry, compose_prompt, plan

TINY = get_base("tiny")


def use(trigger: str | None, kind: LoraKind = LoraKind.CHARACTER, weight: float = 1.0) -> LoadedUse:
    return LoadedUse(Path("x.safetensors"), trigger or "none", weight, trigger, kind)


@pytest.mark.parametrize(
    ("prompt", "uses", "composed"),
    [
        ("walking on a beach", [use("zoko")], "zoko walking on a beach"),
        ("walking on a beach", [use("dusk", LoraKind.STYLE)], "walking on a beach in dusk style"),
        ("met", [use("zoko"), use("dusk", LoraKind.STYLE), use("mira"), use("spin", LoraKind.MOTION)], "zoko mira spin met in dusk style"),
        ("a beach with Zoko, at dusk", [use("zoko"), use("dusk", LoraKind.STYLE)], "a beach with Zoko, at dusk"),
        ("zokolade", [use("zoko")], "zoko zokolade"),
        ("a cat", [use(None), use("zoko", weight=0.0)], "a cat"),
        ("a cat", [], "a cat"),
    ],
)  # fmt: skip
def test_compose_prompt_adds_only_missing_triggers_when_a_stack_is_used(prompt: str, uses: list[LoadedUse], composed: str) -> None:
    """Styles go last, all others first in the order of the stack; a trigger is a word in any case; weight 0 takes no part."""
    assert compose_prompt(prompt, uses) == composed


@pytest.mark.parametrize(("width", "height", "frames"), [(33, 32, 9), (32, 16, 9), (32, 32, 10), (32, 32, 21)])
def test_plan_refuses_a_geometry_when_the_base_would_round_it(width: int, height: int, frames: int) -> None:
    """Nothing is rounded in silence: sides, frame count and length are refused in one sentence."""
    config = SampleConfig(prompt="a", geometry=Geometry(width=width, height=height, num_frames=frames, fps=8))
    with pytest.raises(InvalidConfigError):
        plan(TINY, config, [])


@pytest.mark.parametrize("name", [base.name for base in list_bases()])
def test_plan_takes_the_defaults_of_its_base_when_nothing_else_is_said(name: str) -> None:
    """Every base samples by its own settings, at every size it offers, through the same code."""
    base = get_base(name)
    rule = base.profile.geometry
    for width, height in rule.aspects.values():
        geometry = Geometry(width=width, height=height, num_frames=rule.default_frames, fps=rule.fps)
        check_geometry(rule, geometry)
        planned = plan(base, SampleConfig(prompt="a", geometry=geometry), [])
        assert planned.num_inference_steps == planned.arguments["num_inference_steps"] == base.sampling.num_inference_steps
        assert planned.negative_prompt == base.sampling.negative_prompt
        assert planned.arguments.items() >= dict(base.sampling.pipeline_kwargs).items()


def test_plan_keeps_what_was_asked_for_when_it_differs_from_the_base() -> None:
    """Guidance 0 is a value, not an absence."""
    geometry = Geometry(width=32, height=32, num_frames=5, fps=8)
    config = SampleConfig(prompt="a", negative_prompt="b", geometry=geometry, num_inference_steps=4, guidance_scale=0.0)
    planned = plan(TINY, config, [])
    assert (planned.negative_prompt, planned.num_inference_steps, planned.arguments["guidance_scale"]) == ("b", 4, 0.0)
