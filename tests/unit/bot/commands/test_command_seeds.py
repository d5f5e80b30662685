"""Tests of the seeds behind "Vary"."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.commands.generate import next_seed
from engine.contracts.jobs import MAX_SEED


@given(st.integers(min_value=0, max_value=MAX_SEED), st.sets(st.integers(min_value=0, max_value=20)))
def test_next_seed_is_legal_and_unseen_whatever_was_made(seed: int, offsets: set[int]) -> None:
    """Every press of "Vary" on the same clip gives another clip."""
    seen = {(seed + offset) % (MAX_SEED + 1) for offset in offsets}
    found = next_seed(seed, seen)
    assert 0 <= found <= MAX_SEED
    assert found not in seen
    assert found != seed


def test_next_seed_wraps_when_the_last_one_was_used() -> None:
    """There is no seed above 2**32 - 1."""
    assert next_seed(MAX_SEED, set()) == 0
