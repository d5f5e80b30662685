"""Buttons that outlive the process: every one is a DynamicItem that finds its subject in its `custom_id` and its owner in the database.

Traps of discord.py 2.7.1 this module answers (reference/discord.md A3): cards hold dynamic items and links only and are never stored by the
library (`Card.sealed`), so no timeout and no edit can unregister a button class; and every exception of a press ends in the error handler.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, cast

import discord
from discord import ui

ULID = r"[0-9A-HJKMNP-TV-Z]{26}"


@dataclass(frozen=True)
class Press:
    """One press of one of our buttons."""

    target: str
    verb: str
    subject: str

    @property
    def custom_id(self) -> str:
        """`job:again:01J…`, at most 100 characters."""
        return f"{self.target}:{self.verb}:{self.subject}"


class ButtonHost(Protocol):
    """What a button asks of the client it belongs to."""

    async def authorise(self, interaction: discord.Interaction[Any], press: Press) -> None:
        """Raise Refusal unless this person may press this button."""

    async def pressed(self, interaction: discord.Interaction[Any], press: Press) -> None:
        """Do what the button says; the interaction is acknowledged already unless the verb opens a form."""

    async def failed(self, interaction: discord.Interaction[Any], error: Exception) -> None:
        """Tell the person; never raises."""


class OwnedButton(ui.DynamicItem[ui.Button[Any]], template=r"(?!)"):
    """Base of all buttons: acknowledges first, then checks the owner, then acts, and lets no exception escape."""

    target: ClassVar[str]
    updates: ClassVar[frozenset[str]] = frozenset()  # verbs that change the message they sit on
    opens_form: ClassVar[frozenset[str]] = frozenset()  # verbs whose first answer is a modal

    def __init__(
        self,
        verb: str,
        subject: str,
        label: str = "…",
        style: discord.ButtonStyle = discord.ButtonStyle.secondary,
        emoji: str | None = None,
        disabled: bool = False,
    ) -> None:
        self.press = Press(self.target, verb, subject)
        super().__init__(ui.Button(label=label, style=style, emoji=emoji, custom_id=self.press.custom_id, disabled=disabled))

    @classmethod
    async def from_custom_id(cls, _interaction: discord.Interaction[Any], _item: ui.Item[Any], match: re.Match[str], /) -> Self:
        """Rebuild the button from its id alone; must not raise, the library would swallow it."""
        return cls(match["verb"], match["subject"])

    async def interaction_check(self, _interaction: discord.Interaction[Any], /) -> bool:
        """Always true: checks live in `callback`, where a failure can answer."""
        return True

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Acknowledge, authorise, act."""
        host = cast("ButtonHost", interaction.client)
        try:
            if self.press.verb in self.updates:
                await interaction.response.defer()
            elif self.press.verb not in self.opens_form:
                await interaction.response.defer(ephemeral=True, thinking=True)
            await host.authorise(interaction, self.press)
            await host.pressed(interaction, self.press)
        except Exception as error:  # noqa: BLE001 - the library would log it and leave the person without an answer
            await host.failed(interaction, error)


class JobButton(OwnedButton, template=rf"job:(?P<verb>again|vary|cancel|delete):(?P<subject>{ULID})"):
    """Acts on a job or on the message that shows it."""

    target = "job"


class DatasetButton(OwnedButton, template=rf"set:(?P<verb>add|start|discard):(?P<subject>{ULID})"):
    """Acts on an open data set."""

    target = "set"
    updates = frozenset({"start", "discard"})
    opens_form = frozenset({"add"})


BUTTONS: tuple[type[OwnedButton], ...] = (JobButton, DatasetButton)
"""Registered once, in `setup_hook`."""


def again_button(job_id: str) -> JobButton:
    """Same request, new seed."""
    return JobButton("again", job_id, "Again", discord.ButtonStyle.primary, "🔁")


def vary_button(job_id: str) -> JobButton:
    """Same request, the next free seed after this one."""
    return JobButton("vary", job_id, "Vary", emoji="🎲")


def delete_button(job_id: str) -> JobButton:
    """Take the message out of the channel."""
    return JobButton("delete", job_id, "Delete", emoji="🗑️")


def cancel_button(job_id: str, label: str = "Cancel") -> JobButton:
    """Stop the job."""
    return JobButton("cancel", job_id, label)


def add_button(dataset_id: str) -> DatasetButton:
    """Open the form that takes ten more files."""
    return DatasetButton("add", dataset_id, "Add pictures", emoji="🖼️")


def start_button(dataset_id: str, *, warned: bool) -> DatasetButton:
    """Start the training; under the advised number the label says that the person was warned."""
    style = discord.ButtonStyle.secondary if warned else discord.ButtonStyle.success
    return DatasetButton("start", dataset_id, "Train anyway" if warned else "Start training", style)


def discard_button(dataset_id: str) -> DatasetButton:
    """Forget the data set."""
    return DatasetButton("discard", dataset_id, "Discard", discord.ButtonStyle.danger)


def link_button(url: str) -> ui.Button[Any]:
    """Opens a clip that was too large to attach; needs no handler."""
    return ui.Button(label="Watch", url=url)
