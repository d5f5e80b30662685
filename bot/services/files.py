"""Files of results for those who post them: local copies, smaller copies, links."""

from __future__ import annotations

from pathlib import Path

from engine.contracts.model import StoredObject


class Files:
    """Copies live in the scratch folder and belong to the caller, who deletes them."""

    async def fetch(self, obj: StoredObject) -> Path:
        """A verified local copy.

        Raises:
            StoreError: it is gone, corrupt, or the store does not answer.
        """
        raise NotImplementedError

    async def fit(self, video: Path, max_bytes: int) -> Path:
        """A re-encoded copy of at most `max_bytes` (`bot/media.py`).

        Raises:
            MediaError: no encoding fits.
        """
        raise NotImplementedError

    async def link(self, obj: StoredObject, filename: str) -> str:
        """A signed, expiring download link: the store's own when it signs, else one of `bot/web.py`."""
        raise NotImplementedError
