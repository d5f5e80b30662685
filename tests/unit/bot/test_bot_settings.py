"""Settings of the bot and the first lines of the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.config import SettingsError, load_settings
from bot.storage.database import DatabaseError, load_migrations, statements

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("CALLSHEET_") or name in ("DISCORD_TOKEN", "REDIS_URL"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_settings_name_every_mistake_when_several_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """One start shows all that has to be corrected, misspelt names included."""
    monkeypatch.setenv("CALLSHEET_DAILY_UNITS", "-3")
    monkeypatch.setenv("CALLSHEET_BASE", "sd15")
    monkeypatch.setenv("CALLSHEET_CARD_EDIT_INTERVALL_S", "9")
    with pytest.raises(SettingsError) as error:
        load_settings()
    text = str(error.value)
    assert "daily_units" in text.lower()
    assert "unknown base 'sd15'" in text
    assert "did you mean CALLSHEET_CARD_EDIT_INTERVAL_S?" in text


def test_settings_take_plain_and_prefixed_names_when_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """DISCORD_TOKEN and REDIS_URL as everybody calls them; the worker's own settings are none of ours."""
    monkeypatch.setenv("DISCORD_TOKEN", "secret-token")
    monkeypatch.setenv("CALLSHEET_REDIS_URL", "redis://example:6379/0")
    monkeypatch.setenv("CALLSHEET_LEASE_S", "5")
    settings = load_settings()
    assert settings.discord_token is not None
    assert settings.discord_token.get_secret_value() == "secret-token"
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://example:6379/0"
    assert "secret-token" not in repr(settings)


@pytest.mark.parametrize("arguments", [[], ["--all-in-one"]])
def test_command_says_what_is_missing_when_there_is_no_token(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, exit code 78, nothing started."""
    assert main(arguments) == os.EX_CONFIG
    error = capsys.readouterr().err
    assert error.startswith("DISCORD_TOKEN is not set")
    assert error.count("\n") == 1


def test_command_says_what_is_missing_when_there_is_no_redis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The bot alone needs an address."""
    monkeypatch.setenv("DISCORD_TOKEN", "x")
    assert main([]) == os.EX_CONFIG
    assert capsys.readouterr().err.startswith("REDIS_URL is not set")


def test_bot_is_imported_when_torch_is_not_there() -> None:
    """The bot's process never needs torch."""
    code = "import sys; sys.modules['torch'] = None; import bot.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_statements_stay_whole_when_a_script_has_triggers() -> None:
    """Semicolons inside a trigger do not end it."""
    script = "CREATE TABLE a (x);\nCREATE TRIGGER t BEFORE DELETE ON a BEGIN\n SELECT 1;\n SELECT 2;\nEND;\n"
    assert len(list(statements(script))) == 2
    with pytest.raises(DatabaseError):
        list(statements("CREATE TABLE a (x)"))


def test_migrations_are_numbered_without_gaps_when_loaded() -> None:
    """1, 2, 3, …"""
    versions = [migration.version for migration in load_migrations()]
    assert versions == list(range(1, len(versions) + 1))
