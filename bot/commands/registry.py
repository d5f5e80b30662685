"""All commands, and which function answers which button and form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from discord import app_commands

from bot.commands import admin, casts, generate, guide, jobs, loras, privacy, quota, remix, safety, settings, storyboard, train, verify
from bot.commands.desk import Desk, Interaction

AnyCommand = app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu

Handler = Callable[[Desk, Interaction, str], Awaitable[None]]

BUTTON_HANDLERS: Mapping[tuple[str, str], Handler] = {
    ("job", "again"): generate.again,
    ("job", "vary"): generate.vary,
    ("job", "extend"): generate.extend,
    ("job", "upscale"): generate.upscale,
    ("job", "animate"): generate.animate,
    ("job", "cancel"): jobs.cancel,
    ("job", "delete"): jobs.delete,
    ("job", "share"): jobs.share,
    ("job", "unshare"): jobs.unshare,
    ("set", "add"): train.open_form,
    ("set", "start"): train.start,
    ("set", "discard"): train.discard,
    ("set", "show"): train.back,
    ("set", "captions"): train.captions,
    ("set", "caption"): train.open_captions,
    ("shelf", "page"): loras.turn,
    ("shelf", "back"): loras.turn,
    ("shelf", "next"): loras.turn,
    ("lora", "show"): loras.show,
    ("lora", "edit"): loras.open_edit,
    ("lora", "delete"): loras.delete,
    ("lora", "erase"): loras.erase,
    ("lora", "versions"): loras.versions,
    ("lora", "download"): loras.download,
    ("lora", "renew"): loras.renew,
    ("version", "use"): loras.use_version,
    ("me", "forget"): privacy.forget,
    ("job", "report"): safety.open_report,
    ("terms", "agree"): safety.agree,
    ("report", "uphold"): safety.uphold,
    ("report", "dismiss"): safety.dismiss,
    ("rule", "remove"): safety.remove_rule,
    ("likeness", "grant"): safety.grant,
    ("likeness", "refuse"): safety.refuse,
    ("likeness", "revoke"): safety.revoke,
}

FORM_HANDLERS: Mapping[str, Handler] = {
    "remix": remix.submit,
    "files": train.add_files,
    "captions": train.write_captions,
    "edit": loras.edit,
    "report": safety.report,
}


def build_commands(desk: Desk) -> list[AnyCommand]:
    """Every slash command, bound to `desk`."""
    modules = (guide, train, generate, remix, storyboard, loras, casts, jobs, quota, verify, privacy, settings, admin)
    built = [module.build(desk) for module in modules]
    return [*built, safety.build_report(desk), safety.build_reports(desk), safety.build_rules(desk)]


def actions(commands: Iterable[AnyCommand]) -> set[str]:
    """Everything a person can do, by the names of `bot.services.policy`."""
    found = {f"{target}:{verb}" for target, verb in BUTTON_HANDLERS} | {f"form:{name}" for name in FORM_HANDLERS}
    for command in commands:
        leaves = command.walk_commands() if isinstance(command, app_commands.Group) else [command]
        for leaf in leaves:
            if isinstance(leaf, app_commands.Group):
                continue
            found.add(f"/{leaf.qualified_name}")
            if isinstance(leaf, app_commands.Command):
                found |= {f"/{leaf.qualified_name}:{option.display_name}" for option in leaf.parameters if option.autocomplete}
    return found
