"""The tiny base for tests, training sets made on the spot, and ports that remember what they were told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from engine.config import TrainConfig
from engine.contracts.controls import Control
from engine.contracts.events import Phase
from engine.contracts.fitting import Fitting
from engine.contracts.lora import LoraKind
from engine.ports import NeverCancelled, NullMetrics
from tests.support.contracts import manifest

if TYPE_CHECKING:
    import torch

    from engine.data.dataset import LocalItem, Sample
    from engine.data.prepare import ItemReader
    from engine.model.adapters import LoadedUse
    from engine.model.loader import ResidentBase
    from engine.train.run import TrainingRun


@pytest.fixture(scope="session")
def loaded_tiny() -> ResidentBase:
    """The tiny base, loaded once; tests take `tiny`."""
    import torch

    from engine.model.bases import get_base
    from engine.model.loader import load_base

    torch.set_num_threads(1)
    return load_base(get_base("tiny"), device="cpu")


@pytest.fixture
def tiny(loaded_tiny: ResidentBase) -> Iterator[ResidentBase]:
    """The tiny base as loaded; whatever a test leaves on it comes off."""
    from engine.model.adapters import AdapterStack

    yield loaded_tiny
    AdapterStack(loaded_tiny).forget()
    if getattr(loaded_tiny.transformer, "peft_config", None):
        loaded_tiny.transformer.unload_lora()


def checksum(resident: ResidentBase) -> str:
    """Hash over names, values and trainability of every weight of the transformer."""
    digest = hashlib.sha256()
    for name, parameter in sorted(resident.transformer.named_parameters()):
        digest.update(f"{name}:{parameter.requires_grad}".encode())
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()


def predict(resident: ResidentBase, prompt: str = "a red ball on a beach", num_frames: int = 9) -> torch.Tensor:
    """A velocity [2, N, C] for fixed noise, without gradients."""
    import torch

    latent_frames = (num_frames - 1) // 4 + 1
    generator = torch.Generator().manual_seed(11)
    tokens = torch.randn(2, latent_frames * 16, 64, generator=generator)
    sigma = torch.tensor([0.4, 0.9])
    text = resident.encode_text([prompt, prompt])
    with torch.no_grad():
        coords = resident.video_coords(latent_frames, 4, 4, 8.0)
        return resident.velocity(tokens, sigma[:, None], sigma, text, coords)


def write_pictures(folder: Path, count: int = 4, size: int = 64) -> list[LocalItem]:
    """`count` different pictures with captions as an upload of a character called zoko."""
    from engine.data.dataset import LocalItem

    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for index in range(count):
        rng = np.random.default_rng(index)
        pixels = np.kron(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), np.ones((size // 8, size // 8, 1), dtype=np.uint8))
        path = folder / f"picture-{index}.png"
        Image.fromarray(pixels).save(path)
        items.append(LocalItem(path, "image/png", path.name, f"zoko standing on hill {index}"))
    return items


def write_clip(path: Path, num_frames: int, fps: int, *, cut_at: int | None = None, caption: str = "zoko walking") -> LocalItem:
    """A lossless clip of 64 px whose brightness tells the frame number; from `cut_at` on it is another, red picture."""
    import av

    from engine.data.dataset import LocalItem

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "0", "g": "1"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv444p"
        for index in range(num_frames):
            grey = 5 * index % 256
            pixels = np.full((64, 64, 3), grey if cut_at is None or index < cut_at else (255, 0, 0), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return LocalItem(path, "video/mp4", path.name, caption)


def read_all(reader: ItemReader, items: Sequence[LocalItem]) -> list[Sample]:
    """All samples of a set, as a training would see them."""
    from engine.data.prepare import Preparation

    preparation = Preparation(reader, items)
    samples: list[Sample] = []
    while preparation.left:
        samples += preparation.step()
    return samples


def train_config(**changes: Any) -> TrainConfig:
    """A training small enough for a unit test."""
    values: dict[str, Any] = {
        "name": "zoko",
        "kind": LoraKind.CHARACTER,
        "trigger": "zoko",
        "rank": 2,
        "steps": 4,
        "learning_rate": 1e-3,
        "batch_size": 2,
        "width": 32,
        "height": 32,
        "seed": 5,
    }
    return TrainConfig(**{**values, **changes})


class Recorder:
    """An `EventSink` that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[Phase, int, int]] = []
        self.losses: list[float | None] = []
        self.previews: list[tuple[int, Path]] = []
        self.checkpoints: list[tuple[int, tuple[Path, ...]]] = []
        self.fittings: list[Fitting] = []

    def progress(
        self, phase: Phase, step: int, total_steps: int, *, seconds_per_step: float | None = None, loss: float | None = None
    ) -> None:
        """Remember it."""
        self.steps.append((phase, step, total_steps))
        self.losses.append(loss)

    def preview(self, step: int, image: Path) -> None:
        """Remember it."""
        self.previews.append((step, image))

    def checkpoint(self, step: int, files: tuple[Path, ...]) -> None:
        """Remember it."""
        self.checkpoints.append((step, files))

    def fitted(self, fitting: Fitting) -> None:
        """Remember it."""
        self.fittings.append(fitting)


class Switch:
    """A `CancelToken` a test turns on, at once or after being asked `after` times."""

    def __init__(self, after: int | None = None) -> None:
        self.on = False
        self.asked = 0
        self._after = after

    def cancelled(self) -> bool:
        """True once it is on."""
        self.asked += 1
        return self.on or (self._after is not None and self.asked > self._after)


def start_run(
    resident: ResidentBase,
    items: Sequence[LocalItem],
    run_dir: Path,
    *,
    sink: Any = None,
    cancel: Any = None,
    resume: bool = False,
    gives_way: Any = None,
    shared_cache: Path | None = None,
    **changes: Any,
) -> TrainingRun:
    """A run of `train_config(**changes)`."""
    from engine.train.recipe import build_run

    return build_run(
        resident,
        train_config(**changes),
        items,
        run_dir,
        sink or Recorder(),
        cancel or NeverCancelled(),
        NullMetrics(),
        resume,
        gives_way=gives_way,
        shared_cache=shared_cache,
    )


def run_until(run: TrainingRun, steps: int) -> None:
    """Step until `steps` optimizer steps are made."""
    while run.steps_done < steps:
        run.step()


def run_to_end(run: TrainingRun) -> Path:
    """Step to the end and return the LoRA file."""
    while not run.finished:
        run.step()
    return run.finish().path


def write_effect(path: Path, tiny: ResidentBase, control: Control | None, kind: LoraKind = LoraKind.EFFECT) -> LoadedUse:
    """A LoRA with noticeable weights that says it is guided by `control`."""
    import torch

    from engine.model.adapters import LoadedUse, save_lora

    generator = torch.Generator().manual_seed(1)
    name = "transformer_blocks.0.attn1.to_v"
    layer = tiny.transformer.get_submodule(name)
    pair = (torch.randn(4, layer.in_features, generator=generator) * 0.3, torch.randn(layer.out_features, 4, generator=generator) * 0.3)
    save_lora(path, {name: pair}, manifest(kind=kind, control=control, rank=4), torch.float32)
    return LoadedUse(path, path.stem, 1.0, None, kind)
