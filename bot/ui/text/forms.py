"""Labels of forms and choices."""

from __future__ import annotations

from collections.abc import Mapping

from bot.services.clip_requests import Change
from bot.storage.loras import Visibility
from bot.storage.reports import ReportReason
from bot.ui import format as fmt
from engine.contracts.controls import ControlKind
from engine.contracts.generation import Fit, Quality

ADD_FILES_LABEL = "Pictures, clips or a zip"
ADD_FILES_HINT = "Up to ten at a time; send the form again for more."


def add_files_title(name: str) -> str:
    """Title of the upload form, at most 45 characters."""
    return fmt.plain(f"Add pictures to {name}", 45)


EDIT_NAME_LABEL = "Name"
EDIT_NAME_HINT = "2 to 16 small letters, digits, - or _, used in loras:"
EDIT_VISIBILITY_LABEL = "Who can use it"
EDIT_EXAMPLES_LABEL = "Prompts that show it well"
EDIT_EXAMPLES_HINT = "One a line, three at most; they stand on its card."

VISIBILITY_LABELS: Mapping[Visibility, str] = {
    Visibility.PRIVATE: "Only me",
    Visibility.SERVER: "Everybody in this server",
    Visibility.PUBLIC: "Everybody, everywhere",
}
VISIBILITY_HINTS: Mapping[Visibility, str] = {
    Visibility.PRIVATE: "Nobody else learns that it exists",
    Visibility.SERVER: "The server it was made in",
    Visibility.PUBLIC: "Other servers too, and they may download it",
}


REPORT_TITLE = "What is wrong with it?"
REPORT_REASON_LABEL = "It"
REPORT_NOTE_LABEL = "Anything that helps to judge"
REPORT_NOTE_HINT = "Only the people who decide read it."
REPORT_REASONS: Mapping[ReportReason, str] = {
    ReportReason.LIKENESS: "shows me, or somebody who did not agree",
    ReportReason.MINOR: "sexualises somebody who is, or looks, under age",
    ReportReason.ADULT: "is adult content where it does not belong",
    ReportReason.HATE: "attacks or humiliates people",
    ReportReason.RIGHTS: "uses work that is mine",
    ReportReason.OTHER: "is wrong for another reason",
}


def edit_title(name: str) -> str:
    """Title of the form that changes a LoRA, at most 45 characters."""
    return fmt.plain(f"Edit {name}", 45)


QUALITIES: Mapping[Quality, str] = {Quality.FAST: "fast: fewer steps", Quality.BEST: "best: all steps"}
FITS: Mapping[Fit, str] = {Fit.CROP: "crop: the middle fills the frame", Fit.LETTERBOX: "letterbox: all of it, between black bars"}
CONTROLS: Mapping[ControlKind, str] = {
    ControlKind.EDGES: "edges: its outlines",
    ControlKind.DEPTH: "depth: what is near and far",
    ControlKind.POSE: "pose: how people move",
    ControlKind.VIDEO: "video: its frames as they are",
}
CHANGES: Mapping[Change, str] = {
    Change.RESTYLE: "restyle: its frames made anew by the prompt",
    Change.EXTEND: "extend: go on from its end",
    Change.UPSCALE: "upscale: twice the size",
}

REMIX_MENU = "Make a clip of this"
REMIX_PROMPT_LABEL = "What happens in the clip"
REMIX_LORAS_LABEL = "LoRAs"
REMIX_LORAS_EXAMPLE = "hero:0.9, watercolour"
REMIX_USE_LABEL = "What becomes of it"

GUIDE_USE = "guide"
USES: Mapping[str, str] = {**{change.value: label for change, label in CHANGES.items()}, GUIDE_USE: "guide: an effect LoRA follows it"}
