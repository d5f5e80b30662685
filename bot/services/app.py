"""All services as one value; `bot/__main__.py` builds it and hands it to the client and the background tasks."""

from __future__ import annotations

from dataclasses import dataclass

from bot.clock import Clock
from bot.config import BotSettings
from bot.services.administration import Administration
from bot.services.audit import Audit
from bot.services.captioning import Captioning
from bot.services.cards import Cards
from bot.services.casts import Casts
from bot.services.clips import Clips
from bot.services.datasets import Datasets
from bot.services.files import Files
from bot.services.freezing import Freezing
from bot.services.garbage import Garbage
from bot.services.gate import Gate
from bot.services.imports import Imports
from bot.services.jobs import Jobs
from bot.services.library import Library
from bot.services.likenesses import Likenesses
from bot.services.loras import Loras
from bot.services.moderation import Moderation
from bot.services.notices import Notices
from bot.services.origins import Origins
from bot.services.plans import Plans
from bot.services.posts import Posts
from bot.services.privacy import Privacy
from bot.services.prompt_rules import PromptRules
from bot.services.quotas import Quotas
from bot.services.screening import Screening
from bot.services.servers import Servers
from bot.services.shares import Shares
from bot.services.takedowns import Takedowns
from bot.services.terms import Terms


@dataclass(frozen=True)
class Services:
    """What commands, views, the outbox and the status cards call.

    The composition root uses these constructors:
    `bot.client.CallsheetClient(settings, services)` (an `async with` discord client with `start(token)`),
    `bot.outbox.Outbox(client, services, settings).run()` and `bot.status_cards.StatusCards(client, services, settings).run()`,
    coroutines that end only by cancellation.
    """

    settings: BotSettings
    clock: Clock
    datasets: Datasets
    captioning: Captioning
    jobs: Jobs
    clips: Clips
    origins: Origins
    loras: Loras
    quotas: Quotas
    plans: Plans
    servers: Servers
    notices: Notices
    freezing: Freezing
    administration: Administration
    gate: Gate
    posts: Posts
    cards: Cards
    files: Files
    garbage: Garbage
    library: Library
    casts: Casts
    imports: Imports
    privacy: Privacy
    shares: Shares
    takedowns: Takedowns
    screening: Screening
    audit: Audit
    rules: PromptRules
    terms: Terms
    likenesses: Likenesses
    moderation: Moderation
