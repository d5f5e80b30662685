"""What a training shows of itself: pictures on the way, every look at a checkpoint and the clip at its end ask for the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from engine.config import GuideVideo, SampleConfig, TrainConfig
from engine.contracts.controls import Control
from engine.contracts.geometry import Geometry, GeometryRule
from engine.data.captions import item_caption
from engine.data.dataset import LocalItem
from engine.data.videos import check_clip
from engine.errors import InvalidMediaError, JobCancelledError
from engine.evaluate.exam import Showing
from engine.hashing import file_sha256
from engine.model.adapters import AdapterStack, LoadedUse
from engine.model.loader import ResidentBase
from engine.ports import CancelToken, Either, NullSink
from engine.sample.generate import generate
from engine.sample.video import contact_sheet


def showings_of(config: TrainConfig, items: Sequence[LocalItem], aside: Collection[int], rule: GeometryRule) -> list[Showing]:
    """The preview prompt; for an effect, captions of the items kept `aside` with those items as guides, or one of another item.

    An effect all of whose items are stills, or too long to guide a clip, is shown without a guide.
    """
    if config.control is None:
        return [Showing(config.preview_prompt)]
    guided = partial(_guided_by, config=config, control=config.control, rule=rule)
    unseen = [replace(showing, truth=items[index].path) for index in sorted(aside) if (showing := guided(items[index])) is not None]
    return unseen or [next(filter(None, map(guided, items)), Showing(config.preview_prompt))]


def _guided_by(item: LocalItem, config: TrainConfig, control: Control, rule: GeometryRule) -> Showing | None:
    path = item.path if control.kind.computed else item.guide
    if path is None or not item.media_type.startswith("video/") or not _guides(path, rule):
        return None
    return Showing(item_caption(item.caption, item.filename, config.kind, config.trigger), GuideVideo(path=path))


def _guides(path: Path, rule: GeometryRule) -> bool:
    try:
        check_clip(path, max_seconds=rule.max_frames / rule.fps)
    except InvalidMediaError:
        return False
    return True


@dataclass(frozen=True)
class Previews:
    """Renders the LoRA as it is, the way any clip is rendered, and draws the frames on one sheet in `run_dir`."""

    resident: ResidentBase
    config: TrainConfig
    showing: Showing
    run_dir: Path
    cancel: CancelToken
    gives_way: CancelToken

    def __call__(self, step: int, lora: Path) -> Path | None:
        """A PNG of the preview with `lora`, or None when it gave way.

        Raises:
            JobCancelledError: the training itself was cancelled.
        """
        rule, config = self.resident.base.profile.geometry, self.config
        geometry = Geometry(width=config.width, height=config.height, num_frames=rule.default_frames, fps=rule.fps)
        sample = SampleConfig(prompt=self.showing.prompt, guide=self.showing.guide, geometry=geometry, seed=config.preview_seed)
        use = LoadedUse(lora, config.name, 1.0, config.trigger, config.kind)
        sha256 = file_sha256(lora)
        try:
            clip = generate(self.resident, sample, [use], NullSink(), Either(self.cancel, self.gives_way))
        except JobCancelledError:
            if self.cancel.cancelled():
                raise
            return None
        finally:
            AdapterStack(self.resident).forget(sha256)
        image = self.run_dir / f"preview-{step:06d}.png"
        contact_sheet(clip.frames, image)
        return image
