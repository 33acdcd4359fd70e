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
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from domain.errors import ConfigError
from domain.members import ANSWERED, CANDIDATE
from domain.observation import Observation, Outcome, Pair
from domain.snapshot import Snapshot
from gateway.access_log import AccessLog
from gateway.agreement import Comparing
from gateway.boot import Boot, NewCertificates, Order
from gateway.census import Census
from gateway.certificates import ServerTls
from gateway.client import ClientConnection
from gateway.concurrency import Gate, Total
from gateway.counters import Counters, Histogram
from gateway.drill import Drills
from gateway.exchange import OVERHEAD_SAMPLE, Exchange
from gateway.guarded import GuardedExchange
from gateway.head import RequestGrammar
from gateway.listener import Listener
from gateway.log import log, report
from gateway.message import RequestMessage
from gateway.mirror import Mirror
from gateway.origin import Origin
from gateway.plain import Plain
from gateway.pressure import Pressure, Stage
from gateway.record_link import RecordLink
from gateway.recording import RecordedExchange
from gateway.records import Recorder, RecordOutbox
from gateway.resident import raise_descriptor_limit, resident_bytes, trimmer
from gateway.servers import Pools
from gateway.service import ServedEndpoint, ServedVersion, Services, upstreams
from gateway.watched import WatchedExchange
from routing.answers import Answers
from routing.exposure import FlagContext
from routing.table import RoutingTable
from shadow.link import Link
from shadow.outbox import Outbox
from shadow.pairing import PendingPair
from shadow.sampler import Sampler
from shadow.tasks import Tasks
from shadow.units import UnitHash
from shadow.wire import LAG_BOUNDS, Applied, BreakerOpened, FromWorker, Hello, Publish, TakenOut

TICK = 0.05
"""Seconds between looks at deadlines: a timeout is up to this much late, and costs no timer per request."""
FLUSH_AFTER = 0.003
"""Seconds that a finished pair waits for others to travel with."""
COUNTS_EVERY = 5
"""Ticks between batches that carry only counts."""
LOOK_EVERY = 5
"""Ticks between looks at memory."""
LISTEN_ON = 0.2
"""Seconds a draining worker still accepts, until load balancers and the kernel's queue have noticed."""
DRAIN_GRACE = 1.0
"""Seconds a kept-alive connection may be idle while its worker drains or is short of memory."""
WAIT_FOR_SNAPSHOT = 15.0
"""Seconds a successor waits for the true state before it serves incumbents only."""
SPARE_DESCRIPTORS = 32
"""File descriptors that are no connection's."""
MOST_CONNECTIONS = 20_000
"""Clients' connections of one worker, unless configured."""
ROOM_FOR_OTHERS = 0.02
"""Share of the connections that is freed of idle ones at a time, when others wait for a place."""

_TWO_DIGITS: Final = [b"%02x" % number for number in range(256)]
_FAULTS_OF_OURS = frozenset((Outcome.ABANDONED, Outcome.OVERLOAD))


class Worker:
    """One worker: what its clients' exchanges need of it, its snapshot, its ticks, its end.

    Attributes:
        clock: seconds, monotonic.
        wall: seconds since 1970.
        unit_hash: what stands for a unit in a pair.
        until_sample: requests until the next whose time in the gateway is measured; exchanges count it down.
        name: what this installation calls itself in Via.
        leaving: whether it has been told to end.
    """

    def __init__(self, boot: Boot, loop: asyncio.AbstractEventLoop, plain: Plain | None = None) -> None:
        self.clock = time.monotonic
        self.wall = time.time
        self.counters = Counters()
        self.sampler = Sampler(random.random)
        self.unit_hash = UnitHash(boot.unit_key)
        self.name = _name(boot.unit_key)
        self.clients: set[ClientConnection] = set()
        self.draining = False
        self.drain_grace = DRAIN_GRACE
        limits = boot.downstream.limits
        self.timeouts = boot.downstream.timeouts
        self.gates: dict[str, Gate] = {}
        self.access = _access_log(boot)
        self.sheds_requests = False
        self._total = Total(limits.max_in_flight)
        self._pressure = None if limits.memory is None else Pressure(limits.memory)
        self._stage = Stage.NOTHING
        self._give_back = trimmer()
        self.leaving = False
        self._boot = boot
        self._loop = loop
        self._session = secrets.token_hex(8)
        self._request_prefix = self._session.encode() + b"-"
        self._requests = 0
        self._request_block = b""
        self.until_sample = OVERHEAD_SAMPLE
        self._ticks = 0
        self._due = self.clock()
        self._lag = Histogram(LAG_BOUNDS)
        self._tasks = Tasks(report)
        self.comparing = Comparing(self._tasks)
        self._plain = plain or Plain(loop)
        self._pools = Pools(loop, self._tasks, self.clock, plain=self._plain)
        self._drills = Drills(loop, self._tasks, self.clock, random.random)
        self._outbox = Outbox(self._session)
        self._census = Census()
        self._later: list[Mirror] = []
        self._flushing = False
        self._ending = False
        self._drained = asyncio.Event()
        self._listener: Listener | None = None
        self._informed = asyncio.Event()
        self._next_tick: asyncio.TimerHandle | None = None
        if _compares(boot.snapshot):
            self.comparing.load()
        self._answers = Answers()
        self._records: RecordOutbox | None = None
        self._record_link: RecordLink | None = None
        if boot.log:
            self._records = RecordOutbox(self._session, self.clock())
            self._record_link = RecordLink(boot.log, self._records, report=report, tasks=self._tasks)
        self.services = self._compiled(boot.snapshot, {})
        self.grammar = RequestGrammar(self.services.interest)
        self._link = Link(
            boot.link,
            self._outbox,
            greeting=self._greeting,
            publish=self._publish,
            take_out=self._take_out,
            counts=self.counters.take,
            report=report,
            tasks=self._tasks,
            answers=self._answers,
        )

    # ---- what exchanges use ---------------------------------------------------------------------------

    def new_request_id(self) -> bytes:
        """Unique over workers and restarts."""
        number = self._requests
        self._requests = number + 1
        low = number & 0xFF
        if not low:
            self._request_block = b"%b%x" % (self._request_prefix, number >> 8)
        return self._request_block + _TWO_DIGITS[low]

    def current(self, service: ServedEndpoint) -> ServedEndpoint:
        return self.services.by_name.get(service.endpoint.name, service)

    def later(self, mirror: Mirror) -> None:
        if not self._later:
            self._loop.call_soon(self._send_mirrors)
        self._later.append(mirror)

    def _send_mirrors(self) -> None:
        mirrors, self._later = self._later, []
        for mirror in mirrors:
            if self._stage:
                mirror.failed(Outcome.OVERLOAD, "mirrors are shed", unanswered=False)
            else:
                mirror.send()

    def observe(
        self, service: ServedEndpoint, version: ServedVersion, observation: Observation,
        pending: PendingPair | None,
    ) -> None:  # fmt: skip
        """The arm that `version` serves as ended its part of an exchange."""
        arm = version.arm
        if arm is CANDIDATE and service.breaker.record(observation):
            self._breaker_opened(service, observation)
        if pending is not None:
            pair = pending.observe(arm, observation)
            if pair is not None:
                self._hand_over(pair)
                if pending.record is not None:
                    pending.record.paired(pending)

    def repeated(self, observation: Observation, pending: PendingPair) -> None:
        """The incumbent, asked a second time, answered or failed."""
        pair = pending.repeated(observation)
        if pair is not None:
            self._hand_over(pair)
            if pending.record is not None:
                pending.record.paired(pending)

    def _hand_over(self, pair: Pair) -> None:
        incumbent, candidate = pair.incumbent.outcome, pair.candidate.outcome
        # Identity first: an enum's hash is a call in Python, and nearly all are answered.
        if incumbent is not ANSWERED or candidate is not ANSWERED:
            for outcome in (incumbent, candidate):
                if outcome in _FAULTS_OF_OURS:
                    self._outbox.drop(outcome.value)
                    return
        self._outbox.add(pair)
        if not self._flushing:
            self._flushing = True
            self._loop.call_later(FLUSH_AFTER, self._flush)

    def context(self, service: ServedEndpoint, message: RequestMessage, peer: str) -> FlagContext:
        """What the flag's constraints may ask about a request."""
        values = message.values or {}
        fields = [
            (field, values[header].decode("utf-8", "replace"))
            for field, header in service.context_fields
            if header in values
        ]
        return FlagContext.of(fields, remote_address=peer or None, current_time=datetime.now(UTC))

    # ---- clients come and go --------------------------------------------------------------------------

    def welcome(self, origin: Origin) -> ClientConnection:
        """See gateway.listener.Host."""
        return ClientConnection(self, origin)

    def left(self, client: ClientConnection) -> None:
        """`client`'s connection is lost."""
        self.clients.discard(client)
        if self._listener is not None:
            self._listener.left(client)

    def event(self, name: str, count: int = 1) -> None:
        """Count something that is no answer; see docs/metrics.md for the names."""
        self._outbox.note(name, count)

    # ---- snapshots ------------------------------------------------------------------------------------

    def _compiled(self, snapshot: Snapshot, previous: Mapping[str, ServedEndpoint]) -> Services:
        table = RoutingTable(snapshot, random.random, self._answers)
        services = Services(table, self._pools, self.counters, previous, self._drills)
        self._pools.retain(upstreams(table))
        self._open_gates(snapshot)
        self._equip(services)
        self._record(services, snapshot)
        return services

    def _equip(self, services: Services) -> None:
        """Say what becomes of the requests: as plain an exchange as will do."""
        watched = self.gates or self.access is not None
        for service in services.by_name.values():
            service.exchange = WatchedExchange if watched else Exchange
            if service.guarded:
                service.exchange = GuardedExchange
                service.comparer = self.comparing.comparer(service.endpoint)
            if service.endpoint.record is not None and self._records is not None:
                service.exchange = RecordedExchange

    def _record(self, services: Services, snapshot: Snapshot) -> None:
        outbox, link = self._records, self._record_link
        if outbox is None or link is None:
            return
        for service in services.by_name.values():
            if service.endpoint.record is not None:
                digest = snapshot.config_digest
                service.recorder = Recorder(outbox, service.endpoint, snapshot.generation, digest)
                link.start()

    def _open_gates(self, snapshot: Snapshot) -> None:
        """Bounds go on over snapshots, with what is in flight."""
        gates: dict[str, Gate] = {}
        for endpoint in snapshot.endpoints:
            bounded = endpoint.max_in_flight is not None or endpoint.adaptive
            if bounded or self._total.limit is not None:
                gate = self.gates.get(endpoint.name) or Gate(self._total)
                gate.configure(endpoint.max_in_flight, adaptive=endpoint.adaptive)
                gates[endpoint.name] = gate
        self.gates = gates

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
            self._shed_requests()
            if _compares(message.snapshot) and not self.comparing.loaded:
                # Nothing waits for it, least of all a trip: until it is there, the incumbent serves.
                self.comparing.load_apart(lambda: self._equip(self.services))
        self._informed.set()
        self._link.say(Applied(self.services.generation))

    def _take_out(self, message: TakenOut) -> None:
        service = self.services.by_name.get(message.endpoint)
        if service is not None and message.generation > self.services.generation:
            service.route.take_out()

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
        self._lag.observe(max(0.0, now - self._due))
        self._due = now + TICK
        self._pools.tick(now)
        if self.services.rehearsed:
            self.services.end_drills(now)
        self._link.ask()
        if self._record_link is not None:
            self._record_link.flush()
        for client in tuple(self.clients):
            client.tick(now)
        self._ticks += 1
        if self._ticks % COUNTS_EVERY == 0:
            self.counters.settle()
            self._outbox.tell(self._census.take(self._pools))
            self._outbox.rehearsed(self._drills.news())
            lag, self._lag = self._lag, Histogram(LAG_BOUNDS)
            self._outbox.late(lag.buckets, lag.seconds)
            if self.access is not None and (lost := self.access.take_lost()):
                self.event("access_lines_lost", lost)
            self._link.flush()
        if self._pressure is not None and self._ticks % LOOK_EVERY == 0:
            self._relieve(self._pressure)
        if self._listener is not None and self._listener.full:
            self._make_room(now)
        if self._ending and not self.clients:
            self._drained.set()

    def _make_room(self, now: float) -> None:
        """Nobody is kept out by a connection that is idle: those that were it longest go."""
        idle = sorted((client for client in self.clients if client.idles), key=lambda c: c.quiet_since)
        for client in idle[: 1 + int(ROOM_FOR_OTHERS * len(self.clients))]:
            if now - client.quiet_since > TICK:
                self.event("closed_for_room")
                client.give_up()

    def _relieve(self, pressure: Pressure) -> None:
        """Shed what the pressure on memory asks for."""
        resident = resident_bytes()
        stage = pressure.look(resident)
        if stage and self._ticks % (4 * LOOK_EVERY) == 0:
            self._give_back()
        if stage is self._stage:
            return
        log("warning", "memory pressure", sheds=stage.name.lower(), resident=resident)
        self.event(f"shedding_{stage.name.lower()}")
        self._stage = stage
        self.draining = self.leaving or stage >= Stage.KEEP_ALIVE
        self._shed_requests()
        if self._listener is not None:
            self._listener.hold(held=stage >= Stage.CONNECTIONS)

    def _shed_requests(self) -> None:
        """While requests are shed no path leads to a service: an answered request pays nothing for it."""
        self.sheds_requests = self._stage >= Stage.REQUESTS
        served = () if self.sheds_requests else self.services.by_name.values()
        self.services.by_path = {service.endpoint.path.encode(): service for service in served}

    def obey(self, order: Order) -> None:
        """Do what the supervisor says."""
        if isinstance(order, NewCertificates):
            if self._listener is not None:
                self._listener.tls = ServerTls(order.certificates)
        elif self.access is not None:
            self.access.reopen()

    def drain(self) -> None:
        """Begin to end: accept a moment longer, close each connection with its next answer."""
        if not self.leaving:
            self.leaving = self.draining = True
            self._tasks.spawn(self._watch_drain(), "drain")

    async def _watch_drain(self) -> None:
        await asyncio.sleep(LISTEN_ON)
        if self._listener is not None:
            self._listener.close()
        self._ending = True
        await asyncio.sleep(self._boot.drain)
        self._drained.set()

    async def start(self, listening: socket.socket) -> None:
        """Serve the connections of `listening`."""
        downstream = self._boot.downstream
        self._listener = Listener(
            listening,
            downstream,
            self,
            connections=downstream.limits.connections or _affordable_connections(),
            loop=self._loop,
            tasks=self._tasks,
            tls=ServerTls(self._boot.certificates) if self._boot.certificates else None,
            plain=self._plain,
        )
        if self.access is not None:
            self.access.start()
        self._link.start()
        if self._boot.waits:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._informed.wait(), WAIT_FOR_SNAPSHOT)
        self._listener.start()
        self._due = self.clock()
        self._tick()

    async def drained(self) -> None:
        """Wait until `drain` was called and no client is left, or its time is up."""
        await self._drained.wait()

    async def stop(self) -> None:
        """Close everything; what the control process has not got yet is sent if it is there."""
        if self._listener is not None:
            self._listener.close()
        if self._next_tick is not None:
            self._next_tick.cancel()
        for client in tuple(self.clients):
            client.transport.abort()
        if self._record_link is not None and self._records is not None:
            await self._record_link.close()
            if left := self._records.unacknowledged:
                self._outbox.note("record_unacknowledged", left)
                log("warning", "records may be lost: the prediction log did not acknowledge them", count=left)
        await self._link.close()
        self._pools.close()
        await self._tasks.cancel()
        self._plain.close()
        self.comparing.close()
        if self.access is not None:
            self.access.close()


def _name(key: bytes) -> bytes:
    """What this installation calls itself in Via (RFC 9110, 7.6.3), to know a request that comes again."""
    return b"pointsman-" + hashlib.blake2b(b"via", key=key, digest_size=6).hexdigest().encode()


def _access_log(boot: Boot) -> AccessLog | None:
    settings = boot.downstream.access_log
    return None if settings is None else AccessLog(settings, random.random)


def _affordable_connections() -> int:
    """Half of the file descriptors: each client may need a connection to a model server."""
    return max(1, min(MOST_CONNECTIONS, (raise_descriptor_limit() - SPARE_DESCRIPTORS) // 2))


def _compares(snapshot: Snapshot) -> bool:
    return any(endpoint.compare for endpoint in snapshot.endpoints)
