"""The pipe between a worker's parent and its GPU child: one JSON object a line, every message a frozen value tagged by `kind`.

Parent to child: `StartTraining | StartRender | StartCaptions | ReadAhead | CancelWork | SuspendWork | Shutdown` on stdin.
Child to parent: everything else, on a file descriptor that stray prints can't reach.
The shapes are pinned by tests/golden/pipe_*.json; both ends are always of the same release, so there is no version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from engine.contracts.events import Progress
from engine.contracts.failures import FailureCode
from engine.contracts.fitting import Fitting
from engine.contracts.geometry import Geometry
from engine.contracts.jobs import CaptionItems, GenerateVideo, TrainLora
from engine.contracts.lora import LoraManifest
from engine.contracts.model import Contract, JobId
from engine.contracts.results import SceneRendered
from engine.contracts.selection import Selection

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Bound of one message; a training set of thousands of paths and captions stays far below."""


class StartTraining(Contract):
    """Train from local files. With `resume`, `run_dir/checkpoint` holds the state to go on from."""

    kind: Literal["start_training"] = "start_training"
    job: TrainLora
    media: tuple[Path, ...]  # in the order of job.items
    guides: tuple[Path | None, ...] = ()  # of an effect, in the order of job.items; empty: none came along
    run_dir: Path
    resume: bool
    checkpoint_every_s: float
    checkpoint_every_steps: int  # 0: by time only
    preview_every_steps: int  # 0: only at the end
    shared_cache: Path | None = None  # of features, for all trainings of this worker


class StartRender(Contract):
    """Render one clip into `out_dir`."""

    kind: Literal["start_render"] = "start_render"
    job: GenerateVideo
    adapters: tuple[Path, ...]  # in the order of job.adapters
    image: Path | None
    guide: Path | None = None  # job.guide's video
    clip: Path | None = None  # job.source_clip
    out_dir: Path


class ReadAhead(Contract):
    """These LoRA files will probably be wanted soon; nothing is answered."""

    kind: Literal["read_ahead"] = "read_ahead"
    adapters: tuple[Path, ...]


class StartCaptions(Contract):
    """Describe items; what is seen is kept in `run_dir`."""

    kind: Literal["start_captions"] = "start_captions"
    job: CaptionItems
    media: tuple[Path, ...]  # in the order of job.items
    run_dir: Path
    shared_cache: Path | None = None


class CancelWork(Contract):
    """Stop this job between two steps and forget it."""

    kind: Literal["cancel_work"] = "cancel_work"
    job_id: JobId


class SuspendWork(Contract):
    """Save a checkpoint of this training, then stop; a render is not suspended, it ends."""

    kind: Literal["suspend_work"] = "suspend_work"
    job_id: JobId


class Shutdown(Contract):
    """Leave once the step in hand is done."""

    kind: Literal["shutdown"] = "shutdown"


class Ready(Contract):
    """The base is resident; commands are taken from now on."""

    kind: Literal["ready"] = "ready"
    base: str
    device: str
    loading_s: float
    memory_bytes: int | None = None  # of the device; None on the CPU


class StartFailed(Contract):
    """The base can't be loaded; the child exits."""

    kind: Literal["start_failed"] = "start_failed"
    code: FailureCode
    detail: str


class AtWork(Contract):
    """The child turns to this job now; if it dies before the next `AtWork`, this job was the cause."""

    kind: Literal["at_work"] = "at_work"
    job_id: JobId


class Began(Contract):
    """A job's first step is next."""

    kind: Literal["began"] = "began"
    job_id: JobId
    total_steps: int


class Advanced(Contract):
    """Progress of a job; sent a few times a second at most."""

    kind: Literal["advanced"] = "advanced"
    job_id: JobId
    progress: Progress


class PreviewMade(Contract):
    """A picture of the training so far."""

    kind: Literal["preview_made"] = "preview_made"
    job_id: JobId
    step: int
    image: Path


class FeaturesMade(Contract):
    """Everything the training reads of its set is computed; another try need not compute it again."""

    kind: Literal["features_made"] = "features_made"
    job_id: JobId
    files: tuple[Path, ...]


class CheckpointMade(Contract):
    """Resume state of a training. The files are the receiver's: the child does not touch them again."""

    kind: Literal["checkpoint_made"] = "checkpoint_made"
    job_id: JobId
    step: int
    files: tuple[Path, ...]


class FramesMade(Contract):
    """The clip is denoised and its files are being written; the device is free for the next job."""

    kind: Literal["frames_made"] = "frames_made"
    job_id: JobId


class Trained(Contract):
    """A training's files, ready for upload."""

    kind: Literal["trained"] = "trained"
    job_id: JobId
    lora: Path
    manifest: LoraManifest
    preview: Path | None
    poster: Path | None
    loss_curve: Path | None
    steps: int
    selection: Selection | None = None
    chart: Path | None = None
    kept: dict[int, Path] = Field(default_factory=dict)  # step -> file, without the chosen one
    fitting: Fitting | None = None


class Rendered(Contract):
    """A clip's files, ready for upload; `geometry` was denoised, the file may be upscaled."""

    kind: Literal["rendered"] = "rendered"
    job_id: JobId
    clip: Path
    poster: Path | None
    geometry: Geometry
    posted_width: int
    posted_height: int
    seed: int
    num_frames: int  # of the file
    has_audio: bool
    scenes: tuple[SceneRendered, ...] = ()
    join_psnr: float | None = None  # dB


class Captioned(Contract):
    """What there is to say of each item, in the order of job.items."""

    kind: Literal["captioned"] = "captioned"
    job_id: JobId
    captions: tuple[str | None, ...]


class WorkFailed(Contract):
    """A job ended without a result; the child goes on."""

    kind: Literal["work_failed"] = "work_failed"
    job_id: JobId
    code: FailureCode
    detail: str
    steps_done: int


class WorkCancelled(Contract):
    """A job stopped because of `CancelWork`."""

    kind: Literal["work_cancelled"] = "work_cancelled"
    job_id: JobId
    steps_done: int


class WorkSuspended(Contract):
    """A training stopped because of `SuspendWork`; its checkpoint came just before."""

    kind: Literal["work_suspended"] = "work_suspended"
    job_id: JobId
    steps_done: int


Start = StartTraining | StartRender | StartCaptions
Command = Annotated[Start | ReadAhead | CancelWork | SuspendWork | Shutdown, Field(discriminator="kind")]
Ending = Trained | Rendered | Captioned | WorkFailed | WorkCancelled | WorkSuspended
JobMessage = (
    AtWork
    | Began
    | Advanced
    | PreviewMade
    | FeaturesMade
    | FramesMade
    | CheckpointMade
    | Trained
    | Rendered
    | Captioned
    | WorkFailed
    | WorkCancelled
    | WorkSuspended
)
Message = Annotated[Ready | StartFailed | JobMessage, Field(discriminator="kind")]

COMMANDS: TypeAdapter[Start | ReadAhead | CancelWork | SuspendWork | Shutdown] = TypeAdapter(Command)
MESSAGES: TypeAdapter[Ready | StartFailed | JobMessage] = TypeAdapter(Message)


def encode(message: Contract) -> bytes:
    """One line, newline included."""
    return message.model_dump_json().encode() + b"\n"
