"""Tests of the small pieces of text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ui import format as fmt


@given(st.text(max_size=200))
def test_safe_leaves_no_active_sign_when_given_any_text(text: str) -> None:
    """Every sign that Discord could act on stands behind a backslash, and the text stays on one line."""
    shown = fmt.safe(text)
    bare = re.sub(r"\\.", "", shown, flags=re.DOTALL)
    assert not set(bare) & set("*_~|`<>@#[]\\")
    assert "\n" not in shown
    assert not re.match(r"[-+]|\d+\.", shown)


@pytest.mark.parametrize("hostile", ["a\u202eb", "a\u200bb", "a\u2066b", "a\x00b", "a\ufeffb"])
def test_plain_drops_invisible_signs_when_text_has_them(hostile: str) -> None:
    """Zero-width and direction characters cannot hide or reorder what a person reads."""
    assert fmt.plain(hostile) == "ab"


@given(st.text(max_size=400), st.integers(min_value=2, max_value=100))
def test_plain_keeps_to_its_limit_when_text_is_long(text: str, limit: int) -> None:
    """The cut text, ellipsis included, has at most `limit` characters."""
    assert len(fmt.plain(text, limit)) <= limit


def test_safe_defuses_mentions_links_and_emoji_when_quoted() -> None:
    """None of the forms Discord turns into something else survives."""
    shown = fmt.safe("@everyone <@123> https://example.org [a](b) :smile: ## big")
    assert shown == "\\@everyone \\<\\@123\\> https:\\/\\/example.org \\[a\\](b) \\:smile: \\#\\# big"


def test_code_cannot_be_left_when_text_has_back_ticks() -> None:
    """A back-tick would end the code style."""
    assert fmt.code("a`b") == "`a'b`"
    assert fmt.code("") == "` `"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (8, "8 s"), (89.5, "90 s"), (91, "2 min"), (5399, "1 h 30 min"), (5460, "1 h 31 min"), (7200, "2 h")],
)
def test_duration_uses_the_coarsest_helpful_unit_when_given_seconds(seconds: float, words: str) -> None:
    """People read minutes, not thousands of seconds."""
    assert fmt.duration(seconds) == words


@given(st.floats(min_value=0, max_value=1e6), st.floats(min_value=1, max_value=1e6))
def test_bar_is_full_only_when_done(part: float, total: float) -> None:
    """A bar has a fixed width, and its last cell fills at the very end."""
    drawn = fmt.bar(part, total)
    assert len(drawn) == 12
    assert (fmt.EMPTY not in drawn) == (part >= total)


def test_bar_is_empty_when_there_is_no_total() -> None:
    """Nothing is known yet: no division by zero."""
    assert fmt.bar(3, 0) == fmt.EMPTY * 12


@pytest.mark.parametrize(("size", "words"), [(10, "1 kB"), (2048, "2 kB"), (10 * 2**20, "10 MB"), (int(1.5 * 2**20), "1.5 MB")])
def test_megabytes_names_sizes_as_discord_does(size: int, words: str) -> None:
    """Limits are MiB called MB."""
    assert fmt.megabytes(size) == words


@pytest.mark.parametrize(("value", "words"), [(1.0, "1"), (0.9, "0.9"), (0.75, "0.75"), (0.0, "0")])
def test_weight_has_no_needless_zeros(value: float, words: str) -> None:
    """`1.00` is noise."""
    assert fmt.weight(value) == words
