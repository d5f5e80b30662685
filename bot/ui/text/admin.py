"""Sentences of `/admin`, `/settings`, `/quota` and of notices."""

from __future__ import annotations

from collections.abc import Mapping

from bot.services.notices import NoticeKind
from bot.services.quotas import Scope
from bot.services.servers import ContentLevel, Limits, QuotaWindow
from bot.storage.jobs import JobRecord
from bot.storage.notices import Fact
from bot.ui import format as fmt
from engine.contracts.jobs import TrainLora

# ---- quota ----------------------------------------------------------------------------------------------------------------------

PLAN_TITLES: Mapping[str, str] = {"free": "Free", "premium": "Premium", "enterprise": "Enterprise"}
WINDOW_WORDS: Mapping[QuotaWindow, str] = {
    QuotaWindow.DAY: "today",
    QuotaWindow.WEEK: "this week",
    QuotaWindow.MONTH: "this month",
}
_SCOPE_TITLES: Mapping[Scope, str] = {
    Scope.PERSON: "Your units {when}",
    Scope.MEMBER: "Yours in this server {when}",
    Scope.SERVER: "Everybody's in this server {when}",
}


def plan_line(plan: str, *, by_server: bool, ends_at: float | None) -> str:
    """`Premium plan, from this server · ends in 12 days`."""
    said = f"### {PLAN_TITLES[plan]} plan" + (", from this server" if by_server else "")
    return said + (f" · ends {fmt.relative(ends_at)}" if ends_at is not None else "")


def includes(daily_units: int, max_seconds: float, storage: int, *, training: bool) -> str:
    """What a plan grants."""
    parts = [f"{daily_units:,} units a day", f"clips up to {max_seconds:g} s"]
    parts.append(f"training, {fmt.megabytes(storage)} of LoRAs" if training else "no training")
    return f"-# {' · '.join(parts)}"


def plan_over(plan: str, ended_at: float) -> str:
    """A better plan that has ended."""
    return f"-# Your {PLAN_TITLES[plan]} plan ended {fmt.relative(ended_at)}."


def meter(scope: Scope, window: QuotaWindow, left: int, limit: int) -> str:
    """One limit as a title with a bar."""
    title = _SCOPE_TITLES[scope].format(when=WINDOW_WORDS[window])
    return f"**{title}**\n{fmt.bar(limit - left, limit, 16)} **{left:,}** of {limit:,} left"


def meter_detail(used: int, reserved: int, resets_at: float) -> str:
    """Where they went and when they return."""
    return f"-# {used:,} spent · {reserved:,} held by open jobs · all of them return {fmt.relative(resets_at)}"


def storage_line(used: int, limit: int) -> str:
    """LoRA files."""
    return f"**LoRA files** {fmt.megabytes(used)} of {fmt.megabytes(limit)}"


def frozen_line(frozen: int, delete_at: float) -> str:
    """What is kept for now."""
    return f"⚠️ {fmt.count(frozen, 'LoRA')} of yours frozen because the plan has ended; the first will be deleted {fmt.relative(delete_at)}."


def prices(clip: int, training: int) -> str:
    """What things cost."""
    return f"-# A clip costs {fmt.count(clip, 'unit')}, a character training {fmt.count(training, 'unit')}; longer is more, failed is free."


def chart_alt(days: int, spent: int) -> str:
    """Alt text of the picture."""
    return f"Bars of the last {days} days: {spent:,} units spent"


# ---- notices --------------------------------------------------------------------------------------------------------------------

_ACTIONS: Mapping[str, str] = {
    "block": "blocked <@{user}>",
    "unblock": "let <@{user}> use me again",
    "refund": "gave <@{user}> {units} units back",
    "cancel": "cancelled a job of <@{user}>",
    "takedown": "took down a result of <@{user}>",
    "grant": "changed a plan to {plan}",
    "settings": "changed the settings: {what}",
}


def notice(kind: str, facts: Mapping[str, Fact]) -> list[str]:
    """Head and lines of a notice."""
    count = fmt.count(int(facts.get("loras") or 0), "LoRA")
    names = ", ".join(fmt.code(name) for name in str(facts.get("names") or "").split(", ") if name)
    at = float(facts.get("delete_at") or facts.get("ends_at") or 0)
    match kind:
        case NoticeKind.PLAN_BEGAN:
            end = f"It ends {fmt.relative(at)}; " if facts.get("ends_at") else ""
            plan = PLAN_TITLES.get(str(facts.get("plan")), "Premium")
            return [f"### You have the {plan} plan", f"{end}`/quota` shows what it includes."]
        case NoticeKind.PLAN_ENDED:
            return [
                "### Your plan has ended",
                f"{count} of yours ({names}) cannot be used any more, but nothing is lost yet: they stay frozen and are deleted "
                f"{fmt.relative(at)}.",
                "Renew the plan to use them again at once, or download them with `/loras show`.",
            ]
        case NoticeKind.LORAS_THAWED:
            return ["### Welcome back", f"{count} of yours ({names}) can be used again."]
        case NoticeKind.LORAS_EXPIRING:
            return [
                f"### {count} of yours will be deleted {fmt.relative(at)}",
                f"That is {names}. Renew the plan to keep them, or download them with `/loras show`.",
            ]
        case NoticeKind.LORAS_DELETED:
            return ["### Frozen LoRAs were deleted", f"{count} of yours ({names}), frozen since your plan ended, are gone for good."]
    action = _ACTIONS.get(str(facts.get("action")), "did something")
    known = {key: value if isinstance(value, int | float) else fmt.safe(str(value), 120) for key, value in facts.items()}
    said = action.format_map({"user": "?", "units": "?", "plan": "?", "what": "?"} | known)
    whom = f" for <@{facts['user']}>" if facts.get("action") == "grant" and facts.get("user") else ""
    reason = f"-# Reason: {fmt.safe(str(facts['reason']), 200)}" if facts.get("reason") else ""
    job = f"-# Job {fmt.code(str(facts['job']))}" if facts.get("job") else ""
    return [f"<@{facts.get('by')}> {said}{whom}.", reason, job]


# ---- admin ----------------------------------------------------------------------------------------------------------------------

KIND_WORDS: Mapping[str, str] = {"generate_video": "clip", "train_lora": "training"}


def usage_heading(days: int) -> str:
    """Head of the report."""
    return f"### The last {fmt.count(days, 'day')} in this server"


def usage_total(spent: int, people: int) -> str:
    """All of it."""
    return f"**{fmt.count(spent, 'unit')}** spent by **{fmt.count(people, 'person', 'people')}**"


def usage_jobs(kind: str, counts: Mapping[str, int]) -> str:
    """`120 clips: 110 done, 4 failed, 6 cancelled`."""
    words = {"succeeded": "done", "failed": "failed", "cancelled": "cancelled"}
    ended = [f"{counts[status]:,} {word}" for status, word in words.items() if counts.get(status)]
    running = sum(number for status, number in counts.items() if status not in words)
    total = fmt.count(sum(counts.values()), KIND_WORDS.get(kind, kind))
    return f"**{total}** · " + " · ".join([*ended, *([f"{running:,} open"] if running else [])])


def usage_person(place: int, user_id: int, units: int) -> str:
    """One line of the list of people."""
    return f"{place}. <@{user_id}> {fmt.count(units, 'unit')}"


NO_USAGE = "Nobody has made anything here in that time. `/generate` makes the first clip."


def blocked(user_id: int, *, everywhere: bool) -> str:
    """Answer to `/admin block`."""
    where = "anywhere" if everywhere else "in this server"
    return f"<@{user_id}> cannot use me {where} any more. Jobs that run go on; `/admin cancel` stops them."


def unblocked(user_id: int) -> str:
    """Answer to `/admin unblock`."""
    return f"<@{user_id}> can use me again."


def refunded(owner_id: int, units: int) -> str:
    """Answer to `/admin refund`."""
    return f"<@{owner_id}> has {fmt.count(units, 'unit')} back."


def granted(whom: str, plan: str, ends_at: float | None) -> str:
    """Answer to `/admin grant`."""
    end = f"it ends {fmt.relative(ends_at)}." if ends_at is not None else "open-ended."
    return f"{whom} has the **{PLAN_TITLES[plan]}** plan, {end}"


def grant_ended(whom: str) -> str:
    """Answer to a grant that was taken back."""
    return f"The grant of {whom} is over. LoRAs that no other plan covers are frozen, not deleted."


def job_choice(record: JobRecord) -> str:
    """A job in an autocomplete list."""
    job = record.job
    what = f"training {job.name}" if isinstance(job, TrainLora) else f"“{fmt.plain(job.prompt, 45)}”"
    price = record.units if record.units_charged is None else record.units_charged
    return f"{fmt.plain(record.owner_name, 20)}: {what} · {fmt.count(price, 'unit')}"


THIS_SERVER = "This server"


def person(user_id: int) -> str:
    """A mention; nobody is pinged by it."""
    return f"<@{user_id}>"


# ---- settings -------------------------------------------------------------------------------------------------------------------

SETTINGS_HEADING = "### Settings of this server"
CONTENT_WORDS: Mapping[ContentLevel, str] = {
    ContentLevel.STRICT: "nothing for adults, in any channel",
    ContentLevel.CHANNEL: "for adults only in age-restricted channels",
}
LANGUAGES: Mapping[str, str] = {"en": "English", "de": "Deutsch"}
LISTED_PLACES = 12


def channels_line(channels: list[int]) -> str:
    """Where commands work."""
    return f"**Channels** {_some([f'<#{channel}>' for channel in channels]) or 'everywhere'}"


def roles_line(roles: list[int]) -> str:
    """Who may use them."""
    return f"**Roles** {_some([f'<@&{role}>' for role in roles]) or 'everybody'}"


def _some(places: list[str]) -> str:
    more = f" and {len(places) - LISTED_PLACES} more" if len(places) > LISTED_PLACES else ""
    return ", ".join(places[:LISTED_PLACES]) + more


def limits_line(who: str, limits: Limits, window: QuotaWindow) -> str:
    """One person's limits."""
    parts = []
    if limits.user_units is not None:
        parts.append(f"{limits.user_units:,} units a {window}")
    if limits.running is not None:
        parts.append(f"{fmt.count(limits.running, 'job')} at once")
    if limits.waiting is not None:
        parts.append(f"{limits.waiting:,} waiting")
    return f"{who} {' · '.join(parts) or 'what their plan grants'}"


EVERYBODY = "**Each person**"


def role(role_id: int) -> str:
    """A role's line."""
    return f"- <@&{role_id}>"


def server_units_line(units: int | None, window: QuotaWindow) -> str:
    """Everybody together."""
    return f"**Everybody together** {f'{units:,} units a {window}' if units is not None else 'no limit'}"


def defaults_line(loras: str, quality: str) -> str:
    """What a clip is made with when nothing is said."""
    return f"**Defaults** {fmt.code(loras) if loras else 'no LoRAs'} · quality {quality}"


def content_line(level: ContentLevel) -> str:
    """What pictures are accepted."""
    return f"**Content** {CONTENT_WORDS[level]}"


def language_line(language: str | None) -> str:
    """In which language answers are."""
    return f"**Language** {LANGUAGES.get(language or '', 'each reader’s own')}"


def log_line(channel_id: int | None) -> str:
    """Where admins' actions are written down."""
    return f"**Log** {f'<#{channel_id}>' if channel_id is not None else 'nowhere'}"


CHANGED_CHANNELS = "channels"
CHANGED_ROLES = "roles"
CHANGED_LIMITS = "limits"
CHANGED_DEFAULTS = "defaults"
CHANGED_CONTENT = "content level"
CHANGED_LANGUAGE = "language"
CHANGED_LOG = "log channel"


def changed(what: str) -> str:
    """First line after a change."""
    return f"✅ The {what} {'are' if what.endswith('s') else 'is'} changed."


SETTINGS_HINT = "-# `/settings channels`, `roles`, `limits`, `server`, `defaults`, `content`, `language` and `log` change them."
