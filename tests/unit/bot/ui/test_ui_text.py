"""Tests of the sentences: each code has one, each says what to do, none can be made to fail or to inject anything."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import Refusal, RefusalCode
from bot.ui import text
from bot.ui.text import forms
from engine.contracts.events import Phase
from engine.contracts.failures import FailureCode
from engine.contracts.lora import LoraKind
from engine.contracts.lora_facts import LoraProblem
from engine.contracts.media import MediaNote, MediaProblem
from engine.contracts.status import JobStatus
from tests.support import discord_values as values

FACTS: dict[RefusalCode, dict[str, object]] = {
    RefusalCode.NOBODY_SERVES: {"lack": "memory", "lane": "train"},
    RefusalCode.NO_USABLE_MEDIA: {"verdicts": [values.verdict("a.png", MediaProblem.NOT_MEDIA)]},
    RefusalCode.ATTACHMENT_UNAVAILABLE: {"filename": "a.png"},
    RefusalCode.FILE_TOO_LARGE: {"filename": "a.mov", "size": 200 * 2**20, "limit": 100 * 2**20},
    RefusalCode.TOO_MANY_ITEMS: {"items": 300, "limit": 200},
    RefusalCode.ARCHIVE_REFUSED: {"filename": "a.zip", "problem": MediaProblem.ARCHIVE_BOMB, "detail": "x"},
    RefusalCode.IMAGE_UNUSABLE: {"filename": "a.png", "problem": MediaProblem.DAMAGED, "detail": "x"},
    RefusalCode.DATASET_TOO_SMALL: {"items": 2, "minimum": 4, "advised": 20, "lora_kind": LoraKind.CHARACTER},
    RefusalCode.DATASET_CLOSED: {"state": "started"},
    RefusalCode.NAME_INVALID: {"name": "Bad Name!"},
    RefusalCode.NAME_TAKEN: {"name": "zoko", "by_self": True, "training": False},
    RefusalCode.TRIGGER_INVALID: {"trigger": "<@1>"},
    RefusalCode.LORA_UNKNOWN: {"name": "zok", "nearest": ["zoko", "zora"]},
    RefusalCode.LORA_NOT_READY: {"name": "zoko"},
    RefusalCode.LORA_WITHHELD: {"name": "zoko", "reason": "likeness"},
    RefusalCode.LORA_BUSY: {"name": "zoko"},
    RefusalCode.LORA_FILE: {"filename": "zoko.safetensors", "problem": LoraProblem.OTHER_MODEL},
    RefusalCode.EXAMPLES_TOO_LONG: {"count": 4, "limit": 3, "length": 300, "max_length": 200},
    RefusalCode.CAST_UNKNOWN: {"name": "@pilot"},
    RefusalCode.CAST_EMPTY: {"name": "@pilot"},
    RefusalCode.CASTS_FULL: {"limit": 25},
    RefusalCode.PROMPT_FORBIDDEN: {"match": "gore", "reason": "This is a family server."},
    RefusalCode.RULE_INVALID: {"problem": "syntax", "limit": 200},
    RefusalCode.RULES_FULL: {"limit": 200},
    RefusalCode.UPLOAD_ADULT: {"filename": "a.png"},
    RefusalCode.CONSENT_NEEDED: {"person_id": 1234},
    RefusalCode.LORA_DUPLICATE: {"name": "zoko"},
    RefusalCode.LORA_OTHER_BASE: {"name": "zoko", "base": "ltx-2.3", "wanted": "tiny"},
    RefusalCode.STACK_TOO_LARGE: {"count": 6, "limit": 4},
    RefusalCode.STACK_SYNTAX: {"text": "a:b:c"},
    RefusalCode.WEIGHT_INVALID: {"name": "zoko", "text": "abc"},
    RefusalCode.WEIGHT_OUT_OF_RANGE: {"name": "zoko", "text": "9", "limit": 2.0},
    RefusalCode.PROMPT_TOO_LONG: {"length": 5000, "limit": 2000, "field": "prompt"},
    RefusalCode.SECONDS_OUT_OF_RANGE: {"seconds": 99, "minimum": 0.6, "maximum": 10},
    RefusalCode.ASPECT_UNKNOWN: {"aspect": "5:4", "known": ["1:1"]},
    RefusalCode.SEED_OUT_OF_RANGE: {"seed": -1, "limit": 2**32 - 1},
    RefusalCode.NOT_VERIFIABLE: {"filename": "a.txt"},
    RefusalCode.CLIP_UNUSABLE: {"filename": "a.mp4", "role": "guide", "problem": MediaProblem.TOO_LONG, "detail": "x", "limit": 2.125},
    RefusalCode.SOURCES_CONFLICT: {"one": "clip", "other": "guide"},
    RefusalCode.STRENGTH_OUT_OF_RANGE: {"strength": 2.0},
    RefusalCode.GUIDE_MISSING: {"name": "outline"},
    RefusalCode.STACK_WEIGHTS: {"total": 7.5, "limit": 4.0},
    RefusalCode.SCENES_COUNT: {"count": 9, "minimum": 2, "maximum": 8},
    RefusalCode.SOURCE_TOO_LONG: {"seconds": 9.0, "limit": 2.1},
    RefusalCode.QUOTA_EXCEEDED: {"needed": 200, "left": 20, "limit": 300, "resets_at": values.NOW},
    RefusalCode.TOO_MANY_JOBS: {"open": 20, "limit": 20},
    RefusalCode.PLAN_NEEDED: {"feature": "training", "plan": "free", "needed": "premium", "ended": "premium", "ended_at": values.NOW},
    RefusalCode.LORA_FROZEN: {"name": "zoko"},
    RefusalCode.STORAGE_FULL: {"used": 6 * 2**30, "limit": 5 * 2**30},
    RefusalCode.REASON_TOO_LONG: {"length": 900, "limit": 200},
    RefusalCode.SETTING_OUT_OF_RANGE: {"name": "units", "value": -1, "minimum": 0, "maximum": 1000},
    RefusalCode.TOO_MANY_PLACES: {"limit": 50},
    RefusalCode.BLOCKED: {"reason": "spam", "everywhere": False},
    RefusalCode.CHANNEL_CLOSED: {"channels": [1, 2, 3, 4]},
    RefusalCode.JOB_OVER: {"status": JobStatus.SUCCEEDED},
    RefusalCode.CHANNEL_FORBIDDEN: {"missing": ["Attach Files", "Send Messages"]},
}
"""Facts as services give them; codes that are not listed come without."""

ADVICE = re.compile(
    r"\b(attach|send|add|use|choose|write|leave|shorten|wait|try|ask|start|make|press|quote|name it|did you mean)\b"
    r"|\b(follow|return|describe)\b|`/",
    re.IGNORECASE,
)


@pytest.mark.parametrize("code", list(RefusalCode))
def test_refusal_is_one_sentence_with_advice_for_every_code(code: RefusalCode) -> None:
    """One sentence, short enough for a phone, that says what to do."""
    sentence = text.refusal(Refusal(code, **FACTS.get(code, {})))
    assert sentence.endswith((".", "?"))
    assert len(sentence) <= 300
    assert "\n" not in sentence
    assert not re.search(r"[.!] [A-Z]", sentence), "more than one sentence"
    assert ADVICE.search(sentence), sentence
    assert "?" not in sentence.replace("did you mean", "")[:-1], "a fact is missing"


@pytest.mark.parametrize("code", list(RefusalCode))
def test_refusal_still_answers_when_facts_are_missing(code: RefusalCode) -> None:
    """A forgotten fact must not turn a refusal into a crash."""
    assert text.refusal(Refusal(code)).strip()


@given(st.sampled_from(sorted(FACTS)), st.text(max_size=300))
def test_refusal_shows_typed_text_literally_when_it_is_hostile(code: RefusalCode, hostile: str) -> None:
    """Names, weights and file names come from people: no mention or markdown of theirs has an effect."""
    facts = {key: (hostile if isinstance(value, str) and key != "field" else value) for key, value in FACTS[code].items()}
    sentence = text.refusal(Refusal(code, **facts))
    outside_code = re.sub(r"`[^`]*`", "", sentence)
    assert "<@" not in outside_code.replace("\\<\\@", "")
    assert "@everyone" not in outside_code.replace("\\@everyone", "")
    assert sentence.count("`") % 2 == 0


def test_quota_refusal_says_when_units_return() -> None:
    """A spent quota names the moment it comes back."""
    sentence = text.refusal(Refusal(RefusalCode.QUOTA_EXCEEDED, **FACTS[RefusalCode.QUOTA_EXCEEDED]))
    assert f"<t:{int(values.NOW)}:R>" in sentence
    assert "200 units" in sentence
    assert "20 units" in sentence


def test_quota_refusal_does_not_promise_tomorrow_when_it_would_never_fit() -> None:
    """A job dearer than a whole day's units does not get cheaper by waiting."""
    sentence = text.refusal(Refusal(RefusalCode.QUOTA_EXCEEDED, needed=900, left=300, limit=300, resets_at=values.NOW))
    assert "<t:" not in sentence
    assert "ask for less" in sentence


def test_unknown_lora_names_the_nearest_ones() -> None:
    """A typing mistake is answered with what was probably meant."""
    assert "did you mean `zoko` or `zora`?" in text.refusal(Refusal(RefusalCode.LORA_UNKNOWN, **FACTS[RefusalCode.LORA_UNKNOWN]))


def test_taken_name_suggests_a_free_looking_one_of_legal_length() -> None:
    """The suggestion is a legal name."""
    sentence = text.refusal(Refusal(RefusalCode.NAME_TAKEN, name="a234567890123456", by_self=False, training=False))
    suggestion = re.findall(r"`([^`]*)`", sentence)[-1]
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{1,15}", suggestion)


@pytest.mark.parametrize("code", list(FailureCode))
def test_failure_has_a_sentence_with_a_way_on_for_every_code(code: FailureCode) -> None:
    """Whatever ends a job, its owner learns what to do."""
    sentence = text.failure(code)
    assert sentence.endswith(".")
    assert re.search(r"\b(try|leave|ask|add|tell|send|start|take)\b", sentence), sentence


@pytest.mark.parametrize("code", list(MediaProblem))
def test_problem_has_its_own_words_for_every_code(code: MediaProblem) -> None:
    """A person learns what is wrong with each file."""
    assert text.problem(code) != "cannot be used"


def test_problem_has_words_when_a_newer_engine_sends_an_unknown_code() -> None:
    """The bot may be older than the check."""
    assert text.problem("made_up") == "cannot be used"


@pytest.mark.parametrize("weakness", list(MediaNote))
def test_note_has_words_for_every_weakness(weakness: MediaNote) -> None:
    """A person learns what to improve."""
    assert text.note(weakness)


def test_phases_and_statuses_and_kinds_have_words_for_every_value() -> None:
    """No enum value reaches a channel as it is."""
    assert set(text.PHASES) == set(Phase)
    assert set(text.STATUS_WORDS) == set(JobStatus)
    assert set(text.KIND_ARTICLE) == set(LoraKind)


def test_unexpected_error_shows_its_reference() -> None:
    """People can quote what operators can search for."""
    assert "`ab12cd34`" in text.unexpected("ab12cd34")


def test_form_title_fits_discord_when_the_name_is_long() -> None:
    """A modal's title has at most 45 characters."""
    assert len(forms.add_files_title("x" * 100)) <= 45
