"""Figures about clips, on frames whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from engine.evaluate.identity import Correlogram, Frames, likeness_for, spread_frames
from engine.evaluate.measures import Direction, Originals, motion, motion_ratio


def _clip(colour: tuple[int, int, int], place: int, count: int = 4) -> Frames:
    """A square of `colour` on grey that walks right from `place`."""
    clip = np.full((count, 32, 32, 3), 90, dtype=np.uint8)
    for index, frame in enumerate(clip):
        left = (place + 2 * index) % 22
        frame[10:20, left : left + 10] = colour
    return clip


def _noisy(clip: Frames, seed: int) -> Frames:
    noise = np.random.default_rng(seed).integers(-6, 7, clip.shape)
    return np.clip(clip.astype(int) + noise, 0, 255).astype(np.uint8)


def test_direction_is_zero_at_the_base_and_one_at_the_training_set() -> None:
    """Clips like the base's score 0, clips like the set's 1 wherever the subject stands, a mixture in between."""
    likeness = Correlogram()
    base = likeness.features(_clip((0, 0, 250), 0))
    training = likeness.features(np.concatenate([_clip((250, 0, 0), place) for place in (0, 3, 6)]))
    direction = Direction.between(base, training)
    assert direction.moved(base, base) == 0.0
    assert direction.moved(base, likeness.features(_clip((250, 0, 0), 11))) == pytest.approx(1.0, abs=0.15)
    half = np.concatenate([_clip((250, 0, 0), 11, 2), _clip((0, 0, 250), 11, 2)])
    assert 0.3 < direction.moved(base, likeness.features(half)) < 0.7
    assert abs(direction.moved(base, likeness.features(_clip((0, 250, 0), 0)))) < 0.6


def test_correlogram_knows_what_lies_above_what() -> None:
    """Red over blue is not blue over red, although the colours are the same."""
    one = np.full((1, 32, 32, 3), 90, dtype=np.uint8)
    one[0, 8:16, 8:24], one[0, 16:24, 8:24] = (250, 0, 0), (0, 0, 250)
    likeness = Correlogram()
    features = likeness.features(np.concatenate([one, one[:, ::-1], np.roll(one, 4, axis=2)]))
    assert features[0] @ features[2] > 0.95 > features[0] @ features[1]
    assert np.linalg.norm(features, axis=1) == pytest.approx(1.0)


def test_copies_are_told_from_new_pictures() -> None:
    """A frame that is a training picture with a little noise is a copy; the subject elsewhere in another scene is not."""
    items = [_clip((250, 0, 0), place, 1) for place in range(0, 20, 4)]
    originals = Originals.of(items)
    assert originals.copied_share(_noisy(items[2], 1)) == 1.0
    elsewhere = 255 - _clip((250, 0, 0), 2, 3)
    assert originals.copied_share(elsewhere) == 0.0
    assert originals.copied_share(np.concatenate([items[0], elsewhere])) == 0.25


def test_single_training_item_accuses_nobody_of_copying() -> None:
    """Without a second item there is no scale for what is near."""
    item = _clip((250, 0, 0), 0)
    assert Originals.of([item]).copied_share(item) == 0.0


def test_motion_is_relative_to_what_there_was() -> None:
    """A frozen clip has none; a base that does not move takes nothing away from anybody."""
    walking, frozen = _clip((250, 0, 0), 0), np.repeat(_clip((250, 0, 0), 0, 1), 4, axis=0)
    assert motion(walking) > 0.0 == motion(frozen) == motion(walking[:1])
    assert motion_ratio([walking], [frozen]) == 0.0
    assert motion_ratio([walking, walking], [walking, frozen]) == pytest.approx(0.5)
    assert motion_ratio([frozen], [walking]) == 1.0


def test_frames_of_all_clips_are_spread_and_fitted() -> None:
    """Four frames of each, first and last included; another size is fitted to the first's."""
    pile = spread_frames([_clip((250, 0, 0), 0, 9), np.zeros((2, 16, 16, 3), dtype=np.uint8)], 4)
    assert pile.shape == (6, 32, 32, 3)
    assert np.array_equal(pile[3], _clip((250, 0, 0), 0, 9)[-1])


def test_vision_model_that_is_not_here_leaves_the_colours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A host without the weights still chooses, and says by what."""
    found = likeness_for(str(tmp_path / "no-such-model"), torch.device("cpu"))
    assert found.name == "colour correlogram"
    assert "no-such-model" in caplog.text


def test_vision_model_compares_by_its_pooled_output(tmp_path: Path) -> None:
    """A backbone saved by transformers is loaded by name; equal frames have equal unit vectors, others do not."""
    from pathlib import Path

    import torch

    assert isinstance(tmp_path, Path)
    torch.manual_seed(0)
    size = {"height": 28, "width": 28}
    Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)).save_pretrained(
        tmp_path
    )
    BitImageProcessor(size={"shortest_edge": 28}, crop_size=size).save_pretrained(tmp_path)
    likeness = likeness_for(str(tmp_path), torch.device("cpu"))
    features = likeness.features(np.concatenate([_clip((250, 0, 0), 0, 1), _clip((250, 0, 0), 0, 1), _clip((0, 250, 0), 9, 1)]))
    assert features.shape == (3, 16)
    assert likeness.name == str(tmp_path)
    assert features[0] @ features[1] == pytest.approx(1.0, abs=1e-5)
    assert features[0] @ features[2] < 0.9999
