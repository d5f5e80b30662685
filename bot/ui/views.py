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

from bot.ui.language import _

ULID = r"[0-9A-HJKMNP-TV-Z]{26}"
SHELF = r"[0-9]{1,5}~[amsp]~[csmea]~[0-9]{0,20}~[A-Za-z0-9_-]{0,48}"
"""Page, scope, kind, owner and searched text (base64): the whole state of a page, so that it outlives a restart."""


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


class JobButton(
    OwnedButton, template=rf"job:(?P<verb>again|vary|extend|upscale|animate|cancel|delete|share|unshare|report):(?P<subject>{ULID})"
):
    """Acts on a job or on the message that shows it."""

    target = "job"
    opens_form = frozenset({"report"})


class DatasetButton(OwnedButton, template=rf"set:(?P<verb>add|start|discard|show|captions|caption):(?P<subject>{ULID}(?:\.[0-9]{{1,3}})?)"):
    """Acts on an open data set, or on a page of its captions: `<set>.<page>`."""

    target = "set"
    updates = frozenset({"start", "discard", "show", "captions"})
    opens_form = frozenset({"add", "caption"})


class LoraButton(OwnedButton, template=rf"lora:(?P<verb>show|edit|delete|erase|versions|download|renew):(?P<subject>{ULID})"):
    """Acts on a LoRA of the library."""

    target = "lora"
    updates = frozenset({"erase"})
    opens_form = frozenset({"edit"})


class VersionButton(OwnedButton, template=rf"version:(?P<verb>use):(?P<subject>{ULID}\.[0-9]{{1,6}})"):
    """Acts on one version of a LoRA: `<LoRA>.<number>`."""

    target = "version"
    updates = frozenset({"use"})


class ShelfButton(OwnedButton, template=rf"shelf:(?P<verb>page|back|next):(?P<subject>{SHELF})"):
    """Turns to a page of the library; the subject is what `bot.ui.shelf_ids` makes of page and filters."""

    target = "shelf"
    updates = frozenset({"page", "back", "next"})


class PersonButton(OwnedButton, template=r"me:(?P<verb>forget):(?P<subject>now)"):
    """Acts on whoever presses it."""

    target = "me"
    updates = frozenset({"forget"})


class TermsButton(OwnedButton, template=r"terms:(?P<verb>agree):(?P<subject>now)"):
    """Agrees to the terms, for whoever presses it."""

    target = "terms"
    updates = frozenset({"agree"})


class ReportButton(OwnedButton, template=rf"report:(?P<verb>uphold|dismiss):(?P<subject>{ULID})"):
    """Decides about a report."""

    target = "report"
    updates = frozenset({"uphold", "dismiss"})


class RuleButton(OwnedButton, template=rf"rule:(?P<verb>remove):(?P<subject>{ULID})"):
    """Takes a prompt rule back."""

    target = "rule"
    updates = frozenset({"remove"})


class LikenessButton(OwnedButton, template=rf"likeness:(?P<verb>grant|refuse|revoke):(?P<subject>{ULID})"):
    """Answers whether a training may show somebody; the subject is its data set."""

    target = "likeness"
    updates = frozenset({"revoke"})


BUTTONS: tuple[type[OwnedButton], ...] = (
    JobButton,
    DatasetButton,
    LoraButton,
    VersionButton,
    ShelfButton,
    PersonButton,
    TermsButton,
    ReportButton,
    RuleButton,
    LikenessButton,
)
"""Registered once, in `setup_hook`."""


def again_button(job_id: str) -> JobButton:
    """Same request, new seed."""
    return JobButton("again", job_id, _("Again"), discord.ButtonStyle.primary, "🔁")


def vary_button(job_id: str) -> JobButton:
    """A relative of this clip."""
    return JobButton("vary", job_id, _("Vary"), emoji="🎲")


def extend_button(job_id: str) -> JobButton:
    """Go on where the clip ends."""
    return JobButton("extend", job_id, _("Extend"), emoji="⏩")


def upscale_button(job_id: str) -> JobButton:
    """The clip at twice the size."""
    return JobButton("upscale", job_id, _("Upscale"), emoji="🔍")


def animate_button(job_id: str) -> JobButton:
    """A clip that begins with the still of a training."""
    return JobButton("animate", job_id, _("Animate"), discord.ButtonStyle.primary, "🎬")


def delete_button(job_id: str) -> JobButton:
    """Take the message out of the channel."""
    return JobButton("delete", job_id, _("Delete"), emoji="🗑️")


def share_button(job_id: str) -> JobButton:
    """Ask for the address of a page on the web."""
    return JobButton("share", job_id, _("Share"), emoji="🔗")


def unshare_button(job_id: str) -> JobButton:
    """Close that page."""
    return JobButton("unshare", job_id, _("Stop sharing"))


def cancel_button(job_id: str) -> JobButton:
    """Stop the job."""
    return JobButton("cancel", job_id, _("Cancel"))


def add_button(dataset_id: str) -> DatasetButton:
    """Open the form that takes ten more files."""
    return DatasetButton("add", dataset_id, _("Add pictures"), emoji="🖼️")


def start_button(dataset_id: str, *, warned: bool) -> DatasetButton:
    """Start the training; under the advised number the label says that the person was warned."""
    style = discord.ButtonStyle.secondary if warned else discord.ButtonStyle.success
    return DatasetButton("start", dataset_id, _("Train anyway") if warned else _("Start training"), style)


def captions_button(dataset_id: str) -> DatasetButton:
    """Show the captions, from the first."""
    return DatasetButton("captions", f"{dataset_id}.0", _("Captions"), emoji="📝")


def captions_page_button(dataset_id: str, page: int, label: str) -> DatasetButton:
    """Turn to a page of captions."""
    return DatasetButton("captions", f"{dataset_id}.{page}", label)


def edit_captions_button(dataset_id: str, page: int) -> DatasetButton:
    """Open the form with the captions of a page."""
    return DatasetButton("caption", f"{dataset_id}.{page}", _("Edit these"), discord.ButtonStyle.primary)


def back_button(dataset_id: str) -> DatasetButton:
    """Back to the card of the set."""
    return DatasetButton("show", dataset_id, _("Back"))


def discard_button(dataset_id: str) -> DatasetButton:
    """Forget the data set."""
    return DatasetButton("discard", dataset_id, _("Discard"), discord.ButtonStyle.danger)


def lora_button(lora_id: str, name: str) -> LoraButton:
    """Open a LoRA's card."""
    return LoraButton("show", lora_id, name)


def edit_button(lora_id: str) -> LoraButton:
    """Open the form with name, visibility and examples."""
    return LoraButton("edit", lora_id, _("Edit"), emoji="✏️")


def download_button(lora_id: str) -> LoraButton:
    """Ask for a link to the file."""
    return LoraButton("download", lora_id, _("Download"), emoji="⬇️")


def versions_button(lora_id: str, label: str | None = None) -> LoraButton:
    """List the versions, the steps of one training among them."""
    return LoraButton("versions", lora_id, label or _("Versions"), emoji="🕘")


def renew_button(lora_id: str) -> LoraButton:
    """Open a data set for a new version."""
    return LoraButton("renew", lora_id, _("New version"), emoji="➕")


def lora_delete_button(lora_id: str) -> LoraButton:
    """Ask whether to delete it."""
    return LoraButton("delete", lora_id, _("Delete"), discord.ButtonStyle.danger, "🗑️")


def erase_button(lora_id: str, name: str) -> LoraButton:
    """Delete it."""
    return LoraButton("erase", lora_id, _("Delete {name} for good", name=name), discord.ButtonStyle.danger)


def use_version_button(lora_id: str, version: int) -> VersionButton:
    """Use this version from now on."""
    return VersionButton("use", f"{lora_id}.{version}", _("Use version {version}", version=version))


def forget_button() -> PersonButton:
    """Forget whoever presses it."""
    return PersonButton("forget", "now", _("Forget me"), discord.ButtonStyle.danger)


def report_button(job_id: str) -> JobButton:
    """Open the form that says what is wrong with a result."""
    return JobButton("report", job_id, _("Report"), emoji="🚩")


def agree_button() -> TermsButton:
    """Agree to the terms."""
    return TermsButton("agree", "now", _("I agree"), discord.ButtonStyle.success)


def uphold_button(report_id: str) -> ReportButton:
    """Take the reported result down."""
    return ReportButton("uphold", report_id, _("Take it down"), discord.ButtonStyle.danger)


def dismiss_button(report_id: str) -> ReportButton:
    """Leave the reported result where it is."""
    return ReportButton("dismiss", report_id, _("Nothing is wrong"))


def remove_rule_button(rule_id: str) -> RuleButton:
    """Take the rule back."""
    return RuleButton("remove", rule_id, _("Remove"))


def likeness_buttons(dataset_id: str) -> tuple[LikenessButton, LikenessButton]:
    """Agree to a training with one's likeness, or not."""
    return (
        LikenessButton("grant", dataset_id, _("I agree"), discord.ButtonStyle.success),
        LikenessButton("refuse", dataset_id, _("No"), discord.ButtonStyle.danger),
    )


def revoke_button(dataset_id: str) -> LikenessButton:
    """Take one's agreement back."""
    return LikenessButton("revoke", dataset_id, _("Withdraw"), discord.ButtonStyle.danger)


def regrant_button(dataset_id: str) -> LikenessButton:
    """Agree after all."""
    return LikenessButton("grant", dataset_id, _("Allow"))


def page_button(verb: str, subject: str, label: str, *, disabled: bool) -> ShelfButton:
    """Turn the page; `verb` is back or next, so that both ends of a single page have different ids."""
    return ShelfButton(verb, subject, label, disabled=disabled)


def link_button(url: str, label: str | None = None) -> ui.Button[Any]:
    """Opens an address, such as that of a clip too large to attach; needs no handler."""
    return ui.Button(label=label or _("Watch"), url=url)
