"""A snapshot made ready to serve: per endpoint its routes, servers, bounds and breaker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from domain.members import CANDIDATE, INCUMBENT
from domain.routing import Arm, Mode, Upstream, Version
from domain.snapshot import Endpoint, UnitKind
from gateway.agreement import Comparer
from gateway.breaker import Breaker
from gateway.counters import Counters, Tally
from gateway.drill import Drills, Faults
from gateway.message import MEDIA_FIELDS
from gateway.records import TRACE_FIELD, Recorder
from gateway.servers import Pools, Servers
from routing.table import Route, RoutingTable
from shadow.pairing import Budget

if TYPE_CHECKING:
    from gateway.exchange import Exchange

CANDIDATE_SHARE_OF_TIMEOUT = 0.5
"""A candidate must begin its answer in this share of the timeout, so that the incumbent has the rest."""

_UNSAFE = re.compile(rb"[^\x21-\x7e]")


class ServedVersion:
    """One arm of an endpoint: whom to ask and what to say of it in the answer.

    `patience`: seconds until its answer must have begun.
    """

    __slots__ = ("arm", "fields", "name", "path", "patience", "servers", "tally")

    def __init__(self, version: Version, arm: Arm, timeout: float, pools: Pools, tally: Tally) -> None:
        self.patience = timeout if arm is INCUMBENT else timeout * CANDIDATE_SHARE_OF_TIMEOUT
        self.tally = tally
        self.name = version.name
        self.arm = arm
        self.servers: Servers = pools.of(version, arm)
        self.path = None if version.path is None else version.path.encode()
        name = _UNSAFE.sub(b"?", version.name.encode())
        self.fields = b"\r\nx-pointsman-version: %b\r\nx-pointsman-arm: %b" % (name, arm.encode())


class ServedEndpoint:
    """One endpoint of the snapshot in force. Budget and breaker live on over snapshots.

    Attributes:
        mirrors: whether any request is; `share` of them, in basis points.
        noise_share: of the mirrored ones, whose incumbent is asked a second time.
        unit_is_request: every request is a unit of its own.
        mirrored: counts mirrors by how they ended, see `gateway.counters`.
        guarded: whether the candidate's answer is served only where it agrees with the incumbent's.
        comparer: what says so; None: not guarded, or nothing that could be compared with (yet).
        exchange: what a request becomes; set by the worker, with `comparer`, before anything is served.
        keeps: whether pairs carry something of the request.
        recorder: what records its requests; None: nothing does. Set by the worker, as `exchange` is.
        cohorts: lower-case names of the fields that pairs carry.
    """

    __slots__ = (
        "breaker",
        "budget",
        "candidate",
        "cohorts",
        "comparer",
        "context_fields",
        "endpoint",
        "exchange",
        "guarded",
        "incumbent",
        "keeps",
        "max_body",
        "mirrored",
        "mirrors",
        "name",
        "noise_share",
        "recorder",
        "route",
        "share",
        "timeout",
        "unit_field",
        "unit_is_request",
    )

    exchange: type[Exchange]

    def __init__(
        self, route: Route, pools: Pools, counters: Counters, previous: ServedEndpoint | None,
        drills: Drills | None = None,
    ) -> None:  # fmt: skip
        endpoint = route.endpoint
        self.route = route
        self.endpoint = endpoint
        self.name = endpoint.name
        self.timeout = endpoint.timeout
        self.max_body = endpoint.max_body
        self.share = endpoint.shadow.share
        self.noise_share = endpoint.shadow.noise_share
        self.mirrors = self.share > 0
        self.unit_is_request = endpoint.unit.kind is UnitKind.REQUEST
        self.mirrored = counters.mirrors(endpoint.name)
        self.guarded = endpoint.mode is Mode.GUARDED
        self.comparer: Comparer | None = None
        self.recorder: Recorder | None = None
        self.cohorts = tuple(name.encode() for name in endpoint.cohorts)
        self.keeps = endpoint.keep_request or bool(endpoint.cohorts)
        self.incumbent = _served(endpoint, endpoint.incumbent, INCUMBENT, pools, counters)
        candidate = endpoint.candidate
        self.candidate = (
            None if candidate is None else _served(endpoint, candidate, CANDIDATE, pools, counters)
        )
        faults = None if drills is None or endpoint.drill is None else drills.of(endpoint)
        if faults is not None and drills is not None and self.candidate is not None and candidate is not None:
            self._rehearse(
                self.candidate, drills.servers(self.candidate.servers, candidate.balance, faults), faults
            )
        self.unit_field = endpoint.unit.name.encode() if endpoint.unit.kind is UnitKind.HEADER else None
        self.context_fields = tuple((field, header.encode()) for field, header in endpoint.context)
        self.budget: Budget = Budget(endpoint.shadow) if previous is None else previous.budget
        self.budget.bound(endpoint.shadow)
        self.breaker: Breaker = _breaker(endpoint, previous)
        route.breaker_open = self.breaker.opened

    def _rehearse(self, candidate: ServedVersion, servers: Servers, faults: Faults) -> None:
        if faults.drill.served:
            candidate.fields += faults.field
        elif self.guarded:
            return  # a mirror's answer may be served there
        candidate.servers = servers

    def version(self, arm: Arm) -> ServedVersion:
        """The arm's version; the incumbent where there is no candidate."""
        if arm is CANDIDATE and self.candidate is not None:
            return self.candidate
        return self.incumbent


def _served(
    endpoint: Endpoint, version: Version, arm: Arm, pools: Pools, counters: Counters
) -> ServedVersion:
    tally = counters.tally(endpoint.name, version.name, arm)
    return ServedVersion(version, arm, endpoint.timeout, pools, tally)


def _breaker(endpoint: Endpoint, previous: ServedEndpoint | None) -> Breaker:
    version = "" if endpoint.candidate is None else endpoint.candidate.name
    # A tripped snapshot means the control process has taken over: the switch holds what the breaker held.
    if previous is None or endpoint.tripped or previous.breaker.version != version:
        return Breaker(version, endpoint.breaker)
    # What a drill made fail says nothing of the candidate without it, nor the other way round; but one that
    # had opened before the drill stays open.
    over = previous.endpoint.drill is not None and endpoint.drill != previous.endpoint.drill
    if over or (endpoint.drill != previous.endpoint.drill and not previous.breaker.opened):
        return Breaker(version, endpoint.breaker)
    previous.breaker.limit = endpoint.breaker
    return previous.breaker


class Services:
    """What a worker serves from: one generation, swapped whole. `rehearsed`: whose drill serves clients."""

    __slots__ = ("by_name", "by_path", "generation", "interest", "rehearsed")

    def __init__(
        self,
        table: RoutingTable,
        pools: Pools,
        counters: Counters,
        previous: Mapping[str, ServedEndpoint],
        drills: Drills | None = None,
    ) -> None:
        self.generation = table.generation
        self.by_name = {
            name: ServedEndpoint(route, pools, counters, previous.get(name), drills)
            for name, route in table.by_name.items()
        }
        self.by_path = {service.endpoint.path.encode(): service for service in self.by_name.values()}
        self.interest = frozenset(self._interest())
        self.rehearsed = tuple(
            service
            for service in self.by_name.values()
            if service.endpoint.drill is not None and service.endpoint.drill.served
        )

    def end_drills(self, now: float) -> None:
        """A candidate that a drill gave clients has none after its time, until a newer snapshot says so."""
        for service in self.rehearsed:
            drill = service.endpoint.drill
            if drill is not None and now >= drill.until:
                service.route.take_out()

    def _interest(self) -> list[bytes]:
        names: list[bytes] = []
        for service in self.by_name.values():
            if service.unit_field is not None:
                names.append(service.unit_field)
            names.extend(header for _, header in service.context_fields)
            names.extend(service.cohorts)
            if service.endpoint.keep_request or service.endpoint.record is not None:
                names.extend(MEDIA_FIELDS)
            if service.endpoint.record is not None and service.endpoint.record.traced:
                names.append(TRACE_FIELD)
        return names


def upstreams(table: RoutingTable) -> set[Upstream]:
    """Every server that some version of the table uses."""
    return {
        upstream
        for route in table.by_name.values()
        for version in (route.endpoint.incumbent, route.endpoint.candidate)
        if version is not None
        for upstream in version.upstreams
    }
