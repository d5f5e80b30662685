"""Old and new workers side by side: which version of the contracts a job needs, and what of it an older worker has to read.

A job that uses nothing new is written as version 1 had it, into version 1's queue, so every worker can run it. One that does goes into a
queue that only workers of the current version look at. When fields are added: nothing to do here; when a version is released:
move the paths of the version before into `_KNOWN`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.contracts.jobs import Work
from engine.contracts.wire import CONTRACT_VERSION

_FILE = {"key", "sha256", "size", "media_type"}
_COMMON = {"kind", "version", "job_id", "base", "seed"}
_KNOWN: Mapping[str, frozenset[str]] = {
    "train_lora": frozenset(
        _COMMON
        | {"lora_id", "name", "lora_kind", "trigger", "items", "rank", "steps", "learning_rate", "batch_size", "width", "height"}
        | {"preview_prompt", "items.media", "items.filename", "items.caption"}
        | {f"items.media.{name}" for name in _FILE}
    ),
    "generate_video": frozenset(
        _COMMON
        | {"prompt", "negative_prompt", "adapters", "geometry", "image", "max_bytes"}
        | {f"geometry.{name}" for name in ("width", "height", "num_frames", "fps")}
        | {f"adapters.{name}" for name in ("lora_id", "name", "kind", "trigger", "file", "weight")}
        | {f"adapters.file.{name}" for name in _FILE}
        | {f"image.{name}" for name in _FILE}
    ),
}
"""Every key of version 1, as a path."""


def encode(job: Work) -> dict[str, Any]:
    """The job as JSON values, without fields that version 1 did not know and that say nothing (hold their default)."""
    full, telling = job.model_dump(mode="json"), job.model_dump(mode="json", exclude_defaults=True)
    trimmed: dict[str, Any] = _trimmed(full, telling, _known(job), "")
    return trimmed


def version_needed(job: Work) -> int:
    """The lowest contract version that understands the job."""
    return 1 if set(_paths(encode(job), "")) <= _known(job) else CONTRACT_VERSION


def understands(payload: Mapping[str, Any], version: int) -> bool:
    """False when a worker of `version` meets keys in a message that only a later one knows."""
    known = _KNOWN.get(str(payload.get("kind")))
    return version >= CONTRACT_VERSION or (known is not None and set(_paths(payload, "")) <= known)


def _known(job: Work) -> frozenset[str]:
    return _KNOWN.get(job.kind, frozenset())


def _trimmed(full: Any, telling: Any, known: frozenset[str], path: str) -> Any:
    if isinstance(full, list):
        values = telling if isinstance(telling, list) and len(telling) == len(full) else [{}] * len(full)
        return [_trimmed(item, said, known, path) for item, said in zip(full, values, strict=True)]
    if not isinstance(full, dict):
        return full
    said = telling if isinstance(telling, dict) else {}
    return {
        key: _trimmed(value, said.get(key, {}), known, f"{path}{key}.")
        for key, value in full.items()
        if key in said or f"{path}{key}" in known or (f"{path}kind" not in known and key in ("kind", "version"))
    }


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _paths(item, path)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"{path}{key}"
            yield from _paths(inner, f"{path}{key}.")
