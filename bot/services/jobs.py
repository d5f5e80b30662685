"""Submitting, looking at and cancelling jobs."""

from __future__ import annotations

from dataclasses import dataclass

from bot.services.values import Actor, IncomingFile, JobPlace
from bot.storage.jobs import JobRecord
from engine.contracts.events import Progress


@dataclass(frozen=True)
class GenerationRequest:
    """What `/generate` was given. `loras` is the text as typed; None means the default."""

    actor: Actor
    place: JobPlace
    interaction_id: int
    prompt: str
    loras: str = ""
    negative: str = ""
    seconds: float | None = None
    aspect: str | None = None
    seed: int | None = None
    image: IncomingFile | None = None


@dataclass(frozen=True)
class JobView:
    """A job as a person may see it now."""

    record: JobRecord
    position: int | None  # 1 = next to start; None unless queued or dispatched
    eta: float | None  # unix seconds at which it should end; None when nothing is known
    progress: Progress | None = None


@dataclass(frozen=True)
class SubmittedJob:
    """The answer to a submit. `duplicate`: the same press had already made this job."""

    view: JobView
    duplicate: bool


class Jobs:
    """Every method that takes a `job_id` refuses JOB_UNKNOWN."""

    async def submit_generation(self, request: GenerationRequest) -> SubmittedJob:
        """Check everything, then reserve units and insert the row in one transaction.

        Raises:
            Refusal: QUEUE_UNAVAILABLE, PROMPT_EMPTY, PROMPT_TOO_LONG, SECONDS_OUT_OF_RANGE, ASPECT_UNKNOWN, SEED_OUT_OF_RANGE,
                IMAGE_UNUSABLE, STORE_UNAVAILABLE, those of `parse_stack` and `Loras.resolve`, TOO_MANY_JOBS, QUOTA_EXCEEDED.
        """
        raise NotImplementedError

    async def submit_training(self, dataset_id: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """Start a draft: reserve units, reserve the name, insert the row and close the draft in one transaction.

        Raises:
            Refusal: QUEUE_UNAVAILABLE, DATASET_UNKNOWN, NOT_OWNER, DATASET_CLOSED, DATASET_TOO_SMALL, NAME_TAKEN, TOO_MANY_JOBS,
                QUOTA_EXCEEDED.
        """
        raise NotImplementedError

    async def repeat(
        self, job_id: str, actor: Actor, place: JobPlace, interaction_id: int, *, prompt: str | None = None, seed: int | None = None
    ) -> SubmittedJob:
        """Make a clip of `actor` again with the same settings and LoRAs; `seed` None rolls a new one, `prompt` None keeps the old one.

        Raises:
            Refusal: NOT_OWNER, JOB_NOT_REPEATABLE, and those of `submit_generation`.
        """
        raise NotImplementedError

    async def cancel(self, job_id: str, actor: Actor) -> JobView:
        """Stop a job of `actor` (or, as an admin, of their server): at once while it waits, between two steps while it runs.

        The returned record is CANCELLED, or still open with `cancel_requested`.

        Raises:
            Refusal: NOT_OWNER, JOB_OVER, QUEUE_UNAVAILABLE (the job runs and its worker cannot be told).
        """
        raise NotImplementedError

    async def delete_result(self, job_id: str, actor: Actor) -> JobRecord:
        """Delete what a finished job of `actor` (or, as an admin, of their server) left in the store; the caller deletes the message.

        Raises:
            Refusal: NOT_OWNER, JOB_OVER is not raised for a second call: deleting twice is deleting once.
        """
        raise NotImplementedError

    async def get(self, job_id: str) -> JobView:
        """A job with its position, ETA and progress."""
        raise NotImplementedError

    async def mine(self, actor: Actor, *, limit: int = 10) -> list[JobView]:
        """Open jobs of `actor` first, then the latest finished ones."""
        raise NotImplementedError
