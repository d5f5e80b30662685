"""Files of results for those who post them: local copies, smaller copies, links."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from bot import media
from bot.services.links import LinkSigner
from engine.contracts.model import StoredObject
from engine.contracts.objects import extension_of
from engine.store import ObjectStore


@dataclass(frozen=True)
class Files:
    """Copies live in the scratch folder and belong to the caller, who deletes them."""

    store: ObjectStore
    scratch: Path
    signer: LinkSigner
    fit_timeout_s: float
    credentials: Path

    async def fetch(self, obj: StoredObject) -> Path:
        """A verified local copy.

        Raises:
            StoreError: it is gone, corrupt, or the store does not answer.
        """
        return await self.store.get_file(obj, self.scratch / f"{secrets.token_hex(8)}.{extension_of(obj.media_type)}")

    async def fit(self, video: Path, max_bytes: int) -> Path:
        """A re-encoded copy of at most `max_bytes`.

        Raises:
            MediaError: no encoding fits.
        """
        target = self.scratch / f"{secrets.token_hex(8)}.mp4"
        return await media.fit_video(video, target, max_bytes=max_bytes, credentials=self.credentials, timeout_s=self.fit_timeout_s)

    def link(self, obj: StoredObject, filename: str, reader_id: int = 0) -> str:
        """A signed, expiring link to `bot/web.py`, which asks at every click whether `reader_id` may still have the file."""
        return self.signer.url(obj, filename, reader_id)
