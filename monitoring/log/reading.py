"""Reading the prediction log, in any process, while it is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from domain.errors import StateUnavailable
from monitoring.log import segments
from monitoring.log.record import PredictionRecord

if TYPE_CHECKING:
    import pyarrow as pa


class LogReader:
    """Reads the segments in `folder`. Synchronous: callers with an event loop use a thread.

    Both methods raise `domain.errors.StateUnavailable` when the log is there and cannot be read; a folder
    that is not there is an empty log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, request_id: str) -> PredictionRecord | None:
        """The newest record of the request called `request_id`; None when there is none.

        A segment that cannot be read hides only its own records.
        """
        unreadable: StateUnavailable | None = None
        for segment in segments.listed(self._folder, newest_first=True):
            try:
                found = segment.find(request_id)
            except StateUnavailable as error:
                unreadable = unreadable or error
                continue
            if found is not None:
                return found
        if unreadable is not None:
            raise unreadable
        return None

    def scan(self, endpoint: str, since: float, until: float) -> Iterator[pa.RecordBatch]:
        """Records of `endpoint` with since ≤ at < until (seconds since 1970), oldest segment first.

        The columns are those of docs/prediction-log.md, the same in every batch. Raises ConfigError without
        the extra `pointsman[log]`.
        """
        for segment in segments.listed(self._folder):
            yield from segment.scan(endpoint, since, until)
