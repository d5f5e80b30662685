"""Pose of the people in a clip: a detector finds each person, a second model finds the joints, lines are drawn between them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any, Final, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engine.contracts.controls import ControlModels
from engine.control.models import loaded

_SURE: Final = 0.3  # score from which a person or a joint is drawn
_BONES: Final = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
"""Joints that are connected, by their numbers in the COCO keypoint task (17 joints, nose to ankles)."""

_COLOURS: Final = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(index / len(_BONES), 1.0, 1.0)) for index in range(len(_BONES))]


class PoseExtractor:
    """Calls a transformers person detector and a keypoint model frame by frame."""

    def __init__(self, detector: tuple[Any, Any], joints: tuple[Any, Any], device: str) -> None:
        (self._person_processor, person_model), (self._joint_processor, joint_model) = detector, joints
        self._person_model = person_model.to(device).eval().requires_grad_(False)
        self._joint_model = joint_model.to(device).eval().requires_grad_(False)
        self._device = device

    @classmethod
    def load(cls, models: ControlModels, device: str = "cpu") -> Self:
        """The models that find people and their joints.

        Raises:
            BaseUnavailableError: one is not on this machine and cannot be fetched.
        """
        from transformers import AutoImageProcessor, AutoModelForObjectDetection, VitPoseForPoseEstimation

        def pair(what: str, name: str, kind: Any) -> tuple[Any, Any]:
            return loaded(what, name, AutoImageProcessor), loaded(what, name, kind, use_safetensors=True)

        return cls(pair("person", models.person, AutoModelForObjectDetection), pair("pose", models.pose, VitPoseForPoseEstimation), device)

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Stick figures on black, [F, H, W, 3], of RGB frames [F, H, W, 3]."""
        return np.stack([draw_skeletons(frame.shape[:2], self._people(frame)) for frame in frames])

    @torch.no_grad()
    def _people(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Joints [17, 3] (x, y in pixels, score) of every person in a frame [H, W, 3]."""
        inputs = self._person_processor(images=frame, return_tensors="pt").to(self._device)
        size = torch.tensor([frame.shape[:2]])
        (found,) = self._person_processor.post_process_object_detection(self._person_model(**inputs), threshold=_SURE, target_sizes=size)
        boxes = found["boxes"][found["labels"] == 0].cpu().numpy()  # label 0 is a person
        if len(boxes) == 0:
            return []
        boxes[:, 2:] -= boxes[:, :2]  # corners to corner and size
        inputs = self._joint_processor(images=frame, boxes=[boxes], return_tensors="pt").to(self._device)
        experts = torch.zeros(len(boxes), dtype=torch.int64, device=self._device)  # ViTPose+ has one head per data set; 0 is COCO
        outputs = self._joint_model(**inputs, dataset_index=experts)
        (people,) = self._joint_processor.post_process_pose_estimation(outputs, boxes=[boxes])
        return [_joints(person) for person in people]


def draw_skeletons(size: Sequence[int], people: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """One frame [H, W, 3] of `size` (H, W) with a line per bone whose two joints are sure, one colour per bone."""
    frame = np.zeros((*size, 3), dtype=np.uint8)
    thickness = max(1, round(min(size) / 128))
    for joints in people:
        for (start, end), colour in zip(_BONES, _COLOURS, strict=True):
            if min(joints[start, 2], joints[end, 2]) >= _SURE:
                a, b = ((round(float(joints[j, 0])), round(float(joints[j, 1]))) for j in (start, end))
                cv2.line(frame, a, b, colour, thickness, cv2.LINE_AA)
    return frame


def _joints(person: Any) -> NDArray[np.float32]:
    """[17, 3]; joints the model left out have score 0."""
    joints = np.zeros((17, 3), dtype=np.float32)
    labels = person["labels"].cpu().numpy()
    joints[labels, :2] = person["keypoints"].cpu().numpy()
    joints[labels, 2] = person["scores"].cpu().numpy()
    return joints
