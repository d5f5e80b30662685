"""Tests of the buttons: ids, acknowledgement first, nothing escapes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bot.commands.registry import BUTTON_HANDLERS
from bot.services.library import Filters, Scope
from bot.ui import shelf_ids, views
from bot.ui.modals import FORM_ID, AddFilesForm
from bot.ui.views import BUTTONS, DatasetButton, JobButton, OwnedButton
from engine.contracts.lora import LoraKind
from tests.support import discord_values as values

VERBS = sorted(BUTTON_HANDLERS)
SUBJECTS = {
    "me": "now",
    "terms": "now",
    "version": f"{values.JOB_ID}.12",
    "shelf": shelf_ids.encode(99_999, Filters(Scope.MINE, LoraKind.STYLE, 2**63, "ö" * 40)),
}
"""Targets whose subject is no ULID."""


class FakeResponse:
    """Records acknowledgements."""

    def __init__(self, log: list[Any], error: Exception | None = None) -> None:
        self._log = log
        self._error = error

    async def defer(self, **kwargs: Any) -> None:
        """An acknowledgement."""
        self._log.append(("ack", kwargs))
        if self._error is not None:
            raise self._error


class FakeHost:
    """A client that fails on demand."""

    def __init__(self, log: list[Any], fail_at: str | None = None) -> None:
        self._log = log
        self._fail_at = fail_at

    async def authorise(self, interaction: Any, press: Any) -> None:
        """May they?"""
        self._note("authorise")

    async def pressed(self, interaction: Any, press: Any) -> None:
        """Do it."""
        self._note("pressed")

    async def failed(self, interaction: Any, error: Exception) -> None:
        """Answer."""
        self._log.append(("failed", str(error)))

    def _note(self, step: str) -> None:
        self._log.append((step, None))
        if self._fail_at == step:
            raise RuntimeError(step)


class FakeInteraction:
    """What a button touches."""

    def __init__(self, fail_at: str | None = None, ack_error: Exception | None = None) -> None:
        self.log: list[Any] = []
        self.client = FakeHost(self.log, fail_at)
        self.response = FakeResponse(self.log, ack_error)

    @property
    def steps(self) -> list[str]:
        """Names of what happened."""
        return [step for step, _ in self.log]


def button_of(target: str) -> type[OwnedButton]:
    """The class that answers for `target`."""
    return next(button for button in BUTTONS if button.target == target)


@pytest.mark.parametrize(("target", "verb"), VERBS)
async def test_button_is_rebuilt_from_its_id_for_every_verb(target: str, verb: str) -> None:
    """After a restart the id alone is enough."""
    kind = button_of(target)
    original = kind(verb, SUBJECTS.get(target, values.JOB_ID))
    match = kind.__discord_ui_compiled_template__.fullmatch(original.custom_id)
    assert match is not None
    rebuilt = await kind.from_custom_id(None, None, match)  # type: ignore[arg-type]
    assert rebuilt.press == original.press


@pytest.mark.parametrize(("target", "verb"), VERBS)
async def test_button_acknowledges_before_anything_else_unless_it_opens_a_form(target: str, verb: str) -> None:
    """Three seconds are short, and a form must itself be the first answer."""
    interaction = FakeInteraction()
    kind = button_of(target)
    await kind(verb, SUBJECTS.get(target, values.JOB_ID)).callback(interaction)  # type: ignore[arg-type]
    expected = ["authorise", "pressed"] if verb in kind.opens_form else ["ack", "authorise", "pressed"]
    assert interaction.steps == expected


@pytest.mark.parametrize("step", ["authorise", "pressed"])
@pytest.mark.parametrize(("target", "verb"), VERBS)
async def test_button_reports_every_exception_to_the_error_handler(target: str, verb: str, step: str) -> None:
    """The library would log it and leave the person with "interaction failed" (trap 3)."""
    interaction = FakeInteraction(fail_at=step)
    await button_of(target)(verb, SUBJECTS.get(target, values.JOB_ID)).callback(interaction)  # type: ignore[arg-type]
    assert interaction.log[-1] == ("failed", step)


async def test_button_reports_a_failed_acknowledgement_and_does_nothing() -> None:
    """Another process answered, or we were too late: the job must not be made twice."""
    interaction = FakeInteraction(ack_error=RuntimeError("already acknowledged"))
    await JobButton("again", values.JOB_ID).callback(interaction)  # type: ignore[arg-type]
    assert interaction.steps == ["ack", "failed"]


def test_every_verb_of_every_template_has_a_handler() -> None:
    """No button leads nowhere."""
    for button in BUTTONS:
        verbs = re.search(r"\(\?P<verb>([a-z|]+)\)", button.__discord_ui_compiled_template__.pattern)
        assert verbs is not None
        assert {(button.target, verb) for verb in verbs[1].split("|")} == {key for key in BUTTON_HANDLERS if key[0] == button.target}


@pytest.mark.parametrize(
    "forged",
    [
        "job:again:01JD000000000000000000000",  # 25
        "job:again:01JD0000000000000000000001x",
        "job:drop:01JD0000000000000000000001",
        "job:again:' OR 1=1 --0000000000000",
        "set:start:../../etc/passwd0000000000",
        "job:again:01jd0000000000000000000001",
        "",
    ],
)
def test_no_template_matches_a_forged_id(forged: str) -> None:
    """Ids reach services in their exact shape or not at all."""
    assert not any(button.__discord_ui_compiled_template__.fullmatch(forged) for button in BUTTONS)
    assert FORM_ID.fullmatch(forged) is None


async def test_base_class_matches_nothing_when_registered_by_mistake() -> None:
    """The base is no button."""
    assert OwnedButton.__discord_ui_compiled_template__.fullmatch("job:again:" + values.JOB_ID) is None


async def test_form_passes_both_bounds_and_dies_by_itself() -> None:
    """Discord refuses null bounds, and dismissed forms must not pile up."""
    form = AddFilesForm(values.DATASET_ID, "zoko")
    [label] = form.to_dict()["components"]
    assert (label["component"]["min_values"], label["component"]["max_values"]) == (1, 10)
    assert form.timeout == 900
    assert FORM_ID.fullmatch(form.custom_id) is not None
    assert len(form.custom_id) <= 100
    assert len(label["label"]) <= 45
    assert len(label["description"]) <= 100


def test_start_button_tells_a_warned_start_from_a_plain_one() -> None:
    """The sandbox and people read the label."""
    assert views.start_button(values.DATASET_ID, warned=True).item.label == "Train anyway"
    assert views.start_button(values.DATASET_ID, warned=False).item.label == "Start training"
    assert isinstance(views.add_button(values.DATASET_ID), DatasetButton)


@pytest.mark.parametrize("text", ["", "zoko", "ö" * 40, "a" * 100, "~~~", "\u202e<@1>", "🤖" * 20])
def test_page_button_carries_its_filters_when_they_are_hostile(text: str) -> None:
    """An id of at most 100 characters says page and filters; a forged one is the first page of everything."""
    filters = Filters(Scope.SERVER, LoraKind.EFFECT, 2**63, shelf_ids.clipped(text))
    subject = shelf_ids.encode(12, filters)
    assert len(f"shelf:page:{subject}") <= 100
    assert shelf_ids.decode(subject) == (12, filters)
    for forged in ("", "1~a~a~~\n", "1~x~a~~", subject + "!"):
        assert shelf_ids.decode(forged) == (1, Filters())
    assert shelf_ids.decode("7~a~a~~____")[0] == 7
