"""Settings of a worker process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.contracts.controls import ControlModels
from worker.config import WorkerSettings

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CALLSHEET_") or name == "REDIS_URL":
            monkeypatch.delenv(name)


def test_settings_need_only_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else has a default that fits one machine."""
    monkeypatch.setenv("CALLSHEET_STORE_URL", "file:///store")
    settings = WorkerSettings()
    assert settings.base == "tiny"
    assert settings.lease_s >= 3 * settings.beat_s
    assert settings.home.is_absolute()


def test_redis_url_may_come_without_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosting services set REDIS_URL; ours wins when both are there."""
    monkeypatch.setenv("CALLSHEET_STORE_URL", "file:///store")
    monkeypatch.setenv("REDIS_URL", "redis://hosted:6379/0")
    assert WorkerSettings().redis_url == "redis://hosted:6379/0"
    monkeypatch.setenv("CALLSHEET_REDIS_URL", "redis://ours:6379/0")
    assert WorkerSettings().redis_url == "redis://ours:6379/0"


def test_models_that_read_guides_are_set_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not named keeps the model that Callsheet knows."""
    monkeypatch.setenv("CALLSHEET_STORE_URL", "file:///store")
    monkeypatch.setenv("CALLSHEET_DEPTH_MODEL", "/models/depth")
    assert WorkerSettings().control_models == ControlModels(depth="/models/depth")


def test_unknown_setting_is_refused_in_code() -> None:
    """A typo is not silently a default."""
    with pytest.raises(ValidationError, match="lease_seconds"):
        WorkerSettings(store_url="file:///store", lease_seconds=3)


def test_worker_names_every_wrong_setting_at_once() -> None:
    """One start shows all there is to correct, by the names one has to set, and exits with 2."""
    env = {**os.environ, "CALLSHEET_LEASE_S": "soon", "CALLSHEET_LANES": "[]"}
    done = subprocess.run([sys.executable, "-m", "worker"], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    for name in ("CALLSHEET_STORE_URL", "CALLSHEET_LEASE_S", "CALLSHEET_LANES"):
        assert name in done.stderr
