"""The base class of every message and value that crosses a process border."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

JobId = Annotated[str, StringConstraints(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]
"""A ULID: sortable by time, 26 characters, never reused."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

StoreKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$", max_length=512)]
"""A relative object-store key; the pattern leaves no room for `..`, a leading slash or an empty part."""


class Contract(BaseModel):
    """A frozen value; unknown keys are refused, so that a newer sender is noticed instead of half understood."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredObject(Contract):
    """A file in the object store, named by key and proved by content.

    A signed URL is never stored: whoever needs one asks the store for it at the moment of use.
    """

    key: StoreKey
    sha256: Sha256
    size: int  # bytes
    media_type: str
