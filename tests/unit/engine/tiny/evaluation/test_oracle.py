"""The oracle and the scores: right about rendered ground truth, and zero and one where they should be."""

from dataclasses import replace

import numpy as np
import pytest

from engine.tiny.evaluation import prompts
from engine.tiny.evaluation.measure import oracle_accuracy
from engine.tiny.evaluation.oracle import read
from engine.tiny.evaluation.scores import identity, normalised, shows_motion, silhouette_iou, style_match
from engine.tiny.sets import NEW_BACKGROUNDS
from engine.tiny.sprites import Character
from engine.tiny.styles import HELD_OUT_STYLES
from engine.tiny.world import HELD_OUT_CHARACTERS, MOTIONS, render, scene_with

ZOKO = HELD_OUT_CHARACTERS["zoko"]


def test_oracle_reads_rendered_clips() -> None:
    """At least 97 % right about ground truth in everything it tells."""
    assert min(oracle_accuracy(count=36, seed=9).values()) >= 0.97


def test_oracle_survives_noise() -> None:
    """Noise of a tenth of the range, as a rough sample has, changes no answer."""
    rng = np.random.default_rng(0)
    scene = scene_with(rng, ZOKO, motion="right", num_frames=9, backdrop="sea")
    noisy = render(scene).astype(float) + rng.normal(0, 25, (9, 32, 32, 3))
    reading = read(noisy.clip(0, 255).astype(np.uint8))
    assert (reading.shape, reading.body, reading.hat, reading.direction, reading.background) == (
        "robot",
        "purple",
        "wizard hat",
        "right",
        "sea",
    )


@pytest.mark.parametrize("style", [None, *HELD_OUT_STYLES.values()], ids=lambda style: style.name if style else "plain")
def test_identity_is_one_for_the_character_itself(style) -> None:  # type: ignore[no-untyped-def]
    """Rendered ground truth scores (almost) one, also through a style; somebody else clearly less."""
    rng = np.random.default_rng(1)
    own = render(scene_with(rng, ZOKO, motion="left", num_frames=9, backdrop="castle", style=style))
    other = render(scene_with(rng, Character("cone", "green", "pink"), motion="left", num_frames=9, backdrop="castle", style=style))
    assert identity(own, ZOKO, style) > 0.97
    assert identity(other, ZOKO, style) < 0.6


def test_style_match_tells_styled_from_plain() -> None:
    """One for a styled picture, low for a plain one."""
    dusk = HELD_OUT_STYLES["dusk"]
    rng = np.random.default_rng(2)
    styled = render(scene_with(rng, ZOKO, motion="left", num_frames=9, backdrop="field", style=dusk))
    plain = render(scene_with(rng, ZOKO, motion="left", num_frames=9, backdrop="field"))
    assert style_match(styled, dusk) == pytest.approx(1.0, abs=0.01)
    assert style_match(plain, dusk) < 0.5


def test_normalised_maps_base_to_zero_and_truth_to_one() -> None:
    """The scale of every reported score."""
    assert normalised(0.4, 0.4, 0.9) == 0.0
    assert normalised(0.9, 0.4, 0.9) == pytest.approx(1.0)


def test_character_prompts_ask_for_what_training_never_showed() -> None:
    """Twenty prompts by name, on other backgrounds than the training set's, moving."""
    asked = prompts.character_scenes(ZOKO)
    assert len(asked) == 20
    assert all("zoko" in text for text, _ in asked)
    assert {scene.background for _, scene in asked} <= set(NEW_BACKGROUNDS)
    assert all(scene.motion != "still" for _, scene in asked)


def test_ordinary_prompts_never_name_anybody() -> None:
    """Drift is measured without any trigger."""
    assert not any("zoko" in text or "dusk" in text for text, _ in prompts.ordinary_scenes())


def test_held_out_motion_is_seen_in_its_own_clips_alone() -> None:
    """Every rendered orbit shows the orbit; none of the motions of pretraining does."""
    orbits = prompts.motion_scenes("orbit", count=8)
    assert all(shows_motion(read(render(scene)), "orbit") for _, scene in orbits)
    rng = np.random.default_rng(3)
    others = [scene_with(rng, ZOKO, motion=motion, num_frames=9, backdrop="sea") for motion in MOTIONS]
    assert not any(shows_motion(read(render(scene)), "orbit") for scene in others)


def test_silhouettes_overlap_with_themselves_and_hardly_with_others() -> None:
    """1 for the same figure in other colours and another place, little for one that stands and moves elsewhere."""
    scenes = [scene for _, scene in prompts.guided_scenes(count=10)]
    truths = [render(scene) for scene in scenes]
    recoloured = replace(scenes[0], character=replace(scenes[0].character, body="green"), background="moon")
    assert silhouette_iou(render(recoloured), truths[0]) >= 0.9
    strangers = [silhouette_iou(one, other) for one, other in zip(truths[1:], truths[:-1], strict=True)]
    assert np.mean(strangers) <= 0.3
