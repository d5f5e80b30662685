"""The pipe protocol between parent and child, pinned message by message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.contracts.events import Phase, Progress
from engine.contracts.failures import FailureCode
from engine.contracts.model import Contract
from engine.contracts.results import SceneRendered
from tests.support.contracts import JOB_ID, adapter_use, caption_items, generate_video, geometry, manifest, selection, train_lora
from worker import pipe

GOLDEN = Path(__file__).parents[2] / "golden"
_JOB = {"job_id": JOB_ID}

COMMANDS: dict[str, Contract] = {
    "start_training": pipe.StartTraining(
        job=train_lora(),
        media=(Path("media/00000.png"),),
        run_dir=Path("run"),
        resume=True,
        checkpoint_every_s=120.0,
        checkpoint_every_steps=50,
        preview_every_steps=100,
    ),
    "start_render": pipe.StartRender(
        job=generate_video(adapters=(adapter_use(),)),
        adapters=(Path("inputs/00000.safetensors"),),
        image=Path("inputs/00001.png"),
        guide=Path("inputs/00002.mp4"),
        clip=None,
        out_dir=Path("out"),
    ),
    "read_ahead": pipe.ReadAhead(adapters=(Path("cache/00000.safetensors"),)),
    "start_captions": pipe.StartCaptions(job=caption_items(), media=(Path("media/00000.png"),), run_dir=Path("run")),
    "cancel_work": pipe.CancelWork(**_JOB),
    "suspend_work": pipe.SuspendWork(**_JOB),
    "shutdown": pipe.Shutdown(),
}

MESSAGES: dict[str, Contract] = {
    "ready": pipe.Ready(base="tiny", device="cpu", loading_s=0.9),
    "start_failed": pipe.StartFailed(code=FailureCode.BASE_UNAVAILABLE, detail="no weights"),
    "at_work": pipe.AtWork(**_JOB),
    "began": pipe.Began(**_JOB, total_steps=400),
    "advanced": pipe.Advanced(
        **_JOB, progress=Progress(**_JOB, phase=Phase.TRAINING, step=3, total_steps=400, seconds_per_step=0.1, loss=0.5)
    ),
    "preview_made": pipe.PreviewMade(**_JOB, step=100, image=Path("run/preview.png")),
    "features_made": pipe.FeaturesMade(**_JOB, files=(Path("run/cache/latents-1.safetensors"),)),
    "frames_made": pipe.FramesMade(**_JOB),
    "checkpoint_made": pipe.CheckpointMade(**_JOB, step=100, files=(Path("run/outbox/000100/state.safetensors"),)),
    "trained": pipe.Trained(
        **_JOB,
        lora=Path("run/zoko.safetensors"),
        manifest=manifest(),
        preview=Path("run/preview.mp4"),
        poster=Path("run/poster.png"),
        loss_curve=None,
        steps=210,
        selection=selection(),
        chart=Path("run/selection.png"),
        kept={400: Path("run/checkpoint/kept-000400.safetensors")},
    ),
    "rendered": pipe.Rendered(
        **_JOB,
        clip=Path("out/clip.mp4"),
        poster=None,
        geometry=geometry(),
        posted_width=256,
        posted_height=256,
        seed=7,
        num_frames=18,
        has_audio=True,
        scenes=(SceneRendered(prompt="zoko wakes", seed=7, identity=0.9, rerolls=1),),
        join_psnr=34.5,
    ),
    "captioned": pipe.Captioned(**_JOB, captions=("A red barn.", None)),
    "work_failed": pipe.WorkFailed(**_JOB, code=FailureCode.OUT_OF_MEMORY, detail="…", steps_done=3),
    "work_cancelled": pipe.WorkCancelled(**_JOB, steps_done=3),
    "work_suspended": pipe.WorkSuspended(**_JOB, steps_done=3),
}

ALL: dict[str, tuple[Contract, Any]] = {
    **{name: (message, pipe.COMMANDS) for name, message in COMMANDS.items()},
    **{name: (message, pipe.MESSAGES) for name, message in MESSAGES.items()},
}


@pytest.mark.parametrize("name", ALL)
def test_message_equals_its_golden_line_in_both_directions(name: str) -> None:
    """A change of the protocol is seen in review, as a change of a file under tests/golden."""
    message, adapter = ALL[name]
    golden = json.loads((GOLDEN / f"pipe_{name}.json").read_text())
    line = pipe.encode(message)
    assert json.loads(line) == golden
    assert adapter.validate_json(line) == message


def test_every_message_has_a_golden_line() -> None:
    """No message is left out, and no file is left over."""
    named = {kind["properties"]["kind"]["const"] for kind in (*_kinds(pipe.COMMANDS), *_kinds(pipe.MESSAGES))}
    assert named == set(ALL)
    assert {path.stem.removeprefix("pipe_") for path in GOLDEN.glob("pipe_*.json")} == named


def test_line_holds_one_message_however_odd_its_text() -> None:
    """A prompt with line breaks does not tear the protocol."""
    message = pipe.StartRender(job=generate_video(prompt="one\ntwo\u2028three"), adapters=(), image=None, out_dir=Path("out"))
    line = pipe.encode(message)
    assert line.count(b"\n") == 1
    assert pipe.COMMANDS.validate_json(line) == message


def test_message_of_unknown_kind_is_refused() -> None:
    """The reader notices a stranger instead of guessing."""
    with pytest.raises(ValidationError):
        pipe.MESSAGES.validate_json(b'{"kind": "surprise"}')


def _kinds(adapter: Any) -> list[dict[str, Any]]:
    definitions = adapter.json_schema()["$defs"]
    return [d for d in definitions.values() if d.get("properties", {}).get("kind", {}).get("const") in ALL]
