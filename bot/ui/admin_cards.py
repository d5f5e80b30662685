"""Cards of `/quota`, `/admin`, `/settings`, and notices."""

from __future__ import annotations

from collections.abc import Sequence

from bot.services.administration import UsageReport
from bot.services.freezing import Storage
from bot.services.notices import Notice
from bot.services.plans import Feature, Standing
from bot.services.quotas import QuotaStatus
from bot.services.servers import ServerSettings
from bot.ui.cards import FAILED_COLOUR, INFO_COLOUR, Card, premium_button
from bot.ui.text import admin as words
from engine.contracts.bases import BaseProfile, TrainingDefaults
from engine.contracts.geometry import Geometry

CHART = "units.png"


def quota(
    standing: Standing,
    meters: Sequence[QuotaStatus],
    storage: Storage,
    profile: BaseProfile,
    defaults: TrainingDefaults,
    *,
    chart: tuple[int, int] | None = None,
    sku_id: int | None = None,
) -> Card:
    """Plan, limits, storage and prices. `chart`: days and units of the attached picture; `sku_id`: what a better plan is bought with."""
    rule = profile.geometry
    width, height = next(iter(rule.aspects.values()))
    clip = profile.generation_units(Geometry(width=width, height=height, num_frames=rule.default_frames, fps=rule.fps))
    terms = standing.terms
    card = Card(INFO_COLOUR).say(
        words.plan_line(standing.plan, by_server=standing.by_server, ends_at=standing.ends_at),
        words.includes(terms.daily_units, terms.max_seconds, terms.storage_bytes, training=terms.has(Feature.TRAINING)),
    )
    if standing.ended is not None and standing.ended_at is not None:
        card.say(words.plan_over(standing.ended, standing.ended_at))
    for status in meters:
        card.say(words.meter(status.scope, status.window, status.left, status.limit))
        card.say(words.meter_detail(status.used, status.reserved, status.resets_at))
    if chart is not None:
        card.show(CHART, words.chart_alt(*chart))
    if storage.limit or storage.used:
        card.say(words.storage_line(storage.used, storage.limit))
    if storage.frozen and storage.delete_at is not None:
        card.say(words.frozen_line(storage.frozen, storage.delete_at))
    card.say(words.prices(clip, profile.training_units(defaults, defaults.steps)))
    return card.buttons(*premium_button(sku_id)).sealed()


def usage(report: UsageReport) -> Card:
    """A server's last days; the chart is attached."""
    card = Card(INFO_COLOUR).say(words.usage_heading(len(report.days)))
    if not report.jobs:
        return card.say(words.NO_USAGE()).sealed()
    card.say(words.usage_total(report.spent, report.people)).show(CHART, words.chart_alt(len(report.days), report.spent))
    kinds = sorted({count.kind for count in report.jobs})
    card.say(*(words.usage_jobs(kind, {count.status: count.jobs for count in report.jobs if count.kind == kind}) for kind in kinds))
    card.say(*(words.usage_person(place, user_id, units) for place, (user_id, units) in enumerate(report.top, 1)))
    return card.sealed()


def settings(current: ServerSettings, done: str = "") -> Card:
    """Everything that is set in a server; `done`: what was just changed."""
    card = Card(INFO_COLOUR).say(words.SETTINGS_HEADING(), done)
    card.say(words.channels_line(sorted(current.channels)), words.roles_line(sorted(current.roles)))
    card.line().say(words.limits_line(words.EVERYBODY(), current.limits, current.window))
    overrides = sorted(current.role_limits.items())[: words.LISTED_PLACES]
    card.say(*(words.limits_line(words.role(role_id), limits, current.window) for role_id, limits in overrides))
    card.say(words.server_units_line(current.server_units, current.window))
    card.line().say(
        words.defaults_line(current.default_loras, current.default_quality),
        words.content_line(current.content_level),
        words.language_line(current.language),
        words.log_line(current.log_channel_id),
    )
    return card.say(words.SETTINGS_HINT()).sealed()


def notice(sent: Notice) -> Card:
    """One notice."""
    head, *rest = words.notice(sent.kind, sent.facts)
    bad = sent.kind in ("plan_ended", "loras_expiring", "loras_deleted")
    return Card(FAILED_COLOUR if bad else INFO_COLOUR).say(head, *rest).sealed()
