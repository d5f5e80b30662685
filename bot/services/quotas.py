"""Daily units per person: reserved with the job row, settled or given back with its end, all in an append-only ledger."""

from __future__ import annotations

from dataclasses import dataclass

from bot.services.values import Actor


@dataclass(frozen=True)
class QuotaStatus:
    """Units of one person in the current window (a UTC day)."""

    limit: int
    used: int  # spent for good
    reserved: int  # held by open jobs
    resets_at: float  # unix seconds

    @property
    def left(self) -> int:
        """What a new job may cost."""
        return max(0, self.limit - self.used - self.reserved)


class Quotas:
    """Rules of the ledger."""

    async def status(self, actor: Actor) -> QuotaStatus:
        """Where `actor` stands now."""
        raise NotImplementedError
