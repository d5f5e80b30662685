"""Labels of forms."""

from __future__ import annotations

from collections.abc import Mapping

from bot.storage.loras import Visibility
from bot.ui import format as fmt

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


def edit_title(name: str) -> str:
    """Title of the form that changes a LoRA, at most 45 characters."""
    return fmt.plain(f"Edit {name}", 45)
