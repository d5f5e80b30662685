"""Clips: from what a person asked for, or from a clip they have, to a `GenerateVideo` job that is priced and queued."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ulid import ULID

from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.services.clip_requests import Change, GenerationRequest, StoryboardRequest, checked_prompt, checked_seed, checked_text
from bot.services.jobs import Jobs, SubmittedJob
from bot.services.loras import Loras, StackEntry, parse_stack
from bot.services.plans import Feature, Plans, plan_needed
from bot.services.servers import Servers
from bot.services.sources import Role, Sources, nearest_aspect, refuse_conflicts, taken
from bot.services.uploads import Uploads
from bot.services.values import Actor, JobPlace
from bot.storage.jobs import JobRecord
from engine.contracts.bases import BaseProfile
from engine.contracts.generation import (
    MAX_SCENES,
    MIN_SCENES,
    UPSCALE_FACTOR,
    Extension,
    GenerationMode,
    Guide,
    Quality,
    Restyle,
    Scene,
    Storyboard,
    Upscale,
    Variation,
)
from engine.contracts.geometry import Geometry, GeometryRule
from engine.contracts.jobs import GenerateVideo
from engine.contracts.lora import AdapterUse
from engine.contracts.results import LoraTrained, VideoRendered
from engine.contracts.stack import MAX_TOTAL_WEIGHT, senseless

_Wish = tuple[float | None, str | None, float]
"""Seconds and shape as asked for, and the longest clip the person may make."""

NO_LORAS = "none"
_BARE: dict[str, Any] = dict.fromkeys(("image", "guide", "restyle", "extend", "upscale", "storyboard", "vary"))
"""A clip without anything it was made from."""
OFFERED_SECONDS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
MIN_SECONDS = 0.5
MAX_FILM_SECONDS = 60.0
"""Of a clip that is continued: what the engine reads of anybody's file."""


@dataclass(frozen=True)
class Length:
    """A length somebody may choose, with its price."""

    seconds: float
    units: int


@dataclass(frozen=True)
class Clips:
    """Everything that makes a clip.

    A method refuses before it charges. All of them may also refuse QUEUE_UNAVAILABLE, TOO_MANY_JOBS, QUOTA_EXCEEDED, STACK_WEIGHTS, and
    what `parse_stack` and `Loras.resolve` refuse.
    """

    settings: BotSettings
    jobs: Jobs
    loras: Loras
    uploads: Uploads
    plans: Plans
    servers: Servers

    async def submit(self, request: GenerationRequest) -> SubmittedJob:
        """`/generate`: check everything, store what came along, queue one clip.

        Raises:
            Refusal: PROMPT_EMPTY, PROMPT_TOO_LONG, SECONDS_OUT_OF_RANGE, PLAN_NEEDED, ASPECT_UNKNOWN, SEED_OUT_OF_RANGE, GUIDE_MISSING,
                EFFECT_MISSING, those of `refuse_conflicts` and `taken`.
        """
        prompt, negative = checked_prompt(request.prompt), checked_text(request.negative.strip(), "negative")
        files = {
            role: file
            for role, file in ((Role.IMAGE, request.image), (Role.GUIDE, request.guide), (Role.CLIP, request.clip))
            if file is not None
        }
        refuse_conflicts(
            image=Role.IMAGE in files,
            guide=Role.GUIDE in files,
            clip=Role.CLIP in files,
            control=request.control is not None,
            change=request.change is not None,
            strength=request.strength,
        )
        longest = await self._longest_of(request.actor, request.seconds)
        self._refuse_aspect(request.aspect)
        seed = checked_seed(request.seed)
        defaults = await self.servers.get(request.actor.guild_id)
        adapters = await self._stack(parse_stack(_typed(request.loras, defaults.default_loras)), request.actor)
        await self._refuse_effects(adapters, guided=request.guide is not None)
        await self.jobs.queue.require()
        change = (request.change or Change.RESTYLE) if request.clip is not None else None
        async with taken(self.uploads, request.actor, files, max_seconds=self._longest_source(change)) as sources:
            job = GenerateVideo.model_validate(
                {
                    "job_id": str(ULID()),
                    "base": self.settings.base,
                    "prompt": prompt,
                    "negative_prompt": negative,
                    "adapters": adapters,
                    "geometry": self._geometry((request.seconds, request.aspect, longest), sources, change),
                    "seed": seed,
                    "quality": request.quality or defaults.default_quality,
                    "fit": request.fit,
                    "mute": request.mute,
                    "max_bytes": request.place.max_bytes,
                }
                | _from_sources(sources, request, change)
            )
            return await self._queue(job, request.actor, request.place, request.interaction_id)

    async def storyboard(self, request: StoryboardRequest) -> SubmittedJob:
        """`/storyboard`: one film of several scenes with the same cast.

        Raises:
            Refusal: SCENES_COUNT, PROMPT_TOO_LONG, SECONDS_OUT_OF_RANGE, PLAN_NEEDED, ASPECT_UNKNOWN, SEED_OUT_OF_RANGE.
        """
        scenes = [scene.strip() for scene in request.scenes if scene.strip()]
        if not MIN_SCENES <= len(scenes) <= MAX_SCENES:
            raise Refusal(RefusalCode.SCENES_COUNT, count=len(scenes), minimum=MIN_SCENES, maximum=MAX_SCENES)
        prompts = [checked_prompt(scene) for scene in scenes]
        longest = await self._longest_of(request.actor, request.seconds)
        self._refuse_aspect(request.aspect)
        seed = checked_seed(request.seed)
        defaults = await self.servers.get(request.actor.guild_id)
        adapters = await self._stack(parse_stack(_typed(request.loras, defaults.default_loras)), request.actor)
        await self._refuse_effects(adapters, guided=False)
        await self.jobs.queue.require()
        job = GenerateVideo(
            job_id=str(ULID()),
            base=self.settings.base,
            prompt=prompts[0],
            negative_prompt=checked_text(request.negative.strip(), "negative"),
            adapters=adapters,
            geometry=self._geometry((request.seconds, request.aspect, longest), {}, None),
            seed=seed,
            storyboard=Storyboard(scenes=tuple(Scene(prompt=prompt) for prompt in prompts)),
            quality=request.quality or defaults.default_quality,
            mute=request.mute,
            max_bytes=request.place.max_bytes,
        )
        return await self._queue(job, request.actor, request.place, request.interaction_id)

    async def lengths(self, actor: Actor, aspect: str | None, quality: Quality | None) -> list[Length]:
        """Lengths worth offering, with their prices as plain clips, up to what the person's plan renders."""
        profile = self.settings.profile
        longest = await self._longest_of(actor, None)
        chosen = quality or (await self.servers.get(actor.guild_id)).default_quality
        width, height = profile.geometry.aspects.get(aspect or "", next(iter(profile.geometry.aspects.values())))
        found: dict[int, Length] = {}
        for seconds in (*(length for length in OFFERED_SECONDS if length < longest), longest):
            num_frames = profile.geometry.frames_for(seconds)
            geometry = Geometry(width=width, height=height, num_frames=num_frames, fps=profile.geometry.fps)
            job = GenerateVideo(job_id=str(ULID()), base=profile.name, prompt="x", geometry=geometry, seed=0, quality=chosen, max_bytes=1)
            found.setdefault(num_frames, Length(seconds, profile.job_units(job)))
        return list(found.values())

    # ---- from a clip that is there ----------------------------------------------------------------------------------------------------

    async def again(self, job_id: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """The same request with a new seed.

        Raises:
            Refusal: NOT_OWNER, JOB_NOT_REPEATABLE.
        """
        old = (await self._own_clip(job_id, actor))[1]
        return await self._remake(old, actor, place, interaction_id, vary=None)

    async def vary(self, job_id: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """A relative of a clip: its noise, turned a little towards new noise. Modes without such a seed get a new one.

        Raises:
            Refusal: NOT_OWNER, JOB_NOT_REPEATABLE.
        """
        old = (await self._own_clip(job_id, actor))[1]
        family = old.vary.seed if old.vary is not None else old.seed
        return await self._remake(old, actor, place, interaction_id, vary=Variation(seed=family) if varies(old) else None)

    async def extend(self, job_id: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """Go on from the end of a finished clip with its own prompt, or the one of its last scene.

        Raises:
            Refusal: NOT_OWNER, JOB_NOT_REPEATABLE, RESULT_GONE.
        """
        record, old = await self._own_clip(job_id, actor)
        result = _clip_of(record)
        prompt = old.storyboard.scenes[-1].prompt if old.storyboard is not None else old.prompt
        geometry = _continued(old, self.settings.profile.geometry)
        return await self._derive(old, actor, place, interaction_id, prompt=prompt, extend=Extension(video=result.file), geometry=geometry)

    async def upscale(self, job_id: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """A finished clip at twice the size.

        Raises:
            Refusal: NOT_OWNER, JOB_NOT_REPEATABLE, RESULT_GONE, ALREADY_UPSCALED, SOURCE_TOO_LONG.
        """
        record, old = await self._own_clip(job_id, actor)
        result = _clip_of(record)
        if old.mode is GenerationMode.UPSCALE:
            raise Refusal(RefusalCode.ALREADY_UPSCALED)
        rule = self.settings.profile.geometry
        num_frames = result.num_frames or result.geometry.num_frames
        if num_frames > rule.max_frames:
            raise Refusal(RefusalCode.SOURCE_TOO_LONG, seconds=num_frames / rule.fps, limit=rule.max_frames / rule.fps)
        geometry = _enlarged(old, num_frames, rule)
        return await self._derive(
            old, actor, place, interaction_id, upscale=Upscale(video=result.file), geometry=geometry, seed=result.seed
        )

    async def animate(self, job_id: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """A clip that begins with the still a training has posted, with the LoRA it made.

        Raises:
            Refusal: NOT_OWNER, NOTHING_TO_ANIMATE.
        """
        record = (await self.jobs.get(job_id)).record
        if record.owner_id != actor.user_id:
            raise Refusal(RefusalCode.NOT_OWNER)
        result = record.result
        if not isinstance(result, LoraTrained) or result.poster is None or record.deleted:
            raise Refusal(RefusalCode.NOTHING_TO_ANIMATE)
        manifest = result.manifest
        entry = StackEntry(name=manifest.name, weight=1.0)
        job = GenerateVideo(
            job_id=str(ULID()),
            base=self.settings.base,
            prompt=manifest.trigger or manifest.name,
            adapters=await self._stack([entry], actor),
            geometry=self._geometry((None, None, 0.0), {}, None),
            seed=checked_seed(None),
            image=result.poster,
            max_bytes=place.max_bytes,
        )
        return await self._queue(job, actor, place, interaction_id)

    async def _own_clip(self, job_id: str, actor: Actor) -> tuple[JobRecord, GenerateVideo]:
        record = (await self.jobs.get(job_id)).record
        if record.owner_id != actor.user_id:
            raise Refusal(RefusalCode.NOT_OWNER)
        job = record.job
        if not isinstance(job, GenerateVideo) or job.base != self.settings.base:
            raise Refusal(RefusalCode.JOB_NOT_REPEATABLE)
        return record, job

    async def _remake(
        self, old: GenerateVideo, actor: Actor, place: JobPlace, interaction_id: int, *, vary: Variation | None
    ) -> SubmittedJob:
        """`old` with everything it was made from and another seed."""
        changes = {"job_id": str(ULID()), "seed": checked_seed(None), "vary": vary, "max_bytes": place.max_bytes}
        changes["adapters"] = await self._renewed(old.adapters, actor)
        await self.jobs.queue.require()
        return await self._queue(_changed(old, changes), actor, place, interaction_id)

    async def _derive(self, old: GenerateVideo, actor: Actor, place: JobPlace, interaction_id: int, **changes: object) -> SubmittedJob:
        """A job of its own that starts from the result of `old`: same words and stack, none of its other sources."""
        fresh = {"job_id": str(ULID()), "seed": checked_seed(None), "max_bytes": place.max_bytes}
        # an effect without its guide does nothing sensible, and the guide has been followed already
        plain = [use for use in await self._renewed(old.adapters, actor) if not await self._guided(use)]
        await self.jobs.queue.require()
        return await self._queue(_changed(old, _BARE | fresh | {"adapters": tuple(plain)} | changes), actor, place, interaction_id)

    async def _queue(self, job: GenerateVideo, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        return await self.jobs.submit(job, actor, place, interaction_id, self.settings.profile.job_units(job))

    # ---- stacks -----------------------------------------------------------------------------------------------------------------------

    async def _stack(self, entries: Sequence[StackEntry], actor: Actor) -> tuple[AdapterUse, ...]:
        """The LoRAs of a stack; one without a weight gets what the base advises for its kind in company."""
        profile = self.settings.profile
        uses = await self.loras.resolve(entries, actor, profile.lora_base)
        unsaid = {entry.name for entry in entries if not entry.weighed}
        uses = tuple(
            use.model_copy(update={"weight": profile.default_weight(use.kind, len(uses))}) if use.name in unsaid else use for use in uses
        )
        if senseless([use.weight for use in uses]):
            raise Refusal(RefusalCode.STACK_WEIGHTS, total=sum(use.weight for use in uses), limit=MAX_TOTAL_WEIGHT)
        return uses

    async def _renewed(self, uses: Sequence[AdapterUse], actor: Actor) -> tuple[AdapterUse, ...]:
        """The same stack looked up again: a LoRA may be gone, or trained anew, since."""
        return await self.loras.again(uses, actor, self.settings.profile.lora_base)

    async def _guided(self, use: AdapterUse) -> bool:
        """True for an effect that was trained to follow a video."""
        lora = await self.loras.of_training(use.lora_id)
        return lora is not None and lora.manifest is not None and lora.manifest.control is not None

    async def _refuse_effects(self, uses: Sequence[AdapterUse], *, guided: bool) -> None:
        """An effect that follows a video needs one, and a video needs an effect that follows it."""
        followers = [use.name for use in uses if await self._guided(use)]
        if followers and not guided:
            raise Refusal(RefusalCode.GUIDE_MISSING, name=followers[0])
        if guided and not followers:
            raise Refusal(RefusalCode.EFFECT_MISSING)

    # ---- sizes ------------------------------------------------------------------------------------------------------------------------

    def _refuse_aspect(self, aspect: str | None) -> None:
        aspects = self.settings.profile.geometry.aspects
        if aspect is not None and aspect not in aspects:
            raise Refusal(RefusalCode.ASPECT_UNKNOWN, aspect=aspect, known=list(aspects))

    async def _longest_of(self, actor: Actor, seconds: float | None) -> float:
        """Seconds of the longest clip the person may make; refuses `seconds` beyond it, or beyond what this base renders."""
        rule = self.settings.profile.geometry
        longest = min(self.settings.max_video_seconds, math.floor(rule.max_frames / rule.fps * 10) / 10)
        if seconds is not None and not MIN_SECONDS <= seconds <= longest:  # also refuses nan
            raise Refusal(RefusalCode.SECONDS_OUT_OF_RANGE, seconds=seconds, minimum=MIN_SECONDS, maximum=longest)
        standing = await self.plans.standing(actor.guild_id, actor.user_id)
        if seconds is not None and seconds > standing.terms.max_seconds:
            raise plan_needed(Feature.LONG_CLIPS, standing)
        return min(longest, standing.terms.max_seconds)

    def _longest_source(self, change: Change | None) -> float:
        """Seconds a guide or a given clip may have; what is only continued may be a whole film."""
        rule = self.settings.profile.geometry
        return MAX_FILM_SECONDS if change is Change.EXTEND else rule.max_frames / rule.fps

    def _geometry(self, wish: _Wish, sources: Sources, change: Change | None) -> Geometry:
        """What is denoised: the asked length and shape, or those of what the clip is made from."""
        rule, (seconds, aspect, longest) = self.settings.profile.geometry, wish
        given = list(sources.values())
        if aspect is None:
            aspect = nearest_aspect(rule, given[0]) if given else next(iter(rule.aspects))
        width, height = rule.aspects[aspect]
        moving = next((source for source in given if source.fps), None)
        if seconds is None and moving is not None and change is not Change.EXTEND:
            seconds = min(moving.seconds, longest)
        num_frames = rule.default_frames if seconds is None else rule.frames_for(seconds)
        factor = UPSCALE_FACTOR if change is Change.UPSCALE else 1
        return Geometry(width=width * factor, height=height * factor, num_frames=num_frames, fps=rule.fps)


def _typed(loras: str, default: str) -> str:
    """The stack as typed, or the server's where nothing was; `none` stands for nothing at all."""
    typed = loras.strip()
    return default if not typed else "" if typed.lower() == NO_LORAS else typed


def _continued(old: GenerateVideo, rule: GeometryRule) -> Geometry:
    """What is denoised to go on from a clip: a default length in its own size."""
    shrunk = UPSCALE_FACTOR if old.mode is GenerationMode.UPSCALE else 1
    size = {"width": old.geometry.width // shrunk, "height": old.geometry.height // shrunk}
    return Geometry(**size, num_frames=rule.default_frames, fps=rule.fps)


def _enlarged(old: GenerateVideo, num_frames: int, rule: GeometryRule) -> Geometry:
    """A clip at twice the size."""
    size = {"width": old.geometry.width * UPSCALE_FACTOR, "height": old.geometry.height * UPSCALE_FACTOR}
    return Geometry(**size, num_frames=num_frames, fps=rule.fps)


@dataclass(frozen=True)
class RemakePrices:
    """Units each button under a clip costs; None: it is not offered."""

    again: int
    extend: int
    upscale: int | None


def remake_prices(profile: BaseProfile, old: GenerateVideo, result: VideoRendered) -> RemakePrices:
    """The prices of what can be made from a finished clip, before anybody presses."""
    extended = _changed(old, _BARE | {"extend": Extension(video=result.file), "geometry": _continued(old, profile.geometry)})
    num_frames = result.num_frames or result.geometry.num_frames
    enlarged = _changed(old, _BARE | {"upscale": Upscale(video=result.file), "geometry": _enlarged(old, num_frames, profile.geometry)})
    upscale = None if old.mode is GenerationMode.UPSCALE else profile.job_units(enlarged)
    return RemakePrices(profile.job_units(old), profile.job_units(extended), upscale)


def varies(job: GenerateVideo) -> bool:
    """True when a relative of the clip can be made: those that go on from another clip or have scenes have no noise of their own."""
    return job.mode not in (GenerationMode.EXTEND, GenerationMode.UPSCALE, GenerationMode.STORYBOARD)


def _from_sources(sources: Sources, request: GenerationRequest, change: Change | None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if (image := sources.get(Role.IMAGE)) is not None:
        fields["image"] = image.object
    if (guide := sources.get(Role.GUIDE)) is not None:
        fields["guide"] = Guide(video=guide.object, control=request.control)
    if (clip := sources.get(Role.CLIP)) is not None:
        match change:
            case Change.EXTEND:
                fields["extend"] = Extension(video=clip.object)
            case Change.UPSCALE:
                fields["upscale"] = Upscale(video=clip.object)
            case _:
                strength = {} if request.strength is None else {"strength": request.strength}
                fields["restyle"] = Restyle(video=clip.object, **strength)
    return fields


def _changed(job: GenerateVideo, changes: dict[str, Any]) -> GenerateVideo:
    """`job` with `changes`, validated as a whole."""
    return GenerateVideo.model_validate({name: getattr(job, name) for name in GenerateVideo.model_fields} | changes)


def _clip_of(record: JobRecord) -> VideoRendered:
    if not isinstance(record.result, VideoRendered) or record.deleted:
        raise Refusal(RefusalCode.RESULT_GONE)
    return record.result
