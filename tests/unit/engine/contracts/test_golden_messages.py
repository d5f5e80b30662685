"""Messages on the wire: today's code reads what yesterday's code wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter

from engine.contracts.controls import Control, ControlKind
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
from engine.contracts.fitting import Concession, Fitting
from engine.contracts.generation import (
    Extension,
    Fit,
    Guide,
    Quality,
    Restyle,
    Scene,
    Storyboard,
    Upscale,
    Variation,
)
from engine.contracts.jobs import JOB_ADAPTER, WORK_ADAPTER, DatasetItem
from engine.contracts.lora import LoraKind
from engine.contracts.provenance import ClipParameters
from engine.contracts.results import ItemsCaptioned, LoraTrained, SceneRendered, VideoRendered
from engine.contracts.selection import KeptCheckpoint
from engine.contracts.status import Lane, WorkerState, WorkerStatus
from tests.support.contracts import JOB_ID, adapter_use, caption_items, generate_video, geometry, manifest, selection, stored, train_lora
from tests.support.provenance import parameters

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
_CLIP = stored("uploads/1/a.mp4", "video/mp4")
_STORYBOARD_RENDERED = _RENDERED.model_copy(
    update={
        "num_frames": 18,
        "has_audio": True,
        "scenes": (SceneRendered(prompt="zoko wakes", seed=7, identity=0.9, rerolls=1), SceneRendered(prompt="zoko walks", seed=8)),
        "join_psnr": 34.5,
    }
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
_FITTING = Fitting(concessions=(Concession.EIGHT_BITS, Concession.SHORTER), width=512, height=512, frames=25, ran_out=True)
_CHOSEN = _TRAINED.model_copy(
    update={
        "steps": 210,
        "selection": selection(),
        "chart": stored("jobs/x/1/selection.png"),
        "kept": (KeptCheckpoint(step=400, file=stored("loras/lora1/x-step-000400.safetensors", "application/x-safetensors")),),
        "fitting": _FITTING,
    }
)

MESSAGES: dict[str, tuple[BaseModel, TypeAdapter[object]]] = {
    "generate_video": (generate_video(adapters=(adapter_use(),), image=stored()), JOB_ADAPTER),
    "generate_video_control": (
        generate_video(
            adapters=(adapter_use(second_stage_weight=0.5),),
            guide=Guide(video=_CLIP, control=ControlKind.EDGES, strength=0.8),
            vary=Variation(seed=3, strength=0.25),
            quality=Quality.FAST,
            fit=Fit.LETTERBOX,
            mute=True,
        ),
        JOB_ADAPTER,
    ),
    "generate_video_restyle": (generate_video(restyle=Restyle(video=_CLIP, strength=0.5)), JOB_ADAPTER),
    "generate_video_extend": (generate_video(extend=Extension(video=_CLIP, last_frames=5)), JOB_ADAPTER),
    "generate_video_upscale": (generate_video(geometry=geometry(width=64, height=64), upscale=Upscale(video=_CLIP)), JOB_ADAPTER),
    "generate_video_storyboard": (
        generate_video(storyboard=Storyboard(scenes=(Scene(prompt="zoko wakes", seed=7), Scene(prompt="zoko walks")), rerolls=2)),
        JOB_ADAPTER,
    ),
    "train_lora": (train_lora(), JOB_ADAPTER),
    "caption_items": (caption_items(), WORK_ADAPTER),
    "train_lora_effect": (
        train_lora(
            lora_kind=LoraKind.EFFECT,
            items=(DatasetItem(media=_CLIP, filename="a.mp4", caption="a red ball", guide=stored("uploads/1/b.mp4", "video/mp4")),),
            control=Control(kind=ControlKind.DEPTH, downscale=2),
            caption_dropout=0.1,
        ),
        JOB_ADAPTER,
    ),
    "job_started": (JobStarted(**_STAMP, worker_id="w1", total_steps=400), EVENT_ADAPTER),
    "preview_ready": (PreviewReady(**_STAMP, step=100, image=stored()), EVENT_ADAPTER),
    "checkpoint_saved": (CheckpointSaved(**_STAMP, step=100), EVENT_ADAPTER),
    "job_succeeded_render": (JobSucceeded(**_STAMP, result=_RENDERED), EVENT_ADAPTER),
    "job_succeeded_storyboard": (JobSucceeded(**_STAMP, result=_STORYBOARD_RENDERED), EVENT_ADAPTER),
    "job_succeeded_train": (JobSucceeded(**_STAMP, result=_TRAINED), EVENT_ADAPTER),
    "job_succeeded_train_chosen": (JobSucceeded(**_STAMP, result=_CHOSEN), EVENT_ADAPTER),
    "job_succeeded_captions": (
        JobSucceeded(**_STAMP, result=ItemsCaptioned(dataset_id=JOB_ID, captions={"ab" * 32: "A red barn."})),
        EVENT_ADAPTER,
    ),
    "job_failed": (JobFailed(**_STAMP, code=FailureCode.OUT_OF_MEMORY, detail="…", steps_done=10), EVENT_ADAPTER),
    "job_cancelled": (JobCancelled(**_STAMP, steps_done=10), EVENT_ADAPTER),
    "progress": (
        Progress(job_id=JOB_ID, phase=Phase.TRAINING, step=5, total_steps=400, seconds_per_step=0.1, loss=0.4),
        TypeAdapter(Progress),
    ),
    "progress_fitted": (
        Progress(job_id=JOB_ID, phase=Phase.TRAINING, step=5, total_steps=400, fitting=_FITTING),
        TypeAdapter(Progress),
    ),
    "clip_parameters": (parameters(), TypeAdapter(ClipParameters)),
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
            serves=("guild:1", "shared"),
            memory_bytes=80 * 10**9,
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


@pytest.mark.parametrize("path", sorted((GOLDEN / "earlier").glob("*.json")), ids=lambda path: path.stem)
def test_message_of_an_earlier_release_still_means_the_same(path: Path) -> None:
    """A job that waited in a queue through an upgrade decodes to today's value: new fields have their defaults."""
    message, adapter = MESSAGES[path.stem]
    assert adapter.validate_json(path.read_text()) == message
