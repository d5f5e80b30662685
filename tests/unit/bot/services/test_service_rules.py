"""Small rules of the services, without a database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from bot.clock import build_clock
from bot.services.links import LinkSigner, load_secret
from bot.services.posts import PostKind, nonce_for
from bot.services.quotas import charge_for, window_of
from engine.contracts.model import StoredObject
from tests.support.contracts import stored


@given(st.integers(0, 10_000), st.integers(-1, 5000), st.integers(0, 4000))
def test_charge_is_a_share_of_the_price_when_a_job_was_stopped(units: int, steps: int, total: int) -> None:
    """Nothing for nothing, everything for everything, never more, never less for more steps."""
    charged = charge_for(units, steps, total)
    assert 0 <= charged <= units
    assert charged <= charge_for(units, steps + 1, total)
    if steps <= 0 or total <= 0:
        assert charged == 0
    elif steps >= total:
        assert charged == units


def test_window_is_the_utc_day_when_asked_at_any_second() -> None:
    """Units return at midnight UTC."""
    noon = datetime(2026, 11, 23, 12, 34, 56, tzinfo=UTC).timestamp()
    assert datetime.fromtimestamp(window_of(noon), UTC) == datetime(2026, 11, 23, tzinfo=UTC)


@given(st.integers(0, 2**128 - 1))
def test_nonce_fits_discord_when_made_of_any_job(number: int) -> None:
    """At most 25 characters, the same every time, different per kind and job."""
    job_id = str(ULID.from_int(number))
    nonce = nonce_for(job_id, PostKind.RESULT)
    assert len(nonce) <= 25
    assert nonce == nonce_for(job_id, PostKind.RESULT)
    assert nonce != nonce_for(job_id, PostKind.FAILED)
    assert nonce != nonce_for(str(ULID.from_int((number + 1) % 2**128)), PostKind.RESULT)


def _signer(now: float = 1000.0) -> LinkSigner:
    return LinkSigner(b"key", "https://clips.example.org/", 60.0, lambda: now)


def _parts(url: str) -> tuple[str, str]:
    _, token, filename = url.rsplit("/", 2)
    return token, filename


def test_link_names_its_object_when_opened() -> None:
    """What was signed comes back, and fits a link button."""
    obj = stored("jobs/01JD9X8Q4ZK7T3M5V6W2Y1N0PA/1/clip.mp4", "video/mp4")
    url = _signer().url(obj, "zoko-7.mp4")
    assert len(url) <= 512
    download = _signer().open(*_parts(url))
    assert download is not None
    assert (download.obj, download.expires_at) == (obj, 1060)
    assert not _signer(1060).expired(download)
    assert _signer(1061).expired(download)


@given(st.text(max_size=400), st.text(max_size=20))
def test_link_is_refused_when_the_token_is_anything_else(token: str, filename: str) -> None:
    """Garbage is None, never an exception."""
    assert _signer().open(token, filename) is None


@pytest.mark.parametrize(
    "forge",
    [
        lambda obj: LinkSigner(b"other", "https://clips.example.org", 60.0, lambda: 1000.0).url(obj, "a.mp4"),
        lambda obj: _signer().url(obj, "b.mp4").replace("b.mp4", "a.mp4"),
    ],
    ids=["another key", "another file name"],
)
def test_link_is_refused_when_forged(forge: Callable[[StoredObject], str]) -> None:
    """Only our key, and only under the name it was made for."""
    assert _signer().open(*_parts(forge(stored()))) is None


def test_link_key_stays_the_same_and_private_when_loaded_again(tmp_path: Path) -> None:
    """Links survive a restart; nobody else on the machine reads the key."""
    path = tmp_path / "data" / "link.key"
    first = load_secret(path)
    assert len(first) == 32
    assert load_secret(path) == first
    assert path.stat().st_mode & 0o077 == 0


def test_clock_moves_when_the_offset_file_is_written(tmp_path: Path) -> None:
    """The sandbox's minutes count at once; no file is no offset."""
    file = tmp_path / "offset"
    clock = build_clock(file)
    before = clock()
    file.write_text("3600")
    assert clock() - before >= 3600
