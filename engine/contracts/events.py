"""What workers tell the bot. Milestones go on the stream and are applied once; progress is a latest-wins value beside it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from engine.contracts.failures import FailureCode
from engine.contracts.fitting import Fitting
from engine.contracts.model import Contract, JobId, StoredObject
from engine.contracts.results import WorkResult


class Phase(StrEnum):
    """What a running job is doing right now."""

    LOADING = "loading"
    PREPARING = "preparing"  # decoding, captions, latents, text features
    TRAINING = "training"
    DENOISING = "denoising"
    ENCODING = "encoding"
    SAVING = "saving"


class Progress(Contract):
    """The latest state of a running job (`wire.Keys.progress`); lost values do no harm."""

    job_id: JobId
    phase: Phase
    step: int
    total_steps: int
    seconds_per_step: float | None = None
    loss: float | None = None
    fitting: Fitting | None = None  # what the training gave up to fit into memory


class _Milestone(Contract):
    """Identity and order of a stream event: `(job_id, attempt, seq)` is unique, a repeat changes nothing."""

    version: Literal[1] = 1
    job_id: JobId
    attempt: int
    seq: int
    at: float  # unix seconds, worker's clock


class JobStarted(_Milestone):
    """A worker holds the job's lease and its child has begun."""

    kind: Literal["job_started"] = "job_started"
    worker_id: str
    total_steps: int


class PreviewReady(_Milestone):
    """A picture of the training so far."""

    kind: Literal["preview_ready"] = "preview_ready"
    step: int
    image: StoredObject


class CheckpointSaved(_Milestone):
    """Training can go on from here on any worker."""

    kind: Literal["checkpoint_saved"] = "checkpoint_saved"
    step: int


class JobSucceeded(_Milestone):
    """The job's result is in the store."""

    kind: Literal["job_succeeded"] = "job_succeeded"
    result: WorkResult


class JobFailed(_Milestone):
    """The job ended without a result; `detail` is for operators and is never shown in a channel."""

    kind: Literal["job_failed"] = "job_failed"
    code: FailureCode
    detail: str = Field(max_length=2000)
    steps_done: int


class JobCancelled(_Milestone):
    """The job stopped because somebody asked; what ran is charged, the rest is given back."""

    kind: Literal["job_cancelled"] = "job_cancelled"
    steps_done: int


Event = Annotated[
    JobStarted | PreviewReady | CheckpointSaved | JobSucceeded | JobFailed | JobCancelled,
    Field(discriminator="kind"),
]

EVENT_ADAPTER: TypeAdapter[JobStarted | PreviewReady | CheckpointSaved | JobSucceeded | JobFailed | JobCancelled] = TypeAdapter(Event)
