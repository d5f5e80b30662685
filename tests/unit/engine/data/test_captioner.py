"""Captions by the base's own eyes: given ones win, each item is looked at once, and a random tiny Gemma 3 runs the real code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessor, Gemma3Processor, GemmaTokenizer

from engine.contracts.bases import TINY
from engine.contracts.lora import LoraKind
from engine.data.cache import FeatureCache
from engine.data.captioner import MAX_LOOKS, GemmaCaptioner, NoCaptioner, captioner_of, frames_to_show, tidied
from engine.data.dataset import LocalItem
from engine.data.describe import captions_for
from engine.data.prepare import ItemReader
from engine.model.bases import get_base
from engine.model.loader import ResidentBase
from tests.support.engine import read_all, write_clip, write_pictures

_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}{{ '<start_of_image>' }}{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "<end_of_turn>\n{% endfor %}model\n"
)


@pytest.fixture(scope="module")
def gemma() -> GemmaCaptioner:
    """A random Gemma 3 of a few thousand weights with eyes, its processor and the tiny base's words."""
    folder = Path(str(get_base("tiny").source)) / "tokenizer"
    special = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = GemmaTokenizer.from_pretrained(folder, extra_special_tokens=special)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special.values())})
    tokenizer.chat_template = _TEMPLATE
    image_processor = Gemma3ImageProcessor(size={"height": 28, "width": 28}, do_pan_and_scan=False)
    processor = Gemma3Processor(image_processor, tokenizer, image_seq_length=4)
    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 28,
        "patch_size": 14,
    }
    torch.manual_seed(0)
    config = Gemma3Config(
        text_config={**text, "head_dim": 16, "vocab_size": len(tokenizer) + 8, "sliding_window": 64, "max_position_embeddings": 4096},
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
    )
    return GemmaCaptioner(Gemma3ForConditionalGeneration(config).eval(), processor)


def test_gemma_looks_at_pictures_and_clips(gemma: GemmaCaptioner) -> None:
    """The real path from frames to words, with one image and with several; a random model says nonsense, but always the same."""
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    clip = rng.integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    for frames in (still, clip):
        words = gemma.caption(frames, LoraKind.STYLE)
        assert words is None or isinstance(words, str)
        assert gemma.caption(frames, LoraKind.STYLE) == words


def test_gemma_is_asked_with_as_many_pictures_as_it_is_shown(gemma: GemmaCaptioner, monkeypatch: pytest.MonkeyPatch) -> None:
    """One soft-token run per frame, the kind's own request in the words, greedy decoding."""
    seen: dict[str, Any] = {}

    def generate(**inputs: Any) -> torch.Tensor:
        seen.update(inputs)
        return torch.cat([inputs["input_ids"], inputs["input_ids"][:, :3]], dim=1)

    monkeypatch.setattr(gemma._model, "generate", generate)
    gemma.caption(np.zeros((9, 32, 32, 3), dtype=np.uint8), LoraKind.STYLE)
    asked = gemma._processor.tokenizer.decode(seen["input_ids"][0])
    assert seen["pixel_values"].shape[0] == MAX_LOOKS
    assert asked.count("<start_of_image>") == MAX_LOOKS
    assert "art style" in asked
    assert seen["do_sample"] is False


class _Eyes:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def caption(self, frames: np.ndarray, kind: LoraKind) -> str | None:
        self.asked.append(frames.shape)
        return "A grey hill under a wide sky."


def _reader(tiny: ResidentBase, folder: Path, eyes: Any, shared: Path | None = None) -> ItemReader:
    return ItemReader(FeatureCache(folder, tiny, shared), TINY.geometry, ((32, 32),), 9, LoraKind.CHARACTER, "zoko", captioner=eyes)


def test_given_captions_win_and_every_other_item_is_looked_at_once(tiny: ResidentBase, tmp_path: Path) -> None:
    """A second training of the same set asks nobody again; the trigger is put in afterwards."""
    items = write_pictures(tmp_path / "data", count=2)
    items = [items[0], replace(items[1], caption=None), replace(write_clip(tmp_path / "data" / "IMG_0001.mp4", 9, 8), caption=None)]
    eyes = _Eyes()
    for _ in range(2):
        samples = read_all(_reader(tiny, tmp_path / "cache", eyes), items)
        assert [sample.caption for sample in samples] == [
            "zoko standing on hill 0",
            "zoko A grey hill under a wide sky.",
            "zoko A grey hill under a wide sky.",
        ]
    assert eyes.asked == [(1, 32, 32, 3), (6, 32, 32, 3)]


def test_base_without_eyes_leaves_it_to_the_file_name(tiny: ResidentBase, tmp_path: Path) -> None:
    """The tiny base has no image processor; the caption is made of the name."""
    assert isinstance(captioner_of(tiny), NoCaptioner)
    (item,) = write_pictures(tmp_path / "data", count=1)
    renamed = item.path.rename(item.path.with_name("red barn.png"))
    (sample,) = read_all(
        _reader(tiny, tmp_path / "cache", NoCaptioner()), [replace(item, path=renamed, filename=renamed.name, caption=None)]
    )
    assert sample.caption == "zoko red barn"


def test_items_are_described_before_their_training_which_asks_nobody_again(
    tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time; a file that cannot be decoded, and has no name of its own, gets no words and stops nobody."""
    items = [replace(item, caption=None) for item in (*write_pictures(tmp_path / "data", 1), write_clip(tmp_path / "x.mp4", 9, 8))]
    broken = tmp_path / "IMG_0002.mp4"
    broken.write_bytes(b"no clip")
    items.append(LocalItem(broken, "video/mp4", broken.name))
    eyes = _Eyes()
    monkeypatch.setattr("engine.data.describe.captioner_of", lambda _: eyes)
    shared = tmp_path / "shared"
    for folder in ("one", "two"):
        assert list(captions_for(tiny, LoraKind.CHARACTER, items, tmp_path / folder, shared)) == [
            "A grey hill under a wide sky.",
            "A grey hill under a wide sky.",
            None,
        ]
    read_all(_reader(tiny, tmp_path / "three", eyes, shared), items[:2])
    assert len(eyes.asked) == 2


def test_base_without_eyes_describes_by_file_names(tiny: ResidentBase, tmp_path: Path) -> None:
    """Words that somebody wrote are shown as the caption they will be; a camera's name is none."""
    (item,) = write_pictures(tmp_path / "data", 1)
    items = [replace(item, filename=name) for name in ("red barn.png", "IMG_0001.png")]
    assert list(captions_for(tiny, LoraKind.STYLE, items, tmp_path / "cache")) == ["red barn", None]


@pytest.mark.parametrize(
    ("said", "caption"),
    [
        ("The image shows a cat. It sleeps on", "A cat."),
        ("**A cat** sits\n\non a wall. It is night.", "A cat sits on a wall. It is night."),
        ("no full stop", "no full stop"),
        ("  ", None),
    ],
)
def test_answers_become_one_line_of_whole_sentences(said: str, caption: str | None) -> None:
    """No markup, no phrase in front, no sentence that breaks off."""
    assert tidied(said) == caption


def test_clip_is_looked_at_from_end_to_end() -> None:
    """Evenly, a few frames at most."""
    assert frames_to_show(1) == [0]
    assert frames_to_show(121) == [0, 24, 48, 72, 96, 120]
