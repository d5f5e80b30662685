"""Sentences of `/admin`, `/settings`, `/quota` and of notices."""

from __future__ import annotations

from collections.abc import Mapping

from bot.services.notices import NoticeKind
from bot.services.quotas import Scope
from bot.services.servers import ContentLevel, Limits, QuotaWindow
from bot.storage.jobs import JobRecord
from bot.storage.notices import Fact
from bot.ui import format as fmt
from bot.ui.language import LANGUAGES, Words, _, counted, later
from bot.ui.text import counts
from bot.ui.text.words import WINDOW_WORDS, quoted
from engine.contracts.jobs import TrainLora

# ---- quota ----------------------------------------------------------------------------------------------------------------------

PLAN_TITLES = Words({"free": "Free", "premium": "Premium", "enterprise": "Enterprise"})
_SCOPE_TITLES = Words(
    {
        Scope.PERSON: "Your units {when}",
        Scope.MEMBER: "Yours in this server {when}",
        Scope.SERVER: "Everybody's in this server {when}",
    }
)


def plan_line(plan: str, *, by_server: bool, ends_at: float | None) -> str:
    """`Premium plan, from this server · ends in 12 days`."""
    title = PLAN_TITLES[plan]
    said = _("### {plan} plan, from this server", plan=title) if by_server else _("### {plan} plan", plan=title)
    return said + (" · " + _("ends {when}", when=fmt.relative(ends_at)) if ends_at is not None else "")


def includes(daily_units: int, max_seconds: float, storage: int, *, training: bool) -> str:
    """What a plan grants."""
    parts = [
        _per(daily_units, QuotaWindow.DAY),
        _("clips up to {max_seconds} s", max_seconds=fmt.number(max_seconds)),
    ]
    parts.append(_("training, {storage} of LoRAs", storage=fmt.megabytes(storage)) if training else _("no training"))
    return f"-# {' · '.join(parts)}"


def plan_over(plan: str, ended_at: float) -> str:
    """A better plan that has ended."""
    return _("-# Your {plan} plan ended {ended_at}.", plan=PLAN_TITLES[plan], ended_at=fmt.relative(ended_at))


def meter(scope: Scope, window: QuotaWindow, left: int, limit: int) -> str:
    """One limit as a title with a bar."""
    title = _SCOPE_TITLES[scope].format(when=WINDOW_WORDS[window])
    rest = _("**{left}** of {limit} left", left=fmt.number(left), limit=fmt.number(limit))
    return f"**{title}**\n{fmt.bar(limit - left, limit, 16)} {rest}"


def meter_detail(used: int, reserved: int, resets_at: float) -> str:
    """Where they went and when they return."""
    return _(
        "-# {used} spent · {reserved} held by open jobs · all of them return {resets_at}",
        used=fmt.number(used),
        reserved=fmt.number(reserved),
        resets_at=fmt.relative(resets_at),
    )


def storage_line(used: int, limit: int) -> str:
    """LoRA files."""
    return _("**LoRA files** {used} of {limit}", used=fmt.megabytes(used), limit=fmt.megabytes(limit))


def frozen_line(frozen: int, delete_at: float) -> str:
    """What is kept for now."""
    return counted(
        "⚠️ {number} LoRA of yours frozen because the plan has ended; the first will be deleted {when}.",
        "⚠️ {number} LoRAs of yours frozen because the plan has ended; the first will be deleted {when}.",
        frozen,
        when=fmt.relative(delete_at),
    )


def prices(clip: int, training: int) -> str:
    """What things cost."""
    return _(
        "-# A clip costs {clip}, a character training {training}; longer is more, failed is free.",
        clip=counts.units(clip),
        training=counts.units(training),
    )


def chart_alt(days: int, spent: int) -> str:
    """Alt text of the picture."""
    return _("Bars of the last {days} days: {spent} units spent", days=days, spent=fmt.number(spent))


SPENT = later("spent")
HELD = later("held by open jobs")


def limit_mark(limit: int) -> str:
    """Label of a line across the chart."""
    return _("limit {limit}", limit=fmt.number(limit))


# ---- notices --------------------------------------------------------------------------------------------------------------------

_ACTIONS = Words(
    {
        "block": "{by} blocked <@{user}>.",
        "unblock": "{by} let <@{user}> use me again.",
        "refund": "{by} gave <@{user}> {units} units back.",
        "cancel": "{by} cancelled a job of <@{user}>.",
        "takedown": "{by} took down a result of <@{user}>.",
        "grant": "{by} changed a plan to {plan}.",
        "grant to": "{by} changed a plan to {plan} for <@{user}>.",
        "settings": "{by} changed the settings: {what}.",
        "other": "{by} did something.",
    }
)


def notice(kind: str, facts: Mapping[str, Fact]) -> list[str]:
    """Head and lines of a notice."""
    loras = int(facts.get("loras") or 0)
    names = ", ".join(fmt.code(name) for name in str(facts.get("names") or "").split(", ") if name)
    at = float(facts.get("delete_at") or facts.get("ends_at") or 0)
    match kind:
        case NoticeKind.PLAN_BEGAN:
            head = _("### You have the {plan} plan", plan=PLAN_TITLES.get(str(facts.get("plan"))) or PLAN_TITLES["premium"])
            if not facts.get("ends_at"):
                return [head, _("`/quota` shows what it includes.")]
            return [head, _("It ends {when}; `/quota` shows what it includes.", when=fmt.relative(at))]
        case NoticeKind.PLAN_ENDED:
            return [
                _("### Your plan has ended"),
                counted(
                    "{number} LoRA of yours ({names}) cannot be used any more, but nothing is lost yet: they stay frozen and are deleted "
                    "{when}.",
                    "{number} LoRAs of yours ({names}) cannot be used any more, but nothing is lost yet: they stay frozen and are deleted "
                    "{when}.",
                    loras,
                    names=names,
                    when=fmt.relative(at),
                ),
                _("Renew the plan to use them again at once, or download them with `/loras show`."),
            ]
        case NoticeKind.LORAS_THAWED:
            return [
                _("### Welcome back"),
                counted(
                    "{number} LoRA of yours ({names}) can be used again.",
                    "{number} LoRAs of yours ({names}) can be used again.",
                    loras,
                    names=names,
                ),
            ]
        case NoticeKind.LORAS_EXPIRING:
            return [
                counted(
                    "### {number} LoRA of yours will be deleted {when}",
                    "### {number} LoRAs of yours will be deleted {when}",
                    loras,
                    when=fmt.relative(at),
                ),
                _("That is {names}. Renew the plan to keep them, or download them with `/loras show`.", names=names),
            ]
        case NoticeKind.LORAS_DELETED:
            return [
                _("### Frozen LoRAs were deleted"),
                counted(
                    "{number} LoRA of yours ({names}), frozen since your plan ended, are gone for good.",
                    "{number} LoRAs of yours ({names}), frozen since your plan ended, are gone for good.",
                    loras,
                    names=names,
                ),
            ]
    action = str(facts.get("action"))
    known: dict[str, object] = {"user": "?", "units": "?", "plan": "?", "what": "?"}
    known |= {key: value if isinstance(value, int | float) else fmt.safe(str(value), 120) for key, value in facts.items()}
    known["what"] = _CHANGED.get(str(facts.get("what")), str(known["what"]))
    template = _ACTIONS["grant to"] if action == "grant" and facts.get("user") else _ACTIONS.get(action, _ACTIONS["other"])
    said = template.format_map(known | {"by": f"<@{facts.get('by')}>"})
    reason = _("-# Reason: {reason}", reason=fmt.safe(str(facts["reason"]), 200)) if facts.get("reason") else ""
    job = _("-# Job {job}", job=fmt.code(str(facts["job"]))) if facts.get("job") else ""
    return [said, reason, job]


# ---- admin ----------------------------------------------------------------------------------------------------------------------

_KIND_COUNTS = {"generate_video": counts.clips, "train_lora": counts.trainings}


def usage_heading(days: int) -> str:
    """Head of the report."""
    return counted("### The last {number} day in this server", "### The last {number} days in this server", days)


def usage_total(spent: int, people: int) -> str:
    """All of it."""
    return _("**{units}** spent by **{people}**", units=counts.units(spent), people=counts.people(people))


def usage_jobs(kind: str, by_status: Mapping[str, int]) -> str:
    """`120 clips: 110 done, 4 failed, 6 cancelled`."""
    ended = [template.format(number=fmt.number(by_status[status])) for status, template in _ENDED.items() if by_status.get(status)]
    running = sum(number for status, number in by_status.items() if status not in _ENDED)
    total = _KIND_COUNTS.get(kind, counts.jobs)(sum(by_status.values()))
    return f"**{total}** · " + " · ".join([*ended, *([_("{number} open", number=fmt.number(running))] if running else [])])


_ENDED = Words({"succeeded": "{number} done", "failed": "{number} failed", "cancelled": "{number} cancelled"})


def usage_person(place: int, user_id: int, units: int) -> str:
    """One line of the list of people."""
    return f"{place}. <@{user_id}> {counts.units(units)}"


NO_USAGE = later("Nobody has made anything here in that time. `/generate` makes the first clip.")


def blocked(user_id: int, *, everywhere: bool) -> str:
    """Answer to `/admin block`."""
    if everywhere:
        return _("<@{user_id}> cannot use me anywhere any more. Jobs that run go on; `/admin cancel` stops them.", user_id=user_id)
    return _("<@{user_id}> cannot use me in this server any more. Jobs that run go on; `/admin cancel` stops them.", user_id=user_id)


def unblocked(user_id: int) -> str:
    """Answer to `/admin unblock`."""
    return _("<@{user_id}> can use me again.", user_id=user_id)


def refunded(owner_id: int, units: int) -> str:
    """Answer to `/admin refund`."""
    return _("<@{owner_id}> has {units} back.", owner_id=owner_id, units=counts.units(units))


def granted(whom: str, plan: str, ends_at: float | None) -> str:
    """Answer to `/admin grant`."""
    end = _("it ends {ends_at}.", ends_at=fmt.relative(ends_at)) if ends_at is not None else _("open-ended.")
    return _("{whom} has the **{plan}** plan, {end}", whom=whom, plan=PLAN_TITLES[plan], end=end)


def grant_ended(whom: str) -> str:
    """Answer to a grant that was taken back."""
    return _("The grant of {whom} is over. LoRAs that no other plan covers are frozen, not deleted.", whom=whom)


def job_choice(record: JobRecord) -> str:
    """A job in an autocomplete list."""
    job = record.job
    what = _("training {name}", name=job.name) if isinstance(job, TrainLora) else quoted(fmt.plain(job.prompt, 45))
    price = record.units if record.units_charged is None else record.units_charged
    return f"{fmt.plain(record.owner_name, 20)}: {what} · {counts.units(price)}"


THIS_SERVER = later("This server")


def person(user_id: int) -> str:
    """A mention; nobody is pinged by it."""
    return f"<@{user_id}>"


# ---- settings -------------------------------------------------------------------------------------------------------------------

SETTINGS_HEADING = later("### Settings of this server")
CONTENT_WORDS = Words(
    {
        ContentLevel.STRICT: "nothing for adults, in any channel",
        ContentLevel.CHANNEL: "for adults only in age-restricted channels",
    }
)
LISTED_PLACES = 12


def channels_line(channels: list[int]) -> str:
    """Where commands work."""
    return _("**Channels** {places}", places=_some([f"<#{channel}>" for channel in channels]) or _("everywhere"))


def roles_line(roles: list[int]) -> str:
    """Who may use them."""
    return _("**Roles** {places}", places=_some([f"<@&{role}>" for role in roles]) or _("everybody"))


def _some(places: list[str]) -> str:
    more = _(" and {number} more", number=len(places) - LISTED_PLACES) if len(places) > LISTED_PLACES else ""
    return ", ".join(places[:LISTED_PLACES]) + more


def limits_line(who: str, limits: Limits, window: QuotaWindow) -> str:
    """One person's limits."""
    parts = []
    if limits.user_units is not None:
        parts.append(_per(limits.user_units, window))
    if limits.running is not None:
        parts.append(_("{jobs} at once", jobs=counts.jobs(limits.running)))
    if limits.waiting is not None:
        parts.append(_("{waiting} waiting", waiting=fmt.number(limits.waiting)))
    return f"{who} {' · '.join(parts) or _('what their plan grants')}"


EVERYBODY = later("**Each person**")


def role(role_id: int) -> str:
    """A role's line."""
    return f"- <@&{role_id}>"


def _per(units: int, window: QuotaWindow) -> str:
    return _UNITS_PER[window].format(units=fmt.number(units))


_UNITS_PER = Words(
    {QuotaWindow.DAY: "{units} units a day", QuotaWindow.WEEK: "{units} units a week", QuotaWindow.MONTH: "{units} units a month"}
)


def server_units_line(units: int | None, window: QuotaWindow) -> str:
    """Everybody together."""
    return _(
        "**Everybody together** {limit}",
        limit=_per(units, window) if units is not None else _("no limit"),
    )


def defaults_line(loras: str, quality: str) -> str:
    """What a clip is made with when nothing is said."""
    return _("**Defaults** {loras} · quality {quality}", loras=fmt.code(loras) if loras else _("no LoRAs"), quality=quality)


def content_line(level: ContentLevel) -> str:
    """What pictures are accepted."""
    return _("**Content** {level}", level=CONTENT_WORDS[level])


def language_line(language: str | None) -> str:
    """In which language answers are."""
    return _("**Language** {language}", language=LANGUAGES.get(language or "") or _("each reader’s own"))


def log_line(channel_id: int | None) -> str:
    """Where admins' actions are written down."""
    return _("**Log** {place}", place=f"<#{channel_id}>" if channel_id is not None else _("nowhere"))


CHANGED_CHANNELS = "channels"
CHANGED_ROLES = "roles"
CHANGED_LIMITS = "limits"
CHANGED_DEFAULTS = "defaults"
CHANGED_CONTENT = "content level"
CHANGED_LANGUAGE = "language"
CHANGED_LOG = "log channel"


def changed(what: str) -> str:
    """First line after a change."""
    return _DONE[what]


_DONE = Words(
    {
        CHANGED_CHANNELS: "✅ The channels are changed.",
        CHANGED_ROLES: "✅ The roles are changed.",
        CHANGED_LIMITS: "✅ The limits are changed.",
        CHANGED_DEFAULTS: "✅ The defaults are changed.",
        CHANGED_CONTENT: "✅ The content level is changed.",
        CHANGED_LANGUAGE: "✅ The language is changed.",
        CHANGED_LOG: "✅ The log channel is changed.",
    }
)
_CHANGED = Words(
    {
        CHANGED_CHANNELS: "channels",
        CHANGED_ROLES: "roles",
        CHANGED_LIMITS: "limits",
        CHANGED_DEFAULTS: "defaults",
        CHANGED_CONTENT: "content level",
        CHANGED_LANGUAGE: "language",
        CHANGED_LOG: "log channel",
    }
)


SETTINGS_HINT = later("-# `/settings channels`, `roles`, `limits`, `server`, `defaults`, `content`, `language` and `log` change them.")
