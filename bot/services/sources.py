"""Pictures and clips that a clip is made from: checked, stored, measured; deleted again when no job comes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from bot.errors import Refusal, RefusalCode
from bot.services.uploads import Uploads
from bot.services.values import Actor, IncomingFile
from engine.contracts.geometry import GeometryRule
from engine.contracts.media import ItemVerdict
from engine.contracts.model import StoredObject


class Role(StrEnum):
    """What an attachment is for."""

    IMAGE = "image"  # the first frame
    GUIDE = "guide"  # a video that an effect follows
    CLIP = "clip"  # a video that is changed


@dataclass(frozen=True)
class Source:
    """One of them in the store. A picture has one frame and no rate."""

    object: StoredObject
    width: int  # pixels
    height: int
    num_frames: int
    fps: float | None

    @property
    def seconds(self) -> float:
        """Playing time; 0 for a picture."""
        return self.num_frames / self.fps if self.fps else 0.0


Sources = dict[Role, Source]


@asynccontextmanager
async def taken(uploads: Uploads, actor: Actor, files: dict[Role, IncomingFile], *, max_seconds: float) -> AsyncIterator[Sources]:
    """Check and store `files`; an exception in the block deletes them again. Guides and clips play `max_seconds` at most.

    Raises:
        Refusal: IMAGE_UNUSABLE, CLIP_UNUSABLE, FILE_TOO_LARGE, MEDIA_CHECK_FAILED, STORE_UNAVAILABLE.
    """
    async with AsyncExitStack() as stack:
        found: Sources = {}
        for role, file in files.items():
            if role is Role.IMAGE:
                obj, verdict = await stack.enter_async_context(uploads.image_taken(actor, file))
            else:
                obj, verdict = await stack.enter_async_context(uploads.clip_taken(actor, file, role, max_seconds=max_seconds))
            found[role] = _source(obj, verdict)
        yield found


def nearest_aspect(rule: GeometryRule, source: Source) -> str:
    """The shape of a base that loses least of `source`."""
    wanted = source.width / source.height
    return min(rule.aspects, key=lambda name: abs(rule.aspects[name][0] / rule.aspects[name][1] - wanted))


def refuse_conflicts(*, image: bool, guide: bool, clip: bool, control: bool, change: bool, strength: float | None) -> None:
    """What does not go together, said before any file is looked at.

    Raises:
        Refusal: SOURCES_CONFLICT, CONTROL_WITHOUT_GUIDE, CHANGE_WITHOUT_CLIP, STRENGTH_OUT_OF_RANGE.
    """
    if clip and (image or guide):
        raise Refusal(RefusalCode.SOURCES_CONFLICT, one=Role.CLIP, other=Role.IMAGE if image else Role.GUIDE)
    if control and not guide:
        raise Refusal(RefusalCode.CONTROL_WITHOUT_GUIDE)
    if (change or strength is not None) and not clip:
        raise Refusal(RefusalCode.CHANGE_WITHOUT_CLIP)
    if strength is not None and not 0.0 < strength <= 1.0:  # also refuses nan
        raise Refusal(RefusalCode.STRENGTH_OUT_OF_RANGE, strength=strength)


def _source(obj: StoredObject, verdict: ItemVerdict) -> Source:
    return Source(obj, verdict.width or 1, verdict.height or 1, verdict.num_frames or 1, verdict.fps)
