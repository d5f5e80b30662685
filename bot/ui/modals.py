"""Forms. They keep nothing in memory that matters: a submit is recognised by its `custom_id`, so a restart in between loses no upload."""

from __future__ import annotations

import re
from typing import Any

from discord import ui

from bot.ui import text

MAX_FILES = 10
FORM_TIMEOUT_S = 900
"""Dismissed forms are never reported; without a timeout the library keeps each one for ever."""

ADD_FILES_ID = re.compile(r"form:files:(?P<subject>[0-9A-HJKMNP-TV-Z]{26})")


class AddFilesForm(ui.Modal):
    """Takes up to ten files for an open data set; the submit is handled by the client, not by this object."""

    def __init__(self, dataset_id: str, name: str) -> None:
        super().__init__(title=text.add_files_title(name), custom_id=f"form:files:{dataset_id}", timeout=FORM_TIMEOUT_S)
        upload: ui.FileUpload[Any] = ui.FileUpload(custom_id="files", required=True, min_values=1, max_values=MAX_FILES)
        self.add_item(ui.Label(text=text.ADD_FILES_LABEL, description=text.ADD_FILES_HINT, component=upload))
