"""From files to batches: cached features, windows of clips, a reproducible order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from engine.contracts.bases import TINY
from engine.contracts.lora import LoraKind
from engine.data.buckets import Bucket
from engine.data.cache import FeatureCache
from engine.data.dataset import BatchOrder, LocalItem, TextTable, collate, data_sha256
from engine.data.prepare import ItemReader
from engine.model.loader import ResidentBase
from tests.support.engine import read_all, write_clip, write_pictures

STILL, CLIP = Bucket(32, 32, 1), Bucket(32, 32, 9)


def _reader(tiny: ResidentBase, folder: Path, **changes: object) -> ItemReader:
    values: dict[str, object] = {
        "cache": FeatureCache(folder, tiny),
        "rule": TINY.geometry,
        "options": ((32, 32),),
        "max_frames": 9,
        "kind": LoraKind.CHARACTER,
        "trigger": "zoko",
    }
    return ItemReader(**{**values, **changes})  # type: ignore[arg-type]


def test_picture_becomes_one_latent_frame(tiny: ResidentBase, tmp_path: Path) -> None:
    """Latents are those of the picture at the bucket's size, whatever size it was uploaded in."""
    item = write_pictures(tmp_path / "data", count=1, size=256)[0]
    (sample,) = read_all(_reader(tiny, tmp_path / "cache"), [item])
    small = np.asarray(Image.open(item.path).resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    pixels = torch.from_numpy(small / 127.5 - 1).permute(2, 0, 1)[None, :, None]
    assert sample.bucket == STILL
    assert sample.latents.shape == (64, 1, 4, 4)
    assert torch.allclose(sample.latents, tiny.encode_video(pixels)[0], atol=1e-5)
    assert (sample.caption, sample.class_caption) == ("zoko standing on hill 0", "a creature standing on hill 0")


def test_clip_becomes_windows_at_the_bases_rate(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip at 24 frames a second is seen at 8, in windows of whole strides, in the order of time."""
    seen: list[list[int]] = []
    encode = ResidentBase.encode_video

    def spy(self: ResidentBase, pixels: torch.Tensor) -> torch.Tensor:
        seen.append([round((float(value) + 1) * 127.5 / 5) for value in pixels[0].mean(dim=(0, 2, 3))])
        return encode(self, pixels)

    monkeypatch.setattr(ResidentBase, "encode_video", spy)
    samples = read_all(_reader(tiny, tmp_path / "cache", max_frames=5), [write_clip(tmp_path / "clip.mp4", 48, 24)])
    assert [sample.bucket for sample in samples] == [Bucket(32, 32, 5)] * 3
    assert seen[0] == [0, 3, 6, 9, 12]
    assert seen[-1] == [33, 36, 39, 42, 45]
    assert samples[0].latents.shape == (64, 2, 4, 4)


@pytest.mark.parametrize("change", ["content", "size", "base", "nothing"])
def test_cache_answers_only_for_equal_content_size_and_base(
    tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The key holds everything latents depend on; a file's name is not part of it."""
    item = write_pictures(tmp_path / "data", count=1)[0]
    read_all(_reader(tiny, tmp_path / "cache"), [item])
    calls: list[int] = []
    encode = ResidentBase.encode_video
    monkeypatch.setattr(ResidentBase, "encode_video", lambda self, pixels: calls.append(1) or encode(self, pixels))
    renamed = item.path.rename(tmp_path / "data" / "renamed.png")
    if change == "content":
        Image.new("RGB", (64, 64), "red").save(renamed)
    resident = tiny if change != "base" else ResidentBase(tiny.base, tiny.pipeline, tiny.device, tiny.dtype, "other")
    options = ((64, 32),) if change == "size" else ((32, 32),)
    read_all(_reader(resident, tmp_path / "cache", options=options), [LocalItem(renamed, "image/png", "b.png")])
    assert len(calls) == (0 if change == "nothing" else 1)


def test_damaged_cache_file_is_computed_again(tiny: ResidentBase, tmp_path: Path) -> None:
    """A cache may lose a file to a crash; it never loses a training."""
    item = write_pictures(tmp_path / "data", count=1)[0]
    (first,) = read_all(_reader(tiny, tmp_path / "cache"), [item])
    (cached,) = (tmp_path / "cache").glob("latents-*")
    cached.write_bytes(cached.read_bytes()[:50])
    (second,) = read_all(_reader(tiny, tmp_path / "cache"), [item])
    assert torch.equal(first.latents, second.latents)
    assert torch.equal(safetensors.torch.load_file(cached)["latents"], first.latents)


def test_text_features_are_those_of_sampling(tiny: ResidentBase, tmp_path: Path) -> None:
    """A batch of cached captions equals the base's own answer, caption by caption, from the disk too."""
    for _ in range(2):
        table = TextTable(FeatureCache(tmp_path / "cache", tiny))
        for caption in ("zoko on a beach", "a ball", "zoko on a beach"):
            table.add(caption)
        batch = table.batch(["a ball", "zoko on a beach"])
        assert torch.equal(batch.video[:1], tiny.encode_text(["a ball"]).video)
        assert torch.equal(batch.audio[1:], tiny.encode_text(["zoko on a beach"]).audio)
        assert batch.mask.shape == (2, 32)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_order_shows_every_sample_once_per_pass() -> None:
    """Ten samples in batches of four: after five batches each was seen exactly twice."""
    order = BatchOrder([STILL] * 10, 4, torch.Generator().manual_seed(0))
    seen = [index for _ in range(5) for index in order.next()]
    assert sorted(seen) == sorted([*range(10), *range(10)])


def test_order_never_mixes_buckets_and_shares_by_size() -> None:
    """A batch is of one shape, and a bucket with three quarters of the samples gets about three quarters of the batches."""
    buckets = [STILL] * 30 + [CLIP] * 10
    order = BatchOrder(buckets, 2, torch.Generator().manual_seed(0))
    batches = [order.next() for _ in range(400)]
    assert all(len({buckets[index] for index in batch}) == 1 for batch in batches)
    stills = sum(buckets[batch[0]] == STILL for batch in batches)
    assert 270 <= stills <= 330


def test_batch_is_full_even_when_the_set_is_smaller() -> None:
    """Four pictures and a batch of eight: two passes in one batch."""
    order = BatchOrder([STILL] * 4, 8, torch.Generator().manual_seed(0))
    assert sorted(order.next()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_order_goes_on_from_a_saved_state() -> None:
    """State and generator together continue the very same sequence."""
    generator = torch.Generator().manual_seed(0)
    order = BatchOrder([STILL] * 7 + [CLIP] * 3, 2, generator)
    for _ in range(5):
        order.next()
    state, random_state = order.state(), generator.get_state()
    expected = [order.next() for _ in range(10)]
    other_generator = torch.Generator()
    other_generator.set_state(random_state)
    other = BatchOrder([STILL] * 7 + [CLIP] * 3, 2, other_generator)
    other.restore(state)
    assert [other.next() for _ in range(10)] == expected


def test_batch_stacks_its_samples(tiny: ResidentBase, tmp_path: Path) -> None:
    """Latents, captions and captions without the trigger, in the order asked for."""
    reader = _reader(tiny, tmp_path / "cache")
    samples = [sample for item in write_pictures(tmp_path / "data") for sample in read_all(reader, [item])]
    batch = collate(samples, [2, 0], tiny.device)
    assert torch.equal(batch.latents[0], samples[2].latents)
    assert batch.captions == ("zoko standing on hill 2", "zoko standing on hill 0")
    assert batch.class_captions == ("a creature standing on hill 2", "a creature standing on hill 0")


def test_data_hash_depends_on_content_and_captions_only(tmp_path: Path) -> None:
    """Order and file names do not matter; a changed caption or picture does."""
    items = write_pictures(tmp_path / "data")
    first = data_sha256(items)
    assert data_sha256(items[::-1]) == first
    assert data_sha256([*items[:3], LocalItem(items[3].path, "image/png", "other.png", items[3].caption)]) == first
    assert data_sha256([*items[:3], LocalItem(items[3].path, "image/png", "other.png", "other")]) != first
    assert data_sha256(items[:3]) != first
