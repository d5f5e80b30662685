"""The key of every kind of file in the object store. Nothing else spells a key."""

from __future__ import annotations

import re

_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "text/plain": "txt",
    "application/zip": "zip",
    "application/json": "json",
    "application/x-safetensors": "safetensors",
}


def extension_of(media_type: str) -> str:
    """File name extension without the dot; `bin` for a type we never write."""
    return _EXTENSIONS.get(media_type, "bin")


def upload_key(user_id: int, sha256: str, media_type: str) -> str:
    """A person's upload, named by content, under the person so that `/privacy delete` finds it."""
    return f"uploads/{user_id}/{sha256}.{extension_of(media_type)}"


def lora_key(lora_id: str, job_id: str, attempt: int) -> str:
    """The weights one try of a training produced; the accepted result names the one that counts."""
    return f"loras/{lora_id}/{job_id}-{attempt}.safetensors"


def kept_key(lora_id: str, job_id: str, attempt: int, step: int) -> str:
    """A checkpoint of a training that can be picked instead of the chosen one."""
    return f"loras/{lora_id}/{job_id}-{attempt}-step-{step:06d}.safetensors"


def artifact_key(job_id: str, attempt: int, filename: str) -> str:
    """Anything else a job produced; attempts never overwrite each other."""
    return f"jobs/{job_id}/{attempt}/{filename}"


def features_key(job_id: str, filename: str) -> str:
    """Latents and text features of a training's set, named by content, base, bucket and code version; shared by all its attempts."""
    return f"features/{job_id}/{filename}"


def checkpoint_key(job_id: str, filename: str) -> str:
    """Resume state of a training; shared by all its attempts."""
    return f"checkpoints/{job_id}/{filename}"


PREFIXES = ("uploads", "loras", "jobs", "checkpoints", "features")
"""The first part of every key above."""

_OF_JOB = re.compile(r"(?:jobs|checkpoints|features)/([0-9A-Z]{26})/|loras/[^/]+/([0-9A-Z]{26})-")


def job_of(key: str) -> str | None:
    """The job that wrote, or reads, the object under a key of its own; None for what belongs to a person."""
    match = _OF_JOB.match(key)
    return match and (match[1] or match[2])


def export_folder(name: str) -> str:
    """Exports of one person; `name` tells nobody whose."""
    return f"exports/{name}"
