"""Builds the services over what was opened already; opens nothing itself."""

from __future__ import annotations

from bot.clock import Clock
from bot.config import BotSettings
from bot.queue import JobQueue
from bot.scorer import Scorer
from bot.services.administration import Administration
from bot.services.app import Services
from bot.services.audit import Audit
from bot.services.captioning import Captioning
from bot.services.cards import Cards
from bot.services.casts import Casts
from bot.services.clips import Clips
from bot.services.datasets import Datasets
from bot.services.estimates import Estimates
from bot.services.files import Files
from bot.services.freezing import Freezing
from bot.services.garbage import Garbage
from bot.services.gate import Gate, StoredFacts
from bot.services.imports import Imports
from bot.services.jobs import Jobs
from bot.services.library import Library
from bot.services.likenesses import Likenesses
from bot.services.line import Line
from bot.services.links import LinkSigner
from bot.services.loras import Loras
from bot.services.moderation import Moderation
from bot.services.notices import Notices
from bot.services.origins import Origins
from bot.services.outcomes import Outcomes
from bot.services.overview import Overview
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
from bot.services.uploads import Uploads
from bot.storage.database import Database
from engine.store import ObjectStore


def build_services(
    settings: BotSettings, database: Database, queue: JobQueue, store: ObjectStore, signer: LinkSigner, clock: Clock
) -> Services:
    """All services of one bot."""
    plans = Plans(settings, database, clock)
    servers = Servers(database)
    quotas = Quotas(database, clock, plans, servers)
    notices = Notices(database, servers, clock)
    freezing = Freezing(settings, database, plans, notices, clock)
    plans.followers.append(freezing.apply)
    estimates = Estimates(database, clock)
    files = Files(store, settings.scratch_dir, signer, settings.media_fit_timeout_s, settings.credentials_folder)
    takedowns = Takedowns(database, signer.secret, clock)
    scorer = Scorer(settings.media_check_timeout_s) if settings.screening else None
    screening = Screening(database, files, takedowns, servers, quotas, scorer, settings.adult_threshold)
    audit = Audit(database, clock, settings.operator_ids)
    rules = PromptRules(database, audit, clock, settings.operator_ids)
    likenesses = Likenesses(database, audit, clock)
    moderation = Moderation(database, store, takedowns, audit, clock, settings.operator_ids)
    terms = Terms(database, clock, settings.terms_required)
    uploads = Uploads(settings, database, store, screening)
    loras = Loras(database, settings.base)
    outcomes = Outcomes(quotas, clock)
    datasets = Datasets(settings, database, uploads, clock, quotas, estimates, freezing, likenesses)
    line = Line(settings, estimates, clock)
    jobs = Jobs(
        settings=settings,
        database=database,
        queue=queue,
        store=store,
        clock=clock,
        quotas=quotas,
        loras=loras,
        datasets=datasets,
        uploads=uploads,
        outcomes=outcomes,
        rules=rules,
        likenesses=likenesses,
        overview=Overview(queue, estimates),
        plans=plans,
        line=line,
    )
    return Services(
        settings=settings,
        clock=clock,
        datasets=datasets,
        captioning=Captioning(settings, database, queue, line),
        jobs=jobs,
        origins=Origins(settings, database),
        clips=Clips(settings, jobs, loras, uploads, plans, servers),
        loras=loras,
        quotas=quotas,
        plans=plans,
        servers=servers,
        notices=notices,
        freezing=freezing,
        administration=Administration(settings, database, clock, jobs, quotas, plans, notices, moderation),
        gate=Gate(settings, StoredFacts(database, servers, plans, terms)),
        posts=Posts(database, jobs, clock),
        cards=Cards(database, jobs),
        files=files,
        garbage=Garbage(settings, database, store, clock, uploads.in_hand),
        library=Library(database, store, loras, files, clock),
        casts=Casts(database, loras, clock, settings.base),
        imports=Imports(settings, database, store, files, takedowns, clock),
        privacy=Privacy(settings, database, store, queue, jobs, servers, files, clock),
        shares=Shares(database, jobs, takedowns, clock, signer.public_url),
        takedowns=takedowns,
        screening=screening,
        audit=audit,
        rules=rules,
        terms=terms,
        likenesses=likenesses,
        moderation=moderation,
    )
