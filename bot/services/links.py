"""Signed, expiring download links: whoever holds one may read one object until it expires, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import TypeAdapter

from bot.clock import Clock
from engine.contracts.model import StoredObject, StoreKey

_MAC_BYTES = 32
_PAYLOAD: TypeAdapter[tuple[StoreKey, str, int, str, int, int]] = TypeAdapter(tuple[StoreKey, str, int, str, int, int])


@dataclass(frozen=True)
class Download:
    """What a link says."""

    obj: StoredObject
    expires_at: int  # unix seconds
    reader_id: int  # whom it was made for; 0: nobody in particular


@dataclass(frozen=True)
class LinkSigner:
    """Makes and checks the links of `bot/web.py`: HMAC-SHA256 over the object, the time and the file name.

    A link to a job's file is about 300 characters long; Discord's link buttons take 512.
    """

    secret: bytes
    public_url: str
    expires_s: float
    clock: Clock

    def url(self, obj: StoredObject, filename: str, reader_id: int = 0) -> str:
        """A link that works for `expires_s`; `filename` is what the browser will call the file, `reader_id` who asked for it."""
        digest, expires_at = _encode(bytes.fromhex(obj.sha256)), int(self.clock() + self.expires_s)
        payload = json.dumps([obj.key, digest, obj.size, obj.media_type, expires_at, reader_id], separators=(",", ":")).encode()
        token = _encode(self._mac(payload, filename) + payload)
        return f"{self.public_url.rstrip('/')}/d/{token}/{quote(filename, safe='')}"

    def open(self, token: str, filename: str) -> Download | None:
        """What an untampered link says, expired or not; None for anything else."""
        try:
            raw = _decode(token)
            mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(payload, filename)):
                return None
            key, digest, size, media_type, expires_at, reader_id = _PAYLOAD.validate_json(payload)
            obj = StoredObject(key=key, sha256=_decode(digest).hex(), size=size, media_type=media_type)
        except ValueError:  # bad base64, bad JSON, wrong fields
            return None
        return Download(obj=obj, expires_at=expires_at, reader_id=reader_id)

    def expired(self, download: Download) -> bool:
        """True once the link is too old."""
        return self.clock() > download.expires_at

    def _mac(self, payload: bytes, filename: str) -> bytes:
        return hmac.new(self.secret, payload + b"\0" + filename.encode("utf-8", "replace"), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def load_secret(path: Path) -> bytes:
    """The signing key of this installation; made at the first call, readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(secrets.token_bytes(32))
    return path.read_bytes()
