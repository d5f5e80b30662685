"""Captions before a training: what it would be told of items that came without any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.contracts.lora import LoraKind
from engine.data.buckets import sizes
from engine.data.cache import FeatureCache
from engine.data.captioner import captioner_of
from engine.data.captions import words_of
from engine.data.clips import plan, survey
from engine.data.dataset import LocalItem
from engine.data.prepare import ItemReader
from engine.errors import InvalidMediaError
from engine.hashing import file_sha256
from engine.model.loader import ResidentBase


def captions_for(
    resident: ResidentBase, kind: LoraKind, items: Sequence[LocalItem], folder: Path, shared_cache: Path | None = None
) -> Iterator[str | None]:
    """Look at one item at each `next`: what the base's own eyes see, else the words of its file name.

    None where there is nothing to say, and for an item that cannot be decoded, which its training will name. What is seen is kept in
    `folder`, and in `shared_cache` for the training, as `engine.data.cache` has it.
    """
    profile = resident.base.profile
    defaults, rule = profile.training[kind], profile.geometry
    reader = ItemReader(
        cache=FeatureCache(folder, resident, shared_cache),
        rule=rule,
        options=tuple(sizes(defaults.width, defaults.height, rule)),
        max_frames=rule.default_frames,
        kind=kind,
        trigger=None,
        captioner=captioner_of(resident),
    )
    for item in items:
        yield _seen(reader, item) or words_of(item.filename) or None


def _seen(reader: ItemReader, item: LocalItem) -> str | None:
    try:
        source = survey(item.path, item.media_type, reader.rule)
        (windows,) = plan([source], reader.options, reader.rule, reader.max_frames, reader.batch_size)
        return reader.seen(file_sha256(item.path), source, windows)
    except InvalidMediaError:
        return None
