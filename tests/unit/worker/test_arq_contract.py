"""arq 0.28.0 as `worker/gpu_worker.py` and `worker/lease.py` know it: when one of these fails, read both beside the new arq."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from arq import constants
from arq.worker import Worker

from worker.gpu_worker import GpuWorker
from worker.lease import _COMMIT

# What we override, or what calls what we override. The hash is of the source as we read it.
READ = {
    Worker._poll_iteration: "f8d39d823a0a59f2",
    Worker.start_jobs: "b45797cfa40bed7f",
    Worker.run_job: "589a19059ff84ee7",
    Worker.finish_job: "903f09c92830d3fd",
    Worker.finish_failed_job: "3e16087f318a7acf",
    Worker.heart_beat: "2e9959bea66dc551",
    Worker._release_sem_dec_counter_on_complete: "0ed101482e942c33",
    Worker.main: "45ca1591c9717466",
}


@pytest.mark.parametrize("method", READ, ids=lambda method: method.__name__)
def test_arq_method_is_the_one_we_read(method: Callable[..., Any]) -> None:
    """We depend on more than signatures: on the order of calls, and on what is in `tasks` and `job_tasks` when."""
    assert hashlib.sha256(inspect.getsource(method).encode()).hexdigest()[:16] == READ[method]


def test_arq_and_redis_are_the_pinned_releases() -> None:
    """Retries and timeouts were measured with these."""
    assert importlib.metadata.version("arq") == "0.28.0"
    assert importlib.metadata.version("redis").startswith("5.")


def test_arq_calls_the_ends_of_jobs_with_positional_arguments() -> None:
    """Our `finish_job` takes what it needs by position."""
    names = list(inspect.signature(Worker.finish_job).parameters)
    assert names[:4] == ["self", "job_id", "finish", "result_data"]
    assert list(inspect.signature(Worker.finish_failed_job).parameters) == ["self", "job_id", "result_data"]


def test_lease_scripts_spell_arqs_key_prefix_as_arq_does() -> None:
    """The commit script cuts the job id out of the lease key."""
    assert f"#'{constants.in_progress_key_prefix}'" in _COMMIT


def test_gpu_worker_overrides_nothing_that_arq_does_not_have() -> None:
    """A renamed method of arq would turn our override into dead code."""
    own = {"drain", "busy_with"}
    ours = {name for name, value in vars(GpuWorker).items() if inspect.isfunction(value) and not name.startswith("__")}
    overriding = {name for name in ours if hasattr(Worker, name)}
    assert overriding == {"_poll_iteration", "finish_job", "finish_failed_job", "heart_beat"}
    assert {name for name in ours - overriding if not name.startswith("_")} <= own
