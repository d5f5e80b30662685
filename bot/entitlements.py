"""Discord's Premium Apps as a source of plans: entitlements of people and servers become holdings (reference: Discord, "Entitlement").

Three ways lead here: gateway events as they happen, the list at every start for what happened meanwhile, and the entitlements that come
with every interaction, which are the freshest truth about the person and the server it is from.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import discord

from bot.services.app import Services
from bot.services.plans import Holding, Plan, PlanSource

_log = logging.getLogger(__name__)


def holding_of(entitlement: discord.Entitlement, skus: Mapping[int, str]) -> Holding | None:
    """What an entitlement grants; None for something else that the application sells, or that was refunded."""
    plan = skus.get(entitlement.sku_id)
    if plan is None or entitlement.deleted or (entitlement.user_id is None and entitlement.guild_id is None):
        return None
    starts = entitlement.starts_at or discord.utils.snowflake_time(entitlement.id)  # test entitlements have no dates
    return Holding(
        source=PlanSource.DISCORD,
        reference=str(entitlement.id),
        plan=Plan(plan),
        # the buyer of a server's subscription is named, too
        user_id=None if entitlement.guild_id is not None else entitlement.user_id,
        guild_id=entitlement.guild_id,
        starts_at=starts.timestamp(),
        ends_at=entitlement.ends_at.timestamp() if entitlement.ends_at is not None else None,
    )


class EntitlementDesk:
    """Tells the plans what Discord says; does nothing where nothing is sold."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._skus = services.settings.skus

    async def changed(self, entitlement: discord.Entitlement) -> None:
        """Bought, renewed, or given an end."""
        holding = holding_of(entitlement, self._skus)
        if holding is not None and await self._services.plans.hold(holding):
            _log.info("plan %s of entitlement %s", holding.plan, holding.reference)

    async def refunded(self, entitlement: discord.Entitlement) -> None:
        """Taken back: it ends now."""
        if entitlement.sku_id in self._skus and await self._services.plans.ended(PlanSource.DISCORD, str(entitlement.id)):
            _log.info("entitlement %s was taken back", entitlement.id)

    async def listed(self, client: discord.Client) -> None:
        """Everything that is held now, at a start."""
        if not self._skus:
            return
        skus = [discord.Object(sku) for sku in self._skus]
        everything = [entitlement async for entitlement in client.entitlements(skus=skus, limit=None, exclude_ended=True)]
        await self._services.plans.reconciled(PlanSource.DISCORD, self._holdings(everything))

    async def seen(self, interaction: discord.Interaction[discord.Client]) -> None:
        """What comes with an interaction: all that this person and this server hold."""
        if not self._skus:
            return
        holdings = self._holdings(interaction.entitlements)
        await self._services.plans.reported(PlanSource.DISCORD, holdings, [interaction.user.id], interaction.guild_id)

    def _holdings(self, entitlements: Iterable[discord.Entitlement]) -> list[Holding]:
        found = (holding_of(entitlement, self._skus) for entitlement in entitlements)
        return [holding for holding in found if holding is not None]
