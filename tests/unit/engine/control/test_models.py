"""Depth and pose: the real code on tiny random models from a folder, and a sentence when a model is not here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessor,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessor,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessor,
)

from engine.contracts.controls import ControlKind, ControlModels
from engine.control.depth import DepthExtractor
from engine.control.extract import extractor_of
from engine.control.pose import PoseExtractor, draw_skeletons
from engine.errors import BaseUnavailableError
from engine.model.loader import ResidentBase

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)


@pytest.fixture
def depth_model(tmp_path: Path) -> str:
    """A random Depth Anything of a few thousand weights."""
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14, out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        head_in_index=-1, head_hidden_size=8,
    )  # fmt: skip
    model = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.mul_(100)  # fresh weights say next to nothing
    model.save_pretrained(tmp_path / "depth")
    DPTImageProcessor(size={"height": 56, "width": 56}, keep_aspect_ratio=False).save_pretrained(tmp_path / "depth")
    return str(tmp_path / "depth")


def test_depth_is_grey_and_of_the_clips_own_size(depth_model: str) -> None:
    """One scale for the whole clip: black somewhere, white somewhere, the same for the same frames."""
    extract = DepthExtractor.load(ControlModels(depth=depth_model))
    drawn = extract(FRAMES)
    assert drawn.shape == FRAMES.shape
    assert drawn.dtype == np.uint8
    assert (drawn[..., 0] == drawn[..., 1]).all()
    assert (drawn.min(), drawn.max()) == (0, 255)
    assert np.array_equal(drawn, extract(FRAMES))


@pytest.fixture
def pose_models(tmp_path: Path) -> tuple[str, str]:
    """A random detector and a random ViTPose."""
    torch.manual_seed(0)
    detector = YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[64, 64], patch_size=16,
        num_detection_tokens=4, num_labels=1,
    )  # fmt: skip
    YolosForObjectDetection(detector).save_pretrained(tmp_path / "person")
    YolosImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path / "person")
    backbone = VitPoseBackboneConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=[64, 48], patch_size=[16, 16], out_indices=[1]
    )
    VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17)).save_pretrained(tmp_path / "pose")
    VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(tmp_path / "pose")
    return str(tmp_path / "person"), str(tmp_path / "pose")


def test_base_reads_guides_with_its_configured_model_and_loads_it_once(tiny: ResidentBase, depth_model: str) -> None:
    """The name comes from whoever loaded the base; training and sampling share the model."""
    configured = replace(tiny, control_models=ControlModels(depth=depth_model), extras={})
    extract = extractor_of(configured, ControlKind.DEPTH)
    assert np.array_equal(extract(FRAMES), DepthExtractor.load(ControlModels(depth=depth_model))(FRAMES))
    assert extractor_of(configured, ControlKind.DEPTH) is extract


def test_pose_runs_from_pixels_to_lines(pose_models: tuple[str, str]) -> None:
    """Detector, joints and drawing fit together; random models find whatever they find, at the clip's own size."""
    drawn = PoseExtractor.load(ControlModels(person=pose_models[0], pose=pose_models[1]))(FRAMES)
    assert drawn.shape == FRAMES.shape
    assert drawn.dtype == np.uint8


def test_skeleton_has_a_line_between_sure_joints_only() -> None:
    """A bone with a doubtful end is left out; the left shin has its own colour."""
    joints = np.zeros((17, 3), dtype=np.float32)
    joints[13], joints[15] = (10, 10, 0.9), (10, 40, 0.9)  # left knee and ankle
    joints[14], joints[16] = (30, 10, 0.9), (30, 40, 0.1)  # the right ankle is a guess
    drawn = draw_skeletons((48, 48), [joints])
    assert drawn[10:41, 10].any(axis=1).all()
    assert not drawn[:, 25:].any()


def test_model_that_is_not_here_is_named_with_the_way_out(tmp_path: Path) -> None:
    """No traceback of a download: one sentence, before any work."""
    missing = str(tmp_path / "nothing")
    models = ControlModels(depth=missing, person=missing, pose=missing)
    for load in (DepthExtractor.load, PoseExtractor.load):
        with pytest.raises(BaseUnavailableError, match="is not on this machine: download it, or guide by edges"):
            load(models)
