"""Where an uploaded file comes from: what its signature proves, and whether it is byte for byte a result of ours."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from bot import media
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.services.values import IncomingFile
from bot.storage import jobs as table
from bot.storage.database import Database
from engine.contracts.provenance import Finding, OriginReport

logger = logging.getLogger(__name__)

EXAMINED_AT_ONCE = 2


@dataclass(frozen=True)
class Origin:
    """What is known of a file."""

    report: OriginReport
    posted_at: float | None  # unix seconds; when the job that made exactly these bytes ended here, None when none did


@dataclass(frozen=True)
class Origins:
    """Examines files in processes of their own; few at once, since each one reads a stranger's file whole."""

    settings: BotSettings
    database: Database
    _examinations: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(EXAMINED_AT_ONCE))

    async def examine(self, file: IncomingFile) -> Origin:
        """The origin of one picture or clip.

        Raises:
            Refusal: FILE_TOO_LARGE, NOT_VERIFIABLE, MEDIA_CHECK_FAILED.
        """
        limit = self.settings.max_upload_bytes
        if file.size > limit:
            raise Refusal(RefusalCode.FILE_TOO_LARGE, filename=file.filename, size=file.size, limit=limit)
        folder, patience = self.settings.credentials_folder, self.settings.media_check_timeout_s
        try:
            async with self._examinations:
                report = await media.verify_origin(file.path, credentials=folder, timeout_s=patience)
        except media.MediaError as error:
            logger.error("a file could not be examined: %s", error)  # noqa: TRY400 - the cause is in the message
            raise Refusal(RefusalCode.MEDIA_CHECK_FAILED) from error
        if report.finding is Finding.UNREADABLE:
            raise Refusal(RefusalCode.NOT_VERIFIABLE, filename=file.filename)
        return Origin(report, await table.made_at(self.database.reader, report.sha256))
