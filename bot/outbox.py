"""Drains the outbox: every finished job appears in Discord exactly once, smaller or as a link if need be, elsewhere if its place is gone.

Exactly once (reference/discord.md A4): each try carries the same nonce, which Discord honours for some minutes; a try whose predecessor is
older than that first looks for the message in the channel. `Posts.sent` commits after the send.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import discord

from bot import discord_codes, history, languages
from bot.config import BotSettings
from bot.media import MediaError
from bot.scorer import ScorerError
from bot.services.app import Services
from bot.services.posts import Post, PostKind
from bot.storage.jobs import JobRecord
from bot.ui import result_cards, text
from bot.ui.cards import Card
from bot.ui.language import speak
from bot.ui.result_cards import Shown
from bot.ui.views import Press
from engine.contracts.jobs import GenerateVideo
from engine.contracts.model import StoredObject
from engine.contracts.objects import extension_of
from engine.contracts.results import LoraTrained, VideoRendered
from engine.errors import EngineError, StoreError

_log = logging.getLogger(__name__)

NONCE_LIFE_S = 120.0  # "the past few minutes", taken carefully
PARALLEL = 4
IDLE_S = 5.0
MAX_DELAY_S = 60.0
MAX_REJECTIONS = 5  # tries that failed for a reason in the post itself, before it is given up
SHRINK = (0.6, 0.35)  # of the file that was too large


def _passes(error: Exception) -> bool:
    """True for what waiting can heal: Discord, the store, the classifier, the network or the disk. Anything else repeats itself."""
    if isinstance(error, discord.HTTPException):
        return error.status >= 500 or error.status == 429
    if isinstance(error, EngineError):
        return error.code.retryable
    return isinstance(error, ScorerError | aiohttp.ClientError | OSError | sqlite3.OperationalError)


def _of(post: Post, record: JobRecord) -> Post:
    """The same post of a row that has changed."""
    return replace(post, view=replace(post.view, record=record))


class _LostPlaceError(Exception):
    """This channel takes no post of ours."""


@dataclass(frozen=True)
class _Media:
    """Local copies to attach; any may be missing."""

    video: Path | None = None
    picture: Path | None = None
    video_source: StoredObject | None = None
    chart: Path | None = None


class Outbox:
    """The one poster of results. `run` ends by cancellation only."""

    def __init__(self, client: discord.Client, services: Services, settings: BotSettings) -> None:
        self._client = client
        self._services = services
        self._settings = settings
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._rejections: Counter[int] = Counter()

    async def run(self) -> None:
        """Deliver due posts, a few at a time, until cancelled; a post in flight is then left to the next start."""
        await self._client.wait_until_ready()
        try:
            while True:
                try:
                    started = await self._start_due()
                except Exception:  # noqa: BLE001 - this loop must outlive whatever one round does
                    _log.exception("outbox cannot be read")
                    started = 0
                if len(self._busy) >= PARALLEL:
                    await asyncio.wait(self._busy.values(), return_when=asyncio.FIRST_COMPLETED)
                elif not started:
                    await self._services.posts.wait(IDLE_S)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _start_due(self) -> int:
        started = 0
        for post in await self._services.posts.due(limit=2 * PARALLEL):
            if post.post_id in self._busy or len(self._busy) >= PARALLEL:
                continue
            task = asyncio.create_task(self._deliver_safely(post), name=f"post-{post.post_id}")
            self._busy[post.post_id] = task
            task.add_done_callback(lambda _, post_id=post.post_id: self._busy.pop(post_id, None))  # type: ignore[misc]
            started += 1
        return started

    async def _deliver_safely(self, post: Post) -> None:
        extra = {"job_id": post.view.record.job_id}
        try:
            await self.deliver(post)
        except Exception as error:  # noqa: BLE001 - whatever it was, the post is tried again
            if not _passes(error):
                self._rejections[post.post_id] += 1
            if self._rejections[post.post_id] >= MAX_REJECTIONS:
                _log.exception("post given up", extra=extra)
                await self._services.posts.undeliverable(post.post_id, error=repr(error)[:500])
                del self._rejections[post.post_id]
                return
            delay = min(MAX_DELAY_S, 2.0 ** min(post.tries, 6))
            _log.warning("post failed, next try in %.0f s: %s", delay, error, extra=extra)
            try:
                await self._services.posts.later(post.post_id, delay_s=delay, error=repr(error)[:500])
            except Exception:  # noqa: BLE001 - this loop must outlive whatever one round does
                _log.exception("post cannot be rescheduled", extra=extra)

    # ---- one post ---------------------------------------------------------------------------------------------------------------------

    async def deliver(self, post: Post) -> None:
        """Make sure the message of `post` exists, and remember where.

        Raises:
            discord.HTTPException, StoreError, OSError: try again later.
        """
        record, posts = post.view.record, self._services.posts
        speak(await languages.of_place(self._services.servers, self._client, record.guild_id))
        if record.deleted:
            await posts.undeliverable(post.post_id, error="deleted by its owner before it was posted")
            return
        origin = self._client.get_partial_messageable(record.channel_id, guild_id=record.guild_id)
        if await self._already_there(post, origin):
            return
        record = await self._services.screening.release(record)
        try:
            await self._deliver(_of(post, record), origin)
        except StoreError as error:
            if error.code.retryable or record.withheld is not None:
                raise
            await self._deliver(_of(post, await self._services.screening.give_up(record, error)), origin)

    async def _deliver(self, post: Post, origin: discord.PartialMessageable) -> None:
        record, posts = post.view.record, self._services.posts
        async with self._media(post) as media:
            await posts.begin(post.post_id)
            async for place, note in self._places(post, origin):
                try:
                    message = await self._send(post, place, media, note)
                except _LostPlaceError as error:
                    _log.info("place lost: %s", error, extra={"job_id": record.job_id})
                    continue
                if message is not None:
                    await posts.sent(post.post_id, channel_id=message.channel.id, message_id=message.id)
                else:
                    await posts.undeliverable(post.post_id, error="posted, then deleted in Discord")
                return
        await posts.undeliverable(post.post_id, error="neither the channel nor a direct message takes it")

    async def _already_there(self, post: Post, origin: discord.PartialMessageable) -> bool:
        """True when an earlier try got through although we never heard; only asked once the nonce no longer protects."""
        if post.first_try_at is None:
            return False
        age = self._services.clock() - post.first_try_at
        if age <= NONCE_LIFE_S:
            return False
        marker = Press("job", "delete", post.view.record.job_id).custom_id
        async for channel, _ in self._places(post, origin):
            found = await history.find_own(self._client, channel, {marker}, discord.utils.utcnow().timestamp() - age)
            if found is not None:
                _log.info("post was there already", extra={"job_id": post.view.record.job_id})
                await self._services.posts.sent(post.post_id, channel_id=found.channel.id, message_id=found.id)
                return True
        return False

    async def _places(self, post: Post, origin: discord.PartialMessageable) -> AsyncIterator[tuple[discord.abc.Messageable, str]]:
        """Where to try, best first, each with a line that explains why it is not the first; asks Discord only when one is needed."""
        yield origin, ""
        record = post.view.record
        channel = self._client.get_channel(record.channel_id)
        if channel is None:  # archived threads are not in the cache
            with suppress(discord.HTTPException):
                channel = await self._client.fetch_channel(record.channel_id)
        if isinstance(channel, discord.Thread):
            yield self._client.get_partial_messageable(channel.parent_id, guild_id=record.guild_id), text.THREAD_LOST()
        for direct in await self._direct(post):
            yield direct, text.CHANNEL_LOST()

    async def _direct(self, post: Post) -> list[discord.abc.Messageable]:
        try:
            return [await self._client.create_dm(discord.Object(post.view.record.owner_id))]
        except discord.HTTPException as error:
            _log.info("no direct message possible: %s", error, extra={"job_id": post.view.record.job_id})
            return []

    # ---- sending --------------------------------------------------------------------------------------------------------------------

    async def _send(self, post: Post, place: discord.abc.Messageable, media: _Media, note: str) -> discord.Message | None:
        """Post with the file, then with smaller ones, then with a link. None: it was posted before and somebody deleted it.

        Raises:
            _LostPlaceError: this place takes nothing.
            discord.HTTPException: anything else Discord objects to.
        """
        try:
            return await self._post(post, place, media, Shown(note=note))
        except discord.HTTPException as error:
            if error.status != 413 and error.code != discord_codes.TOO_LARGE:
                raise
        if media.video is None:
            return await self._post(post, place, _Media(), Shown(note=note))
        size = media.video.stat().st_size
        for share in SHRINK:
            smaller: Path | None = None
            try:
                smaller = await self._services.files.fit(media.video, int(min(size * share, self._settings.max_post_bytes)))
                return await self._post(post, place, _Media(video=smaller), Shown(note=note))
            except MediaError as error:
                _log.info("no smaller copy: %s", error, extra={"job_id": post.view.record.job_id})
                break
            except discord.HTTPException as error:
                if error.status != 413 and error.code != discord_codes.TOO_LARGE:
                    raise
            finally:
                if smaller is not None:
                    smaller.unlink(missing_ok=True)
        return await self._post_link(post, place, media, note)

    async def _post_link(self, post: Post, place: discord.abc.Messageable, media: _Media, note: str) -> discord.Message | None:
        assert media.video_source is not None
        link = self._services.files.link(media.video_source, f"{post.view.record.job_id}.mp4")
        shown = Shown(link=link, note="\n".join(filter(None, [note, text.TOO_LARGE_FOR_CHANNEL()])))
        try:
            return await self._post(post, place, _Media(picture=media.picture), shown)
        except discord.HTTPException as error:
            if error.status != 413 and error.code != discord_codes.TOO_LARGE:
                raise
            return await self._post(post, place, _Media(), shown)

    async def _post(self, post: Post, place: discord.abc.Messageable, media: _Media, shown: Shown) -> discord.Message | None:
        """One request; a `discord.File` is good for one only, so they are made here."""
        record = post.view.record
        job = record.job
        makers = await self._services.loras.makers(job.adapters, but=record.owner_id) if isinstance(job, GenerateVideo) else ()
        files: list[discord.File] = []
        video = picture = chart = None
        if media.video is not None:
            video = f"callsheet-{record.job_id.lower()}.mp4"
            files.append(discord.File(media.video, filename=video))
        elif media.picture is not None:
            picture = f"callsheet-{record.job_id.lower()}.png"
            files.append(discord.File(media.picture, filename=picture))
        if media.chart is not None:
            chart = f"callsheet-{record.job_id.lower()}-steps.png"
            files.append(discord.File(media.chart, filename=chart))
        try:
            return await place.send(
                view=self._card(post, Shown(video, picture, shown.link, shown.note, makers, chart)),
                files=files,
                nonce=post.nonce,
                allowed_mentions=discord.AllowedMentions(
                    everyone=False, roles=False, replied_user=False, users=[discord.Object(record.owner_id)]
                ),
            )
        except discord.HTTPException as error:
            if error.code in discord_codes.LOST_PLACE:
                raise _LostPlaceError(str(error)) from error
            if error.code == discord_codes.UNKNOWN_MESSAGE:
                return None
            raise
        finally:
            for file in files:
                file.close()

    @staticmethod
    def _card(post: Post, shown: Shown) -> Card:
        if post.kind is PostKind.FAILED:
            return result_cards.failed(post.view, shown)
        return result_cards.result(post.view, shown)

    # ---- files ------------------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _media(self, post: Post) -> AsyncIterator[_Media]:
        """Local copies of what the message shows, for the length of the block.

        Raises:
            StoreError: the main file cannot be had now.
        """
        outcome = post.view.record.result if post.kind is PostKind.RESULT and post.view.record.withheld is None else None
        source = outcome.file if isinstance(outcome, VideoRendered) else outcome.preview if isinstance(outcome, LoraTrained) else None
        poster = outcome.poster if outcome is not None else None
        drawn = outcome.chart if isinstance(outcome, LoraTrained) else None
        paths: list[Path] = []
        try:
            video = picture = chart = None
            if source is not None:
                video = await self._services.files.fetch(source)
                paths.append(video)
            if poster is not None and extension_of(poster.media_type) == "png":
                picture = await self._fetched(poster, post, paths)
            if drawn is not None:
                chart = await self._fetched(drawn, post, paths)
            yield _Media(video, picture, source, chart)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)

    async def _fetched(self, picture: StoredObject, post: Post, paths: list[Path]) -> Path | None:
        """A picture that adorns the message; without it the message goes out all the same."""
        try:
            paths.append(await self._services.files.fetch(picture))
        except StoreError as error:
            _log.warning("no picture: %s", error, extra={"job_id": post.view.record.job_id})
            return None
        return paths[-1]
