"""Documented rules that Discord's API description lacks."""

from __future__ import annotations

from typing import Any

import pytest

from bot.sandbox.limits import choice_problems, command_problems, message_problems, modal_problems


def text(content: str) -> dict[str, Any]:
    """A text display."""
    return {"type": 10, "content": content}


def button(custom_id: str, **more: Any) -> dict[str, Any]:
    """A button."""
    return {"type": 2, "style": 1, "label": "Go", "custom_id": custom_id, **more}


def row(*children: dict[str, Any]) -> dict[str, Any]:
    """An action row."""
    return {"type": 1, "components": list(children)}


def sentences(body: dict[str, Any], *, v2: bool = True, filenames: tuple[str, ...] = ()) -> str:
    """All problems of a message in one text."""
    return " | ".join(f"{path}: {why}" for path, why in message_problems(body, v2=v2, filenames=list(filenames), kept=[]))


def test_message_problems_are_none_when_a_card_is_well_made():
    """A container with text, gallery and buttons passes."""
    gallery = {"type": 12, "items": [{"media": {"url": "attachment://a.mp4"}}]}
    container = {"type": 17, "accent_color": 1, "components": [text("hello"), gallery, row(button("a"), button("b"))]}
    assert sentences({"components": [container]}, filenames=("a.mp4",)) == ""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"content": "x", "components": [text("y")]}, "IS_COMPONENTS_V2"),
        ({"components": [text("x")] * 41}, "41 components"),
        ({"components": [text("x" * 2500), text("y" * 1501)]}, "4001 characters"),
        ({"components": [row(*(button(str(n)) for n in range(6)))]}, "up to 5 buttons"),
        ({"components": [row(button("same"), button("same"))]}, "used twice"),
        ({"components": [row(button("x" * 101))]}, "100 are allowed"),
        ({"components": [row(button("a", url="https://x"))]}, "has custom_id and none of the others"),
        ({"components": [row({"type": 2, "style": 1, "custom_id": "a"})]}, "label or an emoji"),
        ({"components": [{"type": 12, "items": []}]}, "between 1 and 10"),
        ({"components": [{"type": 12, "items": [{"media": {"url": "attachment://b.mp4"}}]}]}, "was not found"),
        ({"components": [{"type": 12, "items": [{"media": {"url": "attachment://a b.mp4"}}]}]}, "letters, digits"),
        ({"components": [{"type": 13, "file": {"url": "https://example.org/a.zip"}}]}, "attachment:// only"),
        ({"components": [{"type": 9, "components": [text("a")]}]}, "accessory"),
        ({"components": [text("  ")]}, "required"),
    ],
)
def test_message_problems_name_the_broken_rule(body: dict[str, Any], said: str):
    """Each Components V2 rule is told by name."""
    assert said in sentences(body)


def test_message_problems_refuse_v2_parts_when_the_flag_is_missing():
    """Containers need the flag; content may have 2000 characters."""
    assert "without IS_COMPONENTS_V2" in sentences({"components": [{"type": 17, "components": [text("a")]}]}, v2=False)
    assert "2000" in sentences({"content": "x" * 2001}, v2=False)


def test_choice_problems_limit_number_and_length():
    """25 choices, names and string values of 1 to 100 characters."""
    assert choice_problems([{"name": "a", "value": "b"}] * 25) == []
    assert "25" in choice_problems([{"name": "a", "value": "b"}] * 26)[0][1]
    assert choice_problems([{"name": "a", "value": "v" * 101}])[0][0] == "data.choices.0.value"


def test_modal_problems_check_the_range_of_file_uploads():
    """At most five children; a required upload takes at least one file, at most ten."""
    upload = {
        "type": 18,
        "label": "Files",
        "component": {"type": 19, "custom_id": "f", "min_values": 0, "max_values": 11, "required": True},
    }
    said = [why for _, why in modal_problems({"title": "t", "custom_id": "c", "components": [upload]})]
    assert said == ["A required file upload needs min_values of at least 1.", "min_values 0 and max_values 11 do not fit 0..10."]
    many = {"title": "t", "custom_id": "c", "components": [text("a")] * 6}
    assert modal_problems(many)[0][0] == "data.components"


def test_command_problems_count_options_and_characters():
    """25 options, required first, 8000 characters in all."""
    option = {"type": 3, "name": "a", "description": "d"}
    many = [{**option, "name": f"o{n}"} for n in range(26)]
    assert "25" in command_problems([{"name": "x", "description": "d", "options": many}])[0][1]
    wrong_order = [option, {**option, "name": "b", "required": True}]
    assert "before non-required" in command_problems([{"name": "x", "description": "d", "options": wrong_order}])[0][1]
    long = [{**option, "name": f"o{n}", "choices": [{"name": "n" * 90, "value": "v" * 90}] * 4} for n in range(12)]
    assert "maximum size" in command_problems([{"name": "x", "description": "d", "options": long}])[-1][1]
