"""Settings: what a job asks for, and what is refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engine.config import SampleConfig, TrainConfig
from engine.contracts.geometry import Geometry
from tests.support.contracts import train_lora
from tests.support.engine import train_config


def test_job_becomes_the_config_it_asks_for() -> None:
    """Every value of the job arrives; what it does not say stays open for the base's preset."""
    job = train_lora(rank=4, steps=9, learning_rate=2e-3, batch_size=3, seed=77)
    config = TrainConfig.from_job(job, preview_every=3, checkpoint_every=5)
    same = ("name", "trigger", "rank", "steps", "learning_rate", "batch_size", "width", "height", "seed", "preview_prompt")
    assert {name: getattr(config, name) for name in same} == {name: getattr(job, name) for name in same}
    assert (config.kind, config.preview_every, config.checkpoint_every) == (job.lora_kind, 3, 5)
    assert config.preservation_share is None


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 0},
        {"steps": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"batch_size": 0},
        {"seed": 2**32},
        {"name": "Not a name"},
        {"trigger": "-"},
        {"caption_dropout": 1.5},
        {"preservation_share": 1.0},
        {"preview_every": 5, "preview_prompt": ""},
        {"steppes": 5},
    ],
    ids=str,
)
def test_impossible_training_is_refused(change: dict[str, Any]) -> None:
    """A value out of range, a contradiction or a misspelt key never reaches the device."""
    with pytest.raises(ValidationError):
        train_config(**change)


def test_configs_are_frozen() -> None:
    """A run's settings cannot change under it."""
    with pytest.raises(ValidationError):
        train_config().rank = 3


@pytest.mark.parametrize(
    "change", [{"prompt": ""}, {"prompt": "x" * 2001}, {"seed": -1}, {"num_inference_steps": 1}, {"guidance_scale": -1.0}]
)
def test_impossible_clip_is_refused(change: dict[str, Any]) -> None:
    """One denoising step is refused, too: with a terminal shift it yields frames that are not numbers."""
    values = {"prompt": "a ball", "geometry": Geometry(width=32, height=32, num_frames=9, fps=8.0)}
    with pytest.raises(ValidationError):
        SampleConfig.model_validate({**values, **change})
