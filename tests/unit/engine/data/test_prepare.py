"""From a set of files to samples: shots, windows of the whole set, guides, and a sentence for what cannot be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.contracts.bases import TINY
from engine.contracts.controls import Control, ControlKind
from engine.contracts.lora import LoraKind
from engine.control.condition import encode_reference
from engine.control.extract import extractor_for, guiding_frames
from engine.data.buckets import Bucket
from engine.data.cache import FeatureCache
from engine.data.clips import plan, read_window, survey
from engine.data.dataset import LocalItem, collate
from engine.data.prepare import ItemReader, Preparation
from engine.errors import InvalidMediaError
from engine.model.loader import ResidentBase
from tests.support.engine import read_all, write_clip, write_pictures

RULE = TINY.geometry
EDGES = Control(kind=ControlKind.EDGES)


def _reader(tiny: ResidentBase, folder: Path, control: Control | None = None) -> ItemReader:
    return ItemReader(
        cache=FeatureCache(folder, tiny),
        rule=RULE,
        options=((32, 32),),
        max_frames=9,
        kind=LoraKind.MOTION if control is None else LoraKind.EFFECT,
        trigger="zip",
        control=control,
        extract=extractor_for(control.kind) if control is not None and control.kind.computed else None,
    )


def test_window_never_crosses_a_cut(tmp_path: Path) -> None:
    """A clip with a cut is two shots; each window has frames of one of them only."""
    item = write_clip(tmp_path / "cut.mp4", 60, 24, cut_at=30)
    source = survey(item.path, item.media_type, RULE)
    assert [shot[0] for shot in source.shots] == [0, 30]
    (windows,) = plan([source], [(32, 32)], RULE, 9, 1)
    assert [(w.frames[0] < 30, w.frames[-1] < 30) for w in windows] == [(True, True), (False, False)]


def test_shot_too_short_for_any_window_is_told(tiny: ResidentBase, tmp_path: Path) -> None:
    """Nothing is dropped silently: the facts of the set name the file and the number of unused shots."""
    item = write_clip(tmp_path / "cut.mp4", 34, 24, cut_at=27)
    preparation = Preparation(_reader(tiny, tmp_path / "cache"), [item])
    assert sum(len(preparation.step()) for _ in range(preparation.total)) == 1
    assert preparation.facts() == [
        {
            "file": "cut.mp4",
            "shots": 2,
            "windows": [{"start": 0, "frames": 9, "width": 32, "height": 32}],
            "unused_shots": 1,
            "caption": "zip zoko walking",
        }
    ]


def test_clip_of_three_frames_is_refused_by_name(tiny: ResidentBase, tmp_path: Path) -> None:
    """The sentence says how long a clip must be."""
    item = write_clip(tmp_path / "short.mp4", 3, 24)
    with pytest.raises(InvalidMediaError, match=r"short\.mp4: The clip's 3 frames are only 0\.1 s: use 0\.6 s or more"):
        read_all(_reader(tiny, tmp_path / "cache"), [item])


def test_one_long_and_one_short_clip_get_lengths_of_their_own(tiny: ResidentBase, tmp_path: Path) -> None:
    """Lengths come from the set: the short clip is used and does not shorten the long one."""
    items = [write_clip(tmp_path / "long.mp4", 9, 8), write_clip(tmp_path / "short.mp4", 5, 8)]
    samples = read_all(_reader(tiny, tmp_path / "cache"), items)
    assert [sample.bucket for sample in samples] == [Bucket(32, 32, 9), Bucket(32, 32, 5)]


def test_a_shape_too_rare_for_a_batch_joins_the_nearest(tmp_path: Path) -> None:
    """One wide picture among squares is cropped to a square when batches are of four, and kept wide when they are of one."""
    square = [survey(item.path, item.media_type, RULE) for item in write_pictures(tmp_path, count=4)]
    wide = replace(square[0], width=200, height=100)
    options = [(32, 32), (64, 32)]
    assert {window.bucket for found in plan([*square, wide], options, RULE, 9, 4) for window in found} == {Bucket(32, 32, 1)}
    assert plan([*square, wide], options, RULE, 9, 1)[-1][0].bucket == Bucket(64, 32, 1)


def test_guide_is_what_sampling_would_make_of_the_clip(tiny: ResidentBase, tmp_path: Path) -> None:
    """Training and sampling extract with the same function: latents of a sample's guide equal those of the clip's outlines."""
    items = write_pictures(tmp_path / "data", count=1, size=256)
    (sample,) = read_all(_reader(tiny, tmp_path / "cache", EDGES), items)
    frames = np.asarray(Image.open(items[0].path))[None]
    expected = encode_reference(tiny, guiding_frames(frames, EDGES, 32, 32, extractor_for(ControlKind.EDGES)))
    assert sample.guide is not None
    assert torch.allclose(sample.guide, expected[0], atol=1e-5)
    assert not torch.allclose(sample.guide, sample.latents, atol=0.1)


def test_mirrored_items_are_their_mirror_images_with_their_guides(tiny: ResidentBase, tmp_path: Path) -> None:
    """Pixels, outlines and words: what is taught mirrored is what a mirrored file with a mirrored caption would teach."""
    (item,) = write_pictures(tmp_path / "data", count=1, size=256)
    item = replace(item, caption="zip walking left")
    flipped = tmp_path / "flipped.png"
    Image.open(item.path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(flipped)
    reader = replace(_reader(tiny, tmp_path / "cache", EDGES), mirror=True)
    plain, mirrored = read_all(reader, [item])
    (expected,) = read_all(_reader(tiny, tmp_path / "other", EDGES), [replace(item, path=flipped, caption="zip walking right")])
    assert (plain.caption, mirrored.caption) == ("zip walking left", expected.caption)
    assert torch.equal(mirrored.latents, expected.latents)
    assert mirrored.guide is not None
    assert expected.guide is not None
    assert torch.allclose(mirrored.guide, expected.guide, atol=1e-5)
    assert not torch.equal(mirrored.latents, plain.latents)


def test_supplied_guide_wins_over_a_computed_one(tiny: ResidentBase, tmp_path: Path) -> None:
    """Whoever brings pairs trains on pairs, at the moments of the clip's own windows."""
    clip, guide = write_clip(tmp_path / "a.mp4", 24, 24), write_clip(tmp_path / "b.mp4", 8, 8)
    (sample,) = read_all(_reader(tiny, tmp_path / "cache", EDGES), [replace(clip, guide=guide.path)])
    (other,) = read_all(_reader(tiny, tmp_path / "cache"), [guide])
    assert sample.guide is not None
    assert sample.guide.shape == sample.latents.shape
    assert torch.allclose(sample.guide, other.latents, atol=1e-5)
    batch = collate([sample, sample], [0, 1], tiny.device)
    assert batch.guides is not None
    assert batch.guides.shape == batch.latents.shape


def test_pair_of_different_lengths_is_refused(tiny: ResidentBase, tmp_path: Path) -> None:
    """The sentence names the file and both lengths."""
    clip, guide = write_clip(tmp_path / "a.mp4", 24, 24), write_clip(tmp_path / "b.mp4", 48, 24)
    with pytest.raises(InvalidMediaError, match=r"a\.mp4: The clip lasts .* s and its guide .* s: cut both"):
        read_all(_reader(tiny, tmp_path / "cache", EDGES), [replace(clip, guide=guide.path)])


def test_video_to_video_needs_a_guide_for_every_item(tiny: ResidentBase, tmp_path: Path) -> None:
    """Nothing can be computed there, so a missing guide is said with the way to bring it."""
    item = write_clip(tmp_path / "a.mp4", 24, 24)
    with pytest.raises(InvalidMediaError, match=r"a\.mp4: There is no guide for it: .*_control"):
        read_all(_reader(tiny, tmp_path / "cache", Control(kind=ControlKind.VIDEO)), [item])


def test_half_decodable_clip_is_refused_by_name(tiny: ResidentBase, tmp_path: Path) -> None:
    """A file that breaks off half-way costs a sentence, not a crash."""
    item = write_clip(tmp_path / "broken.mp4", 48, 24)
    item.path.write_bytes(item.path.read_bytes()[: item.path.stat().st_size // 2])
    with pytest.raises(InvalidMediaError, match=r"broken\.mp4: The clip is damaged or cut off"):
        read_all(_reader(tiny, tmp_path / "cache"), [item])


def test_read_window_shows_the_frames_asked_for(tmp_path: Path) -> None:
    """By index, repeats included."""
    item: LocalItem = write_clip(tmp_path / "clip.mp4", 24, 24)
    frames = read_window(survey(item.path, item.media_type, RULE), (3, 3, 12), 32, 32)
    assert [round(float(frame.mean()) / 5) for frame in frames] == [3, 3, 12]
