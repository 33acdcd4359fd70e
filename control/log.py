"""Log records as JSON lines: one object a line, so nothing that a client sends can forge a record."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import orjson

from control.clock import iso

LONGEST_VALUE = 4000
"""Characters of one text value; the rest is cut."""


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: at, level, logger, event, and the fields given to `note`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage()[:LONGEST_VALUE],
        }
        for name, value in getattr(record, "fields", {}).items():
            line[name] = value[:LONGEST_VALUE] if isinstance(value, str) else value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)[-LONGEST_VALUE:]
        return orjson.dumps(line, default=str).decode()


def note(logger: logging.Logger, level: int, event: str, **fields: object) -> None:
    """Log `event` with `fields` at `level`."""
    logger.log(level, event, extra={"fields": fields})


def to_stream(stream: TextIO | None = None) -> None:
    """Send every record of level INFO and above to `stream` (stderr) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would tell of every fetch of the flags
