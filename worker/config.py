"""Settings of one worker process, parsed once in `worker/__main__.py`."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, StringConstraints, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.contracts.controls import ControlModels
from engine.contracts.speed import SpeedOptions, TextEncoderPlace
from engine.contracts.status import SHARED, Lane

WorkerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

Pool = Annotated[str, StringConstraints(pattern=r"^(shared|guild:[0-9]{1,20})$")]


_CONTROL_MODELS = ControlModels()


def _default_worker_id() -> str:
    cleaned = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in socket.gethostname())
    return cleaned.lstrip("._-")[:64] or "worker"


class WorkerSettings(BaseSettings):
    """Environment variables `CALLSHEET_<NAME>`; a name in the environment that belongs to the bot is ignored here."""

    model_config = SettingsConfigDict(env_prefix="CALLSHEET_", frozen=True, extra="forbid", populate_by_name=True)

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("CALLSHEET_REDIS_URL", "REDIS_URL"),
        description="Redis or Valkey shared with the bot: redis://, rediss:// (TLS, host name checked; ?ssl_ca_certs=FILE) or unix://.",
    )
    key_prefix: str = Field(
        default="callsheet", pattern=r"^[a-z0-9][a-z0-9:_-]*$", description="Prefix of every Redis key of this installation."
    )
    store_url: str = Field(description="Object store shared with the bot: file:///folder or s3://bucket/prefix.")
    base: str = Field(default="tiny", description="Base model this worker keeps in GPU memory.")
    device: str = Field(default="auto", description="Torch device of the GPU child: auto, cpu, cuda, cuda:1.")
    depth_model: str = Field(
        default=_CONTROL_MODELS.depth, min_length=1, description="Model that reads depth from clips: a hub id or a folder."
    )
    person_model: str = Field(default=_CONTROL_MODELS.person, min_length=1, description="Model that finds people for their pose, likewise.")
    pose_model: str = Field(default=_CONTROL_MODELS.pose, min_length=1, description="Model that finds the joints of each, likewise.")
    lanes: tuple[Lane, ...] = Field(default=tuple(Lane), min_length=1, description='Work this worker takes, as JSON: ["train", "render"].')
    serve: tuple[Pool, ...] = Field(
        default=(SHARED,),
        min_length=1,
        description='Whose work it takes, the preferred first, as JSON: ["guild:123", "shared"]; the same as --serve.',
    )
    worker_id: WorkerId = Field(
        default_factory=_default_worker_id,
        description="Name of this worker, unique among all workers and the same after a restart; the host name when not given.",
    )
    scratch_dir: Path = Field(
        default=Path("data/scratch"), description="Folder for downloads and runs; safe to delete while no worker runs."
    )
    credentials_dir: Path = Field(
        default=Path("data/credentials"),
        description="Folder shared with the bot: certificate.pem and key.pem that sign every clip; a development pair is made when empty.",
    )
    cache_bytes: int = Field(default=20 * 2**30, ge=0, description="Downloads and features of training sets kept for reuse, in bytes.")
    least_free_bytes: int = Field(
        default=256 * 2**20, ge=0, description="With less room than this in the scratch folder no job is taken, in bytes."
    )

    lease_s: float = Field(
        default=15.0, ge=0.5, le=3600, description="A job whose worker is silent this long is picked up by another worker."
    )
    poll_s: float = Field(default=0.05, ge=0.01, le=10, description="Time between two looks at an empty queue.")
    cancel_poll_s: float = Field(default=0.5, ge=0.01, le=10, description="Time between two looks for a cancel request of a running job.")
    heartbeat_s: float = Field(default=2.0, ge=0.05, le=5, description="Time between two announcements of this worker.")
    drain_grace_s: float = Field(
        default=30.0, ge=0, description="After SIGTERM: time for a checkpoint, or to finish a clip, before the job is handed back."
    )
    cancel_grace_s: float = Field(
        default=60.0, gt=0, description="A GPU child that does not obey for this long is killed and started anew."
    )
    child_start_timeout_s: float = Field(default=1800.0, gt=0, description="Time the GPU child has for loading the base.")
    child_stall_timeout_s: float = Field(default=900.0, gt=0, description="A working GPU child that says nothing for this long is killed.")
    cpu_threads: int = Field(
        default_factory=lambda: max(1, (os.cpu_count() or 1) // 2),
        ge=1,
        description="Threads the GPU child computes with on the CPU; half of the cores when not given, so a bot beside it stays quick.",
    )
    attention: str = Field(
        default="auto",
        pattern=r"^[a-z0-9_]{1,60}$",
        description="Attention kernel of renders by diffusers' name, such as native; auto: the fastest exact one that is installed.",
    )
    text_encoder: TextEncoderPlace = Field(
        default=TextEncoderPlace.AUTO,
        description="Where the text encoder is between prompts: device, host, or auto: host where the base nearly fills the device.",
    )
    compile_blocks: bool = Field(
        default=False, description="Compile the denoiser for renders; the first clip of every size waits minutes for the compiler."
    )
    overlap: bool = Field(
        default=True,
        description="Encode, sign and upload a clip while the next one is already being denoised; no clip is different for it.",
    )
    child_command: tuple[str, ...] = Field(
        default=(sys.executable, "-m", "worker.child"),
        min_length=1,
        description="Command that starts the GPU child, as a JSON list, for example to wrap it in numactl or a profiler.",
    )

    max_attempts: int = Field(
        default=3, ge=1, le=20, description="Tries a job may use up by crashes before it is failed; restarts of a worker use none."
    )
    retry_delay_s: float = Field(default=5.0, ge=0, description="Pause before another try, doubled for each one used up.")
    render_timeout_s: float = Field(default=3600.0, gt=0, description="Hard limit for one clip.")
    train_timeout_s: float = Field(default=24 * 3600.0, gt=0, description="Hard limit for one training.")
    checkpoint_every_s: float = Field(default=120.0, gt=0, description="Longest time of training that a crash can cost.")
    checkpoint_every_steps: int = Field(default=0, ge=0, description="Also save a checkpoint every so many steps; 0: by time only.")
    preview_every_steps: int = Field(
        default=0, ge=0, description="Render a preview picture every so many training steps; 0: only at the end."
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address the Prometheus metrics are served on.")
    metrics_port: int = Field(default=0, ge=0, le=65535, description="Its port; 0: no metrics.")
    log_format: Literal["text", "json"] = Field(default="text", description="json: one object a line, with job_id.")
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR.")

    @field_validator("lanes", "serve")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("name each one once")
        return names

    @property
    def control_models(self) -> ControlModels:
        """What reads depth and pose."""
        return ControlModels(depth=self.depth_model, person=self.person_model, pose=self.pose_model)

    @property
    def beat_s(self) -> float:
        """Time between two renewals of a lease: two may be lost before it lapses."""
        return self.lease_s / 3

    @property
    def announce_s(self) -> float:
        """Time between two heartbeats; they also notice outages, which has to happen within a beat (see `lease.GHOST_MS`)."""
        return min(self.heartbeat_s, self.beat_s)

    @property
    def speed(self) -> SpeedOptions:
        """What the GPU child is told about itself."""
        return SpeedOptions(
            attention=self.attention, text_encoder=self.text_encoder, compile_blocks=self.compile_blocks, overlap=self.overlap
        )

    @property
    def home(self) -> Path:
        """This worker's own folder under `scratch_dir`."""
        return self.scratch_dir.absolute() / self.worker_id
