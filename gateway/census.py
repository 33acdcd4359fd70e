"""What this worker knows of its servers, as it is told to the control process."""

from __future__ import annotations

from collections.abc import Iterable

from domain.routing import Upstream
from gateway.pool import Pool
from shadow.wire import ServerReport


class Census:
    """Reports on servers. An ejection lasts longer than the time between two reports, so each is seen."""

    def __init__(self) -> None:
        self._ejected: set[Upstream] = set()

    def take(self, pools: Iterable[Pool]) -> list[ServerReport]:
        """The state of every server, and what happened since the last call."""
        return [self._report(pool) for pool in pools]

    def _report(self, pool: Pool) -> ServerReport:
        standing = pool.standing
        ejected = standing.outlier.ejected
        newly = ejected and pool.upstream not in self._ejected
        if ejected:
            self._ejected.add(pool.upstream)
        else:
            self._ejected.discard(pool.upstream)
        return ServerReport(
            str(pool.upstream), pool.dialer.take(), int(newly), standing.resting, standing.healthy, ejected
        )
