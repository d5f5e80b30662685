"""Forms. They keep nothing in memory that matters: a submit is recognised by its `custom_id`, so a restart in between loses no upload."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import discord
from discord import ui

from bot.services.library import MAX_EXAMPLE_CHARS, MAX_EXAMPLES
from bot.services.loras import Lora
from bot.services.moderation import MAX_NOTE_CHARS
from bot.storage.datasets import ItemRecord
from bot.storage.loras import Visibility
from bot.storage.reports import ReportReason
from bot.ui import format as fmt
from bot.ui.text import findings, forms
from engine.contracts.media import MAX_CAPTION_CHARS

MAX_FILES = 10
FORM_TIMEOUT_S = 900
"""Dismissed forms are never reported; without a timeout the library keeps each one for ever."""

FORM_ID = re.compile(r"form:(?P<form>[a-z]+):(?P<subject>[A-Za-z0-9._-]{1,80})")
"""Every form of ours; `bot.commands.registry` knows who handles which."""


class AddFilesForm(ui.Modal):
    """Takes up to ten files for an open data set; the submit is handled by the client, not by this object."""

    def __init__(self, dataset_id: str, name: str) -> None:
        super().__init__(title=forms.add_files_title(name), custom_id=f"form:files:{dataset_id}", timeout=FORM_TIMEOUT_S)
        upload: ui.FileUpload[Any] = ui.FileUpload(custom_id="files", required=True, min_values=1, max_values=MAX_FILES)
        self.add_item(ui.Label(text=forms.ADD_FILES_LABEL(), description=forms.ADD_FILES_HINT(), component=upload))


class CaptionsForm(ui.Modal):
    """The captions of one page of a data set, one field per item; fields are named by the item's content."""

    def __init__(self, dataset_id: str, page: int, name: str, items: Sequence[ItemRecord]) -> None:
        super().__init__(title=findings.captions_title(name), custom_id=f"form:captions:{dataset_id}.{page}", timeout=FORM_TIMEOUT_S)
        for item in items:
            field: ui.TextInput[Any] = ui.TextInput(
                custom_id=item.media.sha256,
                style=discord.TextStyle.paragraph,
                default=item.words,
                required=False,
                max_length=MAX_CAPTION_CHARS,
            )
            self.add_item(ui.Label(text=fmt.plain(item.filename, 45), component=field))


class EditLoraForm(ui.Modal):
    """Name, visibility and example prompts of a LoRA."""

    def __init__(self, lora: Lora) -> None:
        super().__init__(title=forms.edit_title(lora.name), custom_id=f"form:edit:{lora.lora_id}", timeout=FORM_TIMEOUT_S)
        name: ui.TextInput[Any] = ui.TextInput(custom_id="name", default=lora.name, min_length=2, max_length=16)
        options = [
            discord.SelectOption(
                label=forms.VISIBILITY_LABELS[each], value=each, description=forms.VISIBILITY_HINTS[each], default=each is lora.visibility
            )
            for each in Visibility
            if each is not Visibility.SERVER or lora.guild_id is not None
        ]
        visibility: ui.Select[Any] = ui.Select(custom_id="visibility", options=options, min_values=1, max_values=1)
        examples: ui.TextInput[Any] = ui.TextInput(
            custom_id="examples",
            style=discord.TextStyle.paragraph,
            default="\n".join(lora.examples) or None,
            required=False,
            max_length=MAX_EXAMPLES * (MAX_EXAMPLE_CHARS + 1),
        )
        self.add_item(ui.Label(text=forms.EDIT_NAME_LABEL(), description=forms.EDIT_NAME_HINT(), component=name))
        self.add_item(ui.Label(text=forms.EDIT_VISIBILITY_LABEL(), component=visibility))
        self.add_item(ui.Label(text=forms.EDIT_EXAMPLES_LABEL(), description=forms.EDIT_EXAMPLES_HINT(), component=examples))


class ReportForm(ui.Modal):
    """What is wrong with a result."""

    def __init__(self, job_id: str) -> None:
        super().__init__(title=forms.REPORT_TITLE(), custom_id=f"form:report:{job_id}", timeout=FORM_TIMEOUT_S)
        options = [discord.SelectOption(label=forms.REPORT_REASONS[reason], value=reason) for reason in ReportReason]
        reason: ui.Select[Any] = ui.Select(custom_id="reason", options=options, min_values=1, max_values=1)
        note: ui.TextInput[Any] = ui.TextInput(
            custom_id="note", style=discord.TextStyle.paragraph, required=False, max_length=MAX_NOTE_CHARS
        )
        self.add_item(ui.Label(text=forms.REPORT_REASON_LABEL(), component=reason))
        self.add_item(ui.Label(text=forms.REPORT_NOTE_LABEL(), description=forms.REPORT_NOTE_HINT(), component=note))


class RemixForm(ui.Modal):
    """What becomes of a picture or clip of somebody's message; `moves`: it is a clip, so there is a choice."""

    def __init__(self, subject: str, *, moves: bool) -> None:
        super().__init__(title=forms.REMIX_MENU(), custom_id=f"form:remix:{subject}", timeout=FORM_TIMEOUT_S)
        prompt: ui.TextInput[Any] = ui.TextInput(custom_id="prompt", style=discord.TextStyle.paragraph, max_length=2000)
        stack: ui.TextInput[Any] = ui.TextInput(custom_id="loras", required=False, max_length=100, placeholder=forms.REMIX_LORAS_EXAMPLE)
        self.add_item(ui.Label(text=forms.REMIX_PROMPT_LABEL(), component=prompt))
        self.add_item(ui.Label(text=forms.REMIX_LORAS_LABEL(), component=stack))
        if moves:
            options = [
                discord.SelectOption(label=label, value=value, default=not n) for n, (value, label) in enumerate(forms.uses().items())
            ]
            use: ui.Select[Any] = ui.Select(custom_id="use", options=options, min_values=1, max_values=1)
            self.add_item(ui.Label(text=forms.REMIX_USE_LABEL(), component=use))


def form_values(data: Mapping[str, Any]) -> dict[str, str]:
    """What was filled in, by the custom id of each field: text as typed, of a choice the chosen value."""
    fields = (row.get("component", {}) for row in data.get("components", ()))
    return {str(field.get("custom_id")): str(field.get("value") or next(iter(field.get("values") or ()), "")) for field in fields}
