"""What an older worker gets to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.contracts import versions
from engine.contracts.jobs import JOB_ADAPTER, GenerateVideo, TrainLora
from engine.contracts.model import Contract
from engine.contracts.status import SHARED, WorkerStatus
from engine.contracts.wire import CONTRACT_VERSION
from tests.support import contracts

JOBS = [
    contracts.train_lora(),
    contracts.generate_video(),
    contracts.generate_video(adapters=(contracts.adapter_use(),), image=contracts.stored()),
]


class _Extra(Contract):
    kind: str = "extra"
    strength: float = 1.0


class _NewerVideo(GenerateVideo):
    """A clip as a later version may have it."""

    extra: _Extra | None = None
    speed: float = 1.0


@pytest.mark.parametrize("job", JOBS, ids=["training", "clip", "stacked clip"])
def test_job_of_today_is_written_for_version_1_when_it_uses_nothing_new(job: TrainLora | GenerateVideo) -> None:
    """An old worker reads it, and a new one reads the same value from it."""
    assert versions.version_needed(job) == 1
    assert JOB_ADAPTER.validate_python(versions.encode(job)) == job
    assert versions.understands(versions.encode(job), 1)


def _newer(**changes: Any) -> _NewerVideo:
    return _NewerVideo(**(contracts.generate_video().model_dump() | changes))


def test_new_field_is_left_out_when_it_holds_its_default() -> None:
    """An old worker would refuse a key it does not know."""
    assert set(versions.encode(_newer())) == set(versions.encode(contracts.generate_video()))
    assert versions.version_needed(_newer()) == 1


@pytest.mark.parametrize("changes", [{"speed": 2.0}, {"extra": {"strength": 0.5}}, {"extra": {}}])
def test_job_needs_a_current_worker_when_it_uses_a_new_field(changes: dict[str, Any]) -> None:
    """It says so itself, with its tag kept, and old workers don't understand it."""
    job = _newer(**changes)
    assert versions.version_needed(job) == CONTRACT_VERSION
    payload = versions.encode(job)
    assert not versions.understands(payload, 1)
    assert versions.understands(payload, CONTRACT_VERSION)
    assert _NewerVideo.model_validate(payload) == job


def test_first_goldens_are_understood_by_every_version() -> None:
    """Jobs of version 1 stay what they were, and so does what its workers announce."""
    golden = Path(__file__).parents[3] / "golden" / "contracts_v1"
    for name in ("train_lora", "generate_video"):
        payload = json.loads((golden / f"{name}.json").read_text())
        assert versions.understands(payload, 1)
        assert versions.version_needed(JOB_ADAPTER.validate_python(payload)) == 1
    status = WorkerStatus.model_validate_json((golden / "worker_status.json").read_text())
    assert (status.contract_version, status.serves, status.memory_bytes) == (1, (SHARED,), None)
