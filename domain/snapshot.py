"""The Snapshot: all that a gateway worker knows.

The control process builds one for every change (configuration, flag, weight, trip) and pushes it to each
worker, which swaps it in between two requests. So a request is decided by exactly one generation, and a
worker whose control process is dead serves on from the last one it has.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

from domain.errors import ConfigError
from domain.routing import FULL_WEIGHT, Mode, Version


class UnitKind(enum.StrEnum):
    """Where the unit of a request is read from."""

    HEADER = "header"
    BODY = "body"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class UnitSource:
    """`header:NAME` (lower case), `body:/json/pointer`, or `request` (each request its own unit)."""

    kind: UnitKind
    name: str = ""

    def __str__(self) -> str:
        return self.kind.value if self.kind is UnitKind.REQUEST else f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True)
class ShadowLimits:
    """How much may be mirrored. Shares in basis points; the rest bounds what one worker holds at once.

    `noise_share` of the mirrored requests go to the incumbent a second time: what differs between its own
    two answers is noise.
    """

    share: int = FULL_WEIGHT
    max_in_flight: int = 256
    max_bytes: int = 64 * 1024 * 1024
    noise_share: int = 0


class Fault(enum.StrEnum):
    """What a drill does to the candidate's answers."""

    FLIP = "flip"
    NOISE = "noise"
    ERROR = "error"
    LATENCY = "latency"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Drill:
    """A rehearsed rollback that is under way: which of the candidate's answers are spoilt, and until when.

    Attributes:
        id: of the drill, as its header says it.
        share: of the candidate's answers, in basis points.
        served: clients may get a spoilt answer; False: only mirrors, whose answers no client sees.
        until: monotonic seconds of this machine, from which on no answer is spoilt whoever says so.
        amount: noise: its standard deviation as a share of the number; latency: seconds added.
        kind, output: what the prediction is, and where, as `compare` has them.
    """

    id: str
    fault: Fault
    share: int
    served: bool
    until: float
    amount: float = 0.0
    kind: str = "classification"
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Which requests are recorded in the prediction log.

    Attributes:
        share: of the requests, in basis points.
        required: whether a request is refused whose record could not be kept.
        reading: how payloads are read and what is kept of them, for the log (see monitoring.log.wire).
        traced: whether the request's trace context goes along.
    """

    share: int
    required: bool
    reading: bytes
    traced: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One prediction service as a worker sees it.

    Attributes:
        timeout: seconds until the client gets an answer, whatever happens.
        max_body: bytes, for a request; a mirrored answer that is longer is not kept.
        context: flag context fields beside the unit, as (field, lower-case header) pairs.
        flag: name of the exposure flag; None exposes every unit.
        weight: the release plan's share for the candidate, in basis points.
        release: what the weight's bucket is salted with, so that each release draws its own units.
        tripped: the kill switch; True sends every request to the incumbent and mirrors none.
        breaker: consecutive hard failures after which a worker stops asking the candidate; 0 is off.
        idempotent: whether a request may be sent again when a reused connection died unanswered.
        max_in_flight: requests that one worker answers at once; None for no bound of the endpoint's own.
        adaptive: whether that bound follows the measured latency, with `max_in_flight` as its upper end.
        cohorts: lower-case header names whose values travel with each pair.
        keep_request: whether the request's body travels with each pair, for what reads its features.
        protocol: how payloads are written.
        compare: the settings of the comparison (JSON), where a worker may have to compare; empty elsewhere.
        drill: the drill that spoils the candidate's answers; None, nearly always.
        record: what the prediction log has of the requests; None: nothing.
    """

    name: str
    path: str
    incumbent: Version
    candidate: Version | None = None
    unit: UnitSource = field(default_factory=lambda: UnitSource(UnitKind.REQUEST))
    context: tuple[tuple[str, str], ...] = ()
    timeout: float = 2.0
    max_body: int = 8 * 1024 * 1024
    flag: str | None = None
    mode: Mode = Mode.SHADOW
    weight: int = 0
    release: str = ""
    tripped: bool = True
    shadow: ShadowLimits = field(default_factory=ShadowLimits)
    breaker: int = 5
    idempotent: bool = False
    max_in_flight: int | None = None
    adaptive: bool = False
    cohorts: tuple[str, ...] = ()
    keep_request: bool = False
    protocol: str = "v2"
    compare: bytes = b""
    drill: Drill | None = None
    record: Recording | None = None

    def __post_init__(self) -> None:
        where = f"endpoints.{self.name}"
        _demand(self.path.startswith("/"), f"{where}.path", self.path, "a path starts with '/'")
        _demand(bool(self.incumbent.upstreams), f"{where}.incumbent.urls", (), "give at least one URL")
        if self.candidate is not None:
            _demand(bool(self.candidate.upstreams), f"{where}.candidate.urls", (), "give at least one URL")
            same = self.candidate.name == self.incumbent.name
            _demand(
                not same,
                f"{where}.candidate.version",
                self.candidate.name,
                "name another version than the incumbent's",
            )
        _demand(0 <= self.weight <= FULL_WEIGHT, f"{where}.weight", self.weight, "0 to 10000 basis points")
        shadow_weight = self.mode is Mode.SHADOW and self.weight
        _demand(not shadow_weight, f"{where}.weight", self.weight, "a shadow stage serves nobody: weight 0")
        _demand(
            0 <= self.shadow.share <= FULL_WEIGHT,
            f"{where}.shadow.share",
            self.shadow.share,
            "0 to 10000 basis points",
        )
        _demand(self.timeout > 0, f"{where}.timeout", self.timeout, "more than 0 seconds")
        _demand(self.max_body > 0, f"{where}.max_body", self.max_body, "more than 0 bytes")
        _demand(self.breaker >= 0, f"{where}.breaker", self.breaker, "0 (off) or more errors")


@dataclass(frozen=True, slots=True)
class Lookup:
    """Who is exposed is asked of the control process, unit by unit, and held in these bounds.

    Attributes:
        source: what the answers are good for; another source makes them void.
        age: seconds that an answer may decide.
        most: answers that a worker holds.
    """

    source: str
    age: float = 60.0
    most: int = 100_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The frozen routing state.

    Attributes:
        flags: a document in Unleash's client-features format (JSON bytes).
        lookup: where there is no such document, because the flags' rules cannot be had; None elsewhere.
        environment, app_name: what a flag's constraints on them see; None is a field that is missing.
    """

    generation: int
    endpoints: tuple[Endpoint, ...]
    flags: bytes = b'{"version":1,"features":[]}'
    config_digest: str = ""
    lookup: Lookup | None = None
    environment: str | None = None
    app_name: str | None = None

    def __post_init__(self) -> None:
        _demand(self.generation >= 0, "generation", self.generation, "0 or more")
        names: set[str] = set()
        paths: set[str] = set()
        for endpoint in self.endpoints:
            _demand(endpoint.name not in names, "endpoints", endpoint.name, "endpoint names are unique")
            _demand(
                endpoint.path not in paths,
                f"endpoints.{endpoint.name}.path",
                endpoint.path,
                "paths are unique",
            )
            names.add(endpoint.name)
            paths.add(endpoint.path)

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint called `name`; KeyError when there is none."""
        for endpoint in self.endpoints:
            if endpoint.name == name:
                return endpoint
        raise KeyError(name)

    def incumbents_only(self) -> Snapshot:
        """The same with every candidate out: what a worker serves until it knows the true state."""
        tripped = tuple(replace(e, tripped=True, mode=Mode.SHADOW, weight=0) for e in self.endpoints)
        return replace(self, generation=0, endpoints=tripped)


def _demand(holds: bool, path: str, value: object, allowed: str) -> None:
    if not holds:
        raise ConfigError(path, value, allowed)
