"""This gateway as a member of a fleet: everything that shares state, wired together."""

from __future__ import annotations

import asyncio
import random
import socket
import uuid
from collections.abc import Mapping
from importlib.metadata import version

from control.clock import Clock
from control.fleet import ROUND, Fleet
from control.hearing import Hearing
from control.shared_evidence import SharedEvidence
from control.switchboard import Switchboard
from domain.errors import StateUnavailable
from domain.ports import Lease
from killswitch.stores.redis import Presence, RedisStore
from killswitch.stores.redis_client import RedisClient
from killswitch.stores.redis_log import RedisLog
from settings.parse import digest
from settings.schema import Settings
from settings.shared import RedisSettings
from shadow.tasks import Tasks


class Membership:
    """The connection to the shared state, and what uses it.

    `life` names this process among all; it `meets` the others for the first time as long as that is true.
    """

    def __init__(
        self,
        redis: RedisSettings,
        hearing: Hearing,
        board: Switchboard,
        clock: Clock,
        tasks: Tasks,
        environment: Mapping[str, str],
    ) -> None:
        """Raises ConfigError when a secret is missing."""
        self.life = uuid.uuid4().hex
        self.client = RedisClient(redis, environment)
        self.fleet = Fleet(
            RedisStore(self.client, self.life),
            board,
            clock,
            presence=self._present,
            draw=random.SystemRandom().random,
        )
        self.evidence = SharedEvidence(
            RedisLog(self.client), board, hearing, self.fleet.lease, clock, tasks, self.life
        )
        self.meets = False
        self._board = board
        self._tasks = tasks
        self.fleet.evidence = hearing.shared = self.evidence
        board.sharing = self.fleet

    @property
    def lease(self) -> Lease:
        """Who leads."""
        return self.fleet.lease

    async def meet(self) -> None:
        """Return when the others were asked what they know.

        A new database names no kill because it knows nothing. Until the others were asked that is no
        knowledge, and so every candidate is out.
        """
        self.meets = True
        while self.meets:
            try:
                await self.fleet.round()
                self.meets = False
            except StateUnavailable as error:
                new = "the database is new, and what the other replicas know cannot be read"
                self._board.unreadable = f"{new}: {error}"
                await asyncio.sleep(ROUND / 2)

    def start(self) -> None:
        """Begin to share; nothing waits for it."""
        self._tasks.spawn(self.fleet.listen(), "listening to replicas")
        self._tasks.spawn(self.fleet.go_round(), "rounds of replicas")
        self._tasks.spawn(self.fleet.lead(), "lease")
        self._tasks.spawn(self.evidence.listen(), "listening to evidence")
        self._tasks.spawn(self.evidence.look_round(), "evidence logs")

    async def end(self) -> None:
        """Tell the others that this one goes, and let go."""
        await self.fleet.end()

    async def close(self) -> None:
        """Close the connections, after the tasks have ended."""
        await self.client.close()

    @property
    def presence(self) -> Presence:
        """What this replica says of itself."""
        return self._present(self.lease.held() is not None)

    def _present(self, leading: bool) -> Presence:
        settings = self._board.settings
        return Presence(
            self.life, named(settings), agreed(settings), version("pointsman"), socket.gethostname(), leading
        )


def named(settings: Settings) -> str:
    """This gateway's name among the replicas."""
    return settings.sharing.replica or f"{socket.gethostname()}-{settings.admin.port}"


def agreed(settings: Settings) -> str:
    """SHA-256 (hex) of what replicas have to agree on: the endpoints, and the flags but for their path."""
    flags = settings.document.get("flags")
    if isinstance(flags, Mapping):
        flags = {key: value for key, value in flags.items() if key != "path"}
    return digest({"endpoints": settings.document.get("endpoints"), "flags": flags})
