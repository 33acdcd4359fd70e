"""A gateway worker: the data plane's process.

It serves from one snapshot, swapped whole between two requests, and knows nothing else: no database, no flag
platform, no judgement. When the control process is slow, dead or restarting, it serves on from what it has.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import secrets
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from domain.errors import ConfigError
from domain.observation import Observation, Outcome
from domain.routing import Arm
from domain.snapshot import Snapshot
from gateway.boot import Boot
from gateway.client import ClientConnection
from gateway.counters import Counters
from gateway.head import RequestGrammar, RequestHead
from gateway.log import log, report
from gateway.mirror import Mirror
from gateway.pool import Pools
from gateway.service import ServedEndpoint, Services, upstreams
from routing.exposure import FlagContext
from routing.table import RoutingTable
from shadow.link import Link
from shadow.outbox import Outbox
from shadow.pairing import PendingPair
from shadow.sampler import Sampler
from shadow.tasks import Tasks
from shadow.wire import Applied, BreakerOpened, FromWorker, Hello, Publish

TICK = 0.05
"""Seconds between looks at deadlines: a timeout is up to this much late, and costs no timer per request."""
FLUSH_AFTER = 0.003
"""Seconds that a finished pair waits for others to travel with."""
COUNTS_EVERY = 5
"""Ticks between batches that carry only counts."""
OVERHEAD_SAMPLE = 16
"""Of so many requests the gateway's own time is measured for one."""
LISTEN_ON = 0.2
"""Seconds a draining worker still accepts, until load balancers and the kernel's queue have noticed."""

_MIRRORS = {Outcome.OVERSIZE: "paired", Outcome.TIMEOUT: "timeout"}
_FAULTS_OF_OURS = frozenset((Outcome.ABANDONED, Outcome.OVERLOAD))


class Worker:
    """See gateway.exchange.Worker for what exchanges use of it."""

    def __init__(self, boot: Boot, loop: asyncio.AbstractEventLoop) -> None:
        self.clock = time.monotonic
        self.wall = time.time
        self.counters = Counters()
        self.sampler = Sampler(random.random)
        self.unit_hash = hashlib.blake2b(digest_size=8, key=boot.unit_key)
        self.clients: set[ClientConnection] = set()
        self.draining = False
        self.drain_grace = 1.0
        self._boot = boot
        self._loop = loop
        self._session = secrets.token_hex(8)
        self._request_prefix = self._session.encode() + b"-"
        self._requests = 0
        self._samples = 0
        self._ticks = 0
        self._tasks = Tasks(report)
        self._pools = Pools(loop, self._tasks, self.clock)
        self._outbox = Outbox(self._session)
        self._later: list[Mirror] = []
        self._flushing = False
        self._ending = False
        self._drained = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._next_tick: asyncio.TimerHandle | None = None
        self.services = self._compiled(boot.snapshot, {})
        self.grammar = RequestGrammar(self.services.interest)
        self._link = Link(
            boot.link,
            self._outbox,
            greeting=self._greeting,
            publish=self._publish,
            counts=self.counters.take,
            report=report,
            tasks=self._tasks,
        )

    # ---- what exchanges use ---------------------------------------------------------------------------

    def new_request_id(self) -> bytes:
        """Unique over workers and restarts."""
        self._requests += 1
        return b"%b%x" % (self._request_prefix, self._requests)

    def samples_overhead(self) -> bool:
        self._samples += 1
        return self._samples % OVERHEAD_SAMPLE == 0

    def current(self, service: ServedEndpoint) -> ServedEndpoint:
        return self.services.by_name.get(service.endpoint.name, service)

    def later(self, mirror: Mirror) -> None:
        if not self._later:
            self._loop.call_soon(self._send_mirrors)
        self._later.append(mirror)

    def _send_mirrors(self) -> None:
        mirrors, self._later = self._later, []
        for mirror in mirrors:
            mirror.send()

    def observe(
        self,
        service: ServedEndpoint,
        arm: Arm,
        observation: Observation,
        pending: PendingPair | None,
        *,
        mirrored: bool,
    ) -> None:
        outcome = observation.outcome
        if arm is Arm.CANDIDATE and service.breaker.record(observation):
            self._breaker_opened(service, observation)
        if mirrored:
            ended = "paired" if outcome is Outcome.ANSWERED else _MIRRORS.get(outcome, "failed")
            self.counters.mirror(service.endpoint.name, ended)
        if pending is None:
            return
        pair = pending.observe(arm, observation)
        if pair is None:
            return
        for side in (pair.incumbent, pair.candidate):
            # Identity first: an enum's hash is a call in Python, and nearly all are answered.
            if side.outcome is not Outcome.ANSWERED and side.outcome in _FAULTS_OF_OURS:
                self._outbox.drop(side.outcome.value)
                return
        self._outbox.add(pair)
        if not self._flushing:
            self._flushing = True
            self._loop.call_later(FLUSH_AFTER, self._flush)

    def context(self, service: ServedEndpoint, head: RequestHead, peer: str) -> FlagContext:
        values = head.values or {}
        fields = [
            (field, values[header].decode("utf-8", "replace"))
            for field, header in service.context_fields
            if header in values
        ]
        return FlagContext.of(fields, remote_address=peer or None, current_time=datetime.now(UTC))

    # ---- snapshots ------------------------------------------------------------------------------------

    def _compiled(self, snapshot: Snapshot, previous: Mapping[str, ServedEndpoint]) -> Services:
        table = RoutingTable(snapshot, random.random)
        services = Services(table, self._pools, self.counters, previous)
        self._pools.retain(upstreams(table))
        return services

    def _publish(self, message: Publish) -> None:
        if message.snapshot.generation > self.services.generation:
            try:
                services = self._compiled(message.snapshot, self.services.by_name)
            except ConfigError as error:
                # The control process checked it before; serving on is safer than serving half of it.
                report("snapshot", error)
                return
            self.services = services
            self.grammar = RequestGrammar(services.interest)
        self._link.say(Applied(self.services.generation))

    def _greeting(self) -> list[FromWorker]:
        generation = self.services.generation
        hello = Hello(self._boot.index, self._session, generation, os.getpid())
        opened = [self._opened_message(s) for s in self.services.by_name.values() if s.breaker.opened]
        return [hello, *opened]

    def _breaker_opened(self, service: ServedEndpoint, observation: Observation) -> None:
        current = self.current(service)
        if current.breaker is service.breaker:
            current.route.breaker_open = True
            self._link.say(self._opened_message(current))
            log(
                "warning", "breaker opened", endpoint=current.endpoint.name, outcome=observation.outcome.value
            )

    def _opened_message(self, service: ServedEndpoint) -> BreakerOpened:
        breaker = service.breaker
        reason = f"{breaker.failures} consecutive errors of {breaker.version} in worker {self._boot.index}"
        generation = self.services.generation
        return BreakerOpened(service.endpoint.name, breaker.version, generation, breaker.failures, reason)

    # ---- the process ----------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._flushing = False
        self._link.flush()

    def _tick(self) -> None:
        # First: whatever a look at a deadline may raise, the next look comes.
        self._next_tick = self._loop.call_later(TICK, self._tick)
        now = self.clock()
        self._pools.tick(now)
        for client in tuple(self.clients):
            client.tick(now)
        self._ticks += 1
        if self._ticks % COUNTS_EVERY == 0:
            self._link.flush()
        if self._ending and not self.clients:
            self._drained.set()

    def drain(self) -> None:
        """Begin to end: accept a moment longer, close each connection with its next answer."""
        if not self.draining:
            self.draining = True
            self._tasks.spawn(self._watch_drain(), "drain")

    async def _watch_drain(self) -> None:
        await asyncio.sleep(LISTEN_ON)
        if self._server is not None:
            self._server.close()
        self._ending = True
        await asyncio.sleep(self._boot.drain)
        self._drained.set()

    async def start(self, listening: socket.socket) -> None:
        """Serve the connections of `listening`."""
        loop = self._loop
        self._server = await loop.create_server(lambda: ClientConnection(self), sock=listening, backlog=4096)
        self._link.start()
        self._tick()

    async def drained(self) -> None:
        """Wait until `drain` was called and no client is left, or its time is up."""
        await self._drained.wait()

    async def stop(self) -> None:
        """Close everything; what the control process has not got yet is sent if it is there."""
        if self._server is not None:
            self._server.close()
        if self._next_tick is not None:
            self._next_tick.cancel()
        for client in tuple(self.clients):
            client.transport.abort()
        await self._link.close()
        self._pools.close()
        await self._tasks.cancel()
