"""One log format for both processes: text for a person, one JSON object a line for a machine; `job_id` is part of either.

Only the `__main__` modules call this; every other module just logs with `extra={"job_id": …}`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

TEXT = "%(asctime)s %(levelname)-7s %(name)s [%(job_id)s] %(message)s"
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """`{"at", "level", "logger", "message", …}` with whatever came as `extra`, and the traceback under `error`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def log_to_stderr(level: str, style: Literal["text", "json"]) -> None:
    """Set up logging of this process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else logging.Formatter(TEXT, defaults={"job_id": "-"}))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("arq").setLevel(logging.WARNING)  # at INFO it writes the arguments of jobs, and with them prompts
