"""Labels of forms and choices."""

from __future__ import annotations

from bot.services.clip_requests import Change
from bot.storage.loras import Visibility
from bot.storage.reports import ReportReason
from bot.ui import format as fmt
from bot.ui.language import Words, _, later
from engine.contracts.controls import ControlKind
from engine.contracts.generation import Fit, Quality

ADD_FILES_LABEL = later("Pictures, clips or a zip")
ADD_FILES_HINT = later("Up to ten at a time; send the form again for more.")


def add_files_title(name: str) -> str:
    """Title of the upload form, at most 45 characters."""
    return fmt.plain(_("Add pictures to {name}", name=name), 45)


EDIT_NAME_LABEL = later("Name")
EDIT_NAME_HINT = later("2 to 16 small letters, digits, - or _, used in loras:")
EDIT_VISIBILITY_LABEL = later("Who can use it")
EDIT_EXAMPLES_LABEL = later("Prompts that show it well")
EDIT_EXAMPLES_HINT = later("One a line, three at most; they stand on its card.")

VISIBILITY_LABELS = Words(
    {
        Visibility.PRIVATE: "Only me",
        Visibility.SERVER: "Everybody in this server",
        Visibility.PUBLIC: "Everybody, everywhere",
    }
)
VISIBILITY_HINTS = Words(
    {
        Visibility.PRIVATE: "Nobody else learns that it exists",
        Visibility.SERVER: "The server it was made in",
        Visibility.PUBLIC: "Other servers too, and they may download it",
    }
)


REPORT_TITLE = later("What is wrong with it?")
REPORT_REASON_LABEL = later("It")
REPORT_NOTE_LABEL = later("Anything that helps to judge")
REPORT_NOTE_HINT = later("Only the people who decide read it.")
REPORT_REASONS = Words(
    {
        ReportReason.LIKENESS: "shows me, or somebody who did not agree",
        ReportReason.MINOR: "sexualises somebody who is, or looks, under age",
        ReportReason.ADULT: "is adult content where it does not belong",
        ReportReason.HATE: "attacks or humiliates people",
        ReportReason.RIGHTS: "uses work that is mine",
        ReportReason.OTHER: "is wrong for another reason",
    }
)


def edit_title(name: str) -> str:
    """Title of the form that changes a LoRA, at most 45 characters."""
    return fmt.plain(_("Edit {name}", name=name), 45)


QUALITIES = Words({Quality.FAST: "fast: fewer steps", Quality.BEST: "best: all steps"})
FITS = Words({Fit.CROP: "crop: the middle fills the frame", Fit.LETTERBOX: "letterbox: all of it, between black bars"})
CONTROLS = Words(
    {
        ControlKind.EDGES: "edges: its outlines",
        ControlKind.DEPTH: "depth: what is near and far",
        ControlKind.POSE: "pose: how people move",
        ControlKind.VIDEO: "video: its frames as they are",
    }
)
CHANGES = Words(
    {
        Change.RESTYLE: "restyle: its frames made anew by the prompt",
        Change.EXTEND: "extend: go on from its end",
        Change.UPSCALE: "upscale: twice the size",
    }
)

REMIX_MENU = later("Make a clip of this")
REMIX_PROMPT_LABEL = later("What happens in the clip")
REMIX_LORAS_LABEL = later("LoRAs")
REMIX_LORAS_EXAMPLE = "hero:0.9, watercolour"
REMIX_USE_LABEL = later("What becomes of it")

GUIDE_USE = "guide"


def uses() -> dict[str, str]:
    """What can become of a clip: the changes, and that it guides an effect."""
    return {**{change.value: label for change, label in CHANGES.items()}, GUIDE_USE: _("guide: an effect LoRA follows it")}
