"""Names and stacks as people type them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import Refusal, RefusalCode
from bot.services.loras import StackEntry, parse_name, parse_stack
from engine.contracts.lora import MAX_STACK, MAX_WEIGHT


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        (" , ,", []),
        ("hero", [("hero", 1.0, False)]),
        ("hero:0.9,watercolour", [("hero", 0.9, True), ("watercolour", 1.0, False)]),
        (" Hero : .5 , ink-2 : 2 ", [("hero", 0.5, True), ("ink-2", 2.0, True)]),
        ("hero:0", [("hero", 0.0, True)]),
    ],
)
def test_stack_is_read_when_it_is_a_comma_list(text: str, entries: list[tuple[str, float, bool]]) -> None:
    """Missing weights are 1 and marked as such, spaces and capitals do not matter."""
    assert parse_stack(text) == [StackEntry(*entry) for entry in entries]


@pytest.mark.parametrize(
    ("text", "code", "facts"),
    [
        ("hero:abc", RefusalCode.WEIGHT_INVALID, {"name": "hero", "text": "abc"}),
        ("hero:", RefusalCode.WEIGHT_INVALID, {"name": "hero", "text": ""}),
        ("hero:nan", RefusalCode.WEIGHT_INVALID, {"name": "hero", "text": "nan"}),
        ("hero:inf", RefusalCode.WEIGHT_INVALID, {"name": "hero", "text": "inf"}),
        ("hero:1_0", RefusalCode.WEIGHT_INVALID, {"name": "hero", "text": "1_0"}),
        ("hero:0.5:0.6", RefusalCode.WEIGHT_INVALID, {"name": "hero", "text": "0.5:0.6"}),
        ("hero:9", RefusalCode.WEIGHT_OUT_OF_RANGE, {"name": "hero", "text": "9", "limit": MAX_WEIGHT}),
        ("hero:-0.1", RefusalCode.WEIGHT_OUT_OF_RANGE, {"name": "hero", "text": "-0.1", "limit": MAX_WEIGHT}),
        ("hero,ink,HERO:0.5", RefusalCode.LORA_DUPLICATE, {"name": "hero"}),
        ("a1,b1,c1,d1,e1", RefusalCode.STACK_TOO_LARGE, {"count": 5, "limit": MAX_STACK}),
        (":0.5", RefusalCode.STACK_SYNTAX, {"text": ":0.5"}),
    ],
)
def test_stack_is_refused_with_its_facts_when_an_entry_is_wrong(text: str, code: RefusalCode, facts: dict[str, object]) -> None:
    """Each mistake has its own code, and the facts name what was typed."""
    with pytest.raises(Refusal) as refused:
        parse_stack(text)
    assert (refused.value.code, refused.value.facts) == (code, facts)


@given(st.text(max_size=60))
def test_stack_is_read_or_refused_when_it_is_any_text(text: str) -> None:
    """Nothing else ever comes out, and every weight is usable."""
    try:
        entries = parse_stack(text)
    except Refusal:
        return
    assert len(entries) <= MAX_STACK
    assert all(entry.name and math.isfinite(entry.weight) and 0 <= entry.weight <= MAX_WEIGHT for entry in entries)


def test_name_is_made_small_when_it_has_capitals() -> None:
    """`Zoko` and `zoko` are one name."""
    assert parse_name(" Zoko ") == "zoko"
