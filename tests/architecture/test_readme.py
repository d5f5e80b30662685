"""The README stays true."""

from __future__ import annotations

import re
from pathlib import Path

from bot.config import BotSettings
from tests.support.readme import README, rewritten
from worker.config import WorkerSettings

ROOT = Path(__file__).parents[2]


def test_readme_lists_every_setting_as_it_is_today() -> None:
    """The configuration table equals the settings classes; `python -m tests.support.readme` renews it."""
    text = README.read_text()
    assert text == rewritten(text)


def test_every_setting_says_what_it_does() -> None:
    """No variable without a description."""
    fields = {**BotSettings.model_fields, **WorkerSettings.model_fields}
    assert [name for name, field in fields.items() if not field.description] == []


def test_readme_links_and_pictures_exist() -> None:
    """No dead relative link, no missing picture."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_readme_commands_are_make_targets() -> None:
    """Every `make …` the README tells a newcomer to type exists."""
    makefile = (ROOT / "Makefile").read_text()
    wanted = set(re.findall(r"^make (\w+)", README.read_text(), flags=re.MULTILINE))
    assert {"demo", "test"} <= wanted
    assert [name for name in wanted if not re.search(rf"^{name}:", makefile, flags=re.MULTILINE)] == []
