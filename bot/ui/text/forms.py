"""Labels of forms."""

from __future__ import annotations

from bot.ui import format as fmt

ADD_FILES_LABEL = "Pictures, clips or a zip"
ADD_FILES_HINT = "Up to ten at a time; send the form again for more."


def add_files_title(name: str) -> str:
    """Title of the upload form, at most 45 characters."""
    return fmt.plain(f"Add pictures to {name}", 45)
