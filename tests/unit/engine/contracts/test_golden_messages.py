"""Messages on the wire: today's code reads what yesterday's code wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter

from engine.contracts.events import (
    EVENT_ADAPTER,
    CheckpointSaved,
    JobCancelled,
    JobFailed,
    JobStarted,
    JobSucceeded,
    Phase,
    PreviewReady,
    Progress,
)
from engine.contracts.failures import FailureCode
from engine.contracts.jobs import JOB_ADAPTER
from engine.contracts.results import LoraTrained, VideoRendered
from engine.contracts.status import Lane, WorkerState, WorkerStatus
from tests.support.contracts import JOB_ID, adapter_use, generate_video, geometry, manifest, stored, train_lora

GOLDEN = Path(__file__).parents[3] / "golden" / "contracts"

_STAMP = {"job_id": JOB_ID, "attempt": 1, "seq": 3, "at": 1_795_000_000.0}
_RENDERED = VideoRendered(
    file=stored("jobs/x/1/clip.mp4", "video/mp4"),
    poster=None,
    geometry=geometry(),
    posted_width=256,
    posted_height=256,
    seed=7,
    seconds=1.5,
)
_TRAINED = LoraTrained(
    lora_id="lora1",
    file=stored("loras/lora1/x.safetensors", "application/x-safetensors"),
    manifest=manifest(),
    preview=None,
    poster=stored("jobs/x/1/sheet.png"),
    loss_curve=stored("jobs/x/1/loss.png"),
    steps=400,
    seconds=60.0,
)

MESSAGES: dict[str, tuple[BaseModel, TypeAdapter[object]]] = {
    "generate_video": (generate_video(adapters=(adapter_use(),), image=stored()), JOB_ADAPTER),
    "train_lora": (train_lora(), JOB_ADAPTER),
    "job_started": (JobStarted(**_STAMP, worker_id="w1", total_steps=400), EVENT_ADAPTER),
    "preview_ready": (PreviewReady(**_STAMP, step=100, image=stored()), EVENT_ADAPTER),
    "checkpoint_saved": (CheckpointSaved(**_STAMP, step=100), EVENT_ADAPTER),
    "job_succeeded_render": (JobSucceeded(**_STAMP, result=_RENDERED), EVENT_ADAPTER),
    "job_succeeded_train": (JobSucceeded(**_STAMP, result=_TRAINED), EVENT_ADAPTER),
    "job_failed": (JobFailed(**_STAMP, code=FailureCode.OUT_OF_MEMORY, detail="…", steps_done=10), EVENT_ADAPTER),
    "job_cancelled": (JobCancelled(**_STAMP, steps_done=10), EVENT_ADAPTER),
    "progress": (
        Progress(job_id=JOB_ID, phase=Phase.TRAINING, step=5, total_steps=400, seconds_per_step=0.1, loss=0.4),
        TypeAdapter(Progress),
    ),
    "worker_status": (
        WorkerStatus(
            worker_id="w1",
            state=WorkerState.READY,
            base="tiny",
            lanes=(Lane.TRAIN, Lane.RENDER),
            busy={Lane.TRAIN: JOB_ID},
            contract_version=1,
            device="cpu",
            started_at=1_795_000_000.0,
        ),
        TypeAdapter(WorkerStatus),
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message_equals_its_golden_file_in_both_directions(name: str) -> None:
    """A golden file decodes to the value that wrote it; changing a field needs a new version and a new file beside the old one."""
    message, adapter = MESSAGES[name]
    golden = (GOLDEN / f"{name}.json").read_text()
    assert adapter.validate_json(golden) == message
    assert json.loads(message.model_dump_json()) == json.loads(golden)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_file_belongs_to_a_message(path: Path) -> None:
    """No golden file is left behind unread."""
    assert path.stem in MESSAGES
