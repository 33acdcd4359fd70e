"""Sending the prediction log on: each sink at its own pace, from what is on disk.

A sink that is slow or away costs nobody anything: its records wait in the log's folder, and are sent when it
is back, in order. What the folder's bounds take before that is counted as lost to that sink.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from control.log import note
from domain.errors import StateUnavailable
from killswitch.stores.redis_client import RedisClient
from killswitch.stores.redis_scripts import Script
from monitoring.log.forwarding.parcel import Sink
from monitoring.log.forwarding.trail import Trail
from monitoring.log.wire import Forwarded
from shadow.reconnecting import FIRST_PAUSE

IDLE = 0.2
"""Seconds until the next look, when the sink has everything."""
LONGEST_PAUSE = 5.0
"""Seconds between attempts, while the sink is away."""
COUNT_AGAIN = 5.0
"""Seconds between two counts of what waits: it reads the segments' indexes."""

log = logging.getLogger("pointsman.log")


class Forwarder:
    """Sends to `sink` what `trail` has; the trail is None until the log's folder is open."""

    def __init__(
        self, sink: Sink, trail: Callable[[], Trail | None], *, monotonic: Callable[[], float]
    ) -> None:
        self._sink = sink
        self._trail = trail
        self._monotonic = monotonic
        self._sent = 0
        self._behind = 0
        self._counted = float("-inf")
        self._failure = ""

    def status(self) -> Forwarded:
        """How far it is."""
        return Forwarded(self._sink.name, self._sent, self._behind, self._failure)

    async def run(self) -> None:
        """For ever."""
        pause = FIRST_PAUSE
        known = False
        while True:
            trail = self._trail()
            if trail is None:
                await asyncio.sleep(IDLE)
                continue
            try:
                while not known:
                    origin = trail.origin
                    await asyncio.to_thread(trail.resume, await self._sink.position(origin))
                    known = trail.origin == origin  # or it has another name now
                more = await self._send(trail)
            except StateUnavailable as error:
                known = False
                self._fail(str(error))
            except (
                Exception
            ) as error:  # whatever a client library does, the others go on, and it is tried again
                known = False
                reason = f"{type(error).__name__}: {error}"
                if self._failure != reason:
                    log.exception("sending the prediction log on to %s failed", self._sink.name)
                self._fail(reason)
            else:
                pause = FIRST_PAUSE
                self._well()
                if not more:
                    await asyncio.sleep(IDLE)
                continue
            finally:
                await self._count(trail)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def close(self) -> None:
        """Let go of the sink's connections."""
        await self._sink.close()

    async def _send(self, trail: Trail) -> bool:
        parcel = await asyncio.to_thread(trail.next)
        if parcel is None:
            return False
        left_out = await self._sink.send(parcel)
        self._sent += len(parcel.records) - sum(left_out.values())
        trail.leave_out(left_out)
        await asyncio.to_thread(trail.reached, parcel.end)
        return True

    async def _count(self, trail: Trail) -> None:
        now = self._monotonic()
        if now - self._counted < COUNT_AGAIN:
            return
        self._counted = now
        try:
            self._behind = await asyncio.to_thread(trail.behind)
        except Exception as error:  # sending goes on without the count
            self._fail(str(error) or type(error).__name__)

    def _fail(self, reason: str) -> None:
        if self._failure != reason:
            note(log, logging.ERROR, "the prediction log is not sent on", sink=self._sink.name, reason=reason)
        self._failure = reason

    def _well(self) -> None:
        if self._failure:
            note(log, logging.INFO, "the prediction log is sent on", sink=self._sink.name)
        self._failure = ""


class RedisRunner:
    """Redis, for `monitoring.log.forwarding.stream`."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._scripts: dict[str, Script] = {}

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """See Runs."""
        found = self._scripts.get(script)
        if found is None:
            found = self._scripts[script] = Script(script)
        return await self._client.run(found, keys, arguments)

    async def close(self) -> None:
        """See Runs."""
        await self._client.close()
