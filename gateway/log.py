"""The data plane's log: one JSON line an event, on standard error. Never called on the way of a request."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime


def log(level: str, message: str, **fields: object) -> None:
    """Write one line. A log that cannot be written is no reason to stop serving."""
    record = {
        "at": datetime.now(UTC).isoformat(),
        "level": level,
        "message": message,
        "pid": os.getpid(),
        **fields,
    }
    try:
        sys.stderr.write(json.dumps(record, default=str) + "\n")
        sys.stderr.flush()
    except OSError:  # a full disk or a closed pipe: the event is in the metrics or it is lost
        return


def report(name: str, error: BaseException) -> None:
    """An error of something that runs beside the requests."""
    log("error", f"{name}: {error}", error=type(error).__name__)
