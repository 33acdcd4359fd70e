"""Who is asked: arms, modes, versions, and the decision for one request."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

FULL_WEIGHT = 10_000
"""All of the traffic, in basis points."""


class Arm(enum.StrEnum):
    """A place a request may be sent."""

    INCUMBENT = "incumbent"
    CANDIDATE = "candidate"

    @property
    def other(self) -> Arm:
        return Arm.CANDIDATE if self is Arm.INCUMBENT else Arm.INCUMBENT


class Mode(enum.StrEnum):
    """What a release stage does with exposed units inside its weight."""

    SHADOW = "shadow"
    CANARY = "canary"
    GUARDED = "guarded"


class Reason(enum.StrEnum):
    """Why a decision fell as it did."""

    NO_CANDIDATE = "no candidate"
    TRIPPED = "tripped"
    SHADOW = "shadow stage"
    NOT_EXPOSED = "not exposed by the flag"
    OUTSIDE_WEIGHT = "outside the plan's weight"
    INSIDE_WEIGHT = "inside the plan's weight"
    BREAKER = "breaker open in this worker"


@dataclass(frozen=True, slots=True)
class Decision:
    """Where one request goes, and why.

    `mirror` is the arm that may be asked as well, at the shadow share; None for nobody.
    """

    arm: Arm
    mirror: Arm | None
    reason: Reason
    generation: int


class Balance(enum.StrEnum):
    """How one of a version's servers is chosen for a request."""

    LEAST_IN_FLIGHT = "least_in_flight"  # the least busy of all
    TWO_CHOICES = "two_choices"  # the less busy of two drawn at random: for many servers and many workers


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one worker's connections to one server.

    Attributes:
        max: connections.
        pending: requests that wait for a connection.
        uploads: share (of one) of the connections that bodies still on their way from clients may hold.
        connect_timeout: seconds, TLS handshake included.
    """

    max: int = 512
    pending: int = 1024
    uploads: float = 0.5
    connect_timeout: float = 1.0


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """`GET path` every so many seconds: any 2xx in time passes.

    `healthy` passes in a row bring a server back, `unhealthy` failures in a row take it out.
    """

    path: str
    every: float = 5.0
    timeout: float = 1.0
    healthy: int = 2
    unhealthy: int = 3


@dataclass(frozen=True, slots=True)
class Ejection:
    """When a server that keeps failing real requests is left out for a while.

    Attributes:
        consecutive_errors: failures in a row (5xx, cut or late answers) that eject; 0 is off.
        pause: seconds, times the number of ejections so far.
        longest: seconds that no ejection exceeds.
        share: of one; never more of a version's servers than this are ejected at once.
    """

    consecutive_errors: int = 5
    pause: float = 30.0
    longest: float = 300.0
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Trust:
    """TLS to a server: paths of PEM files, and the name its certificate must carry.

    Without `ca` the system's authorities are trusted; without `server_name` the URL's host is the name.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How a worker treats one server.

    `slow_start`: seconds over which a server that came back gets its full share again; `resolve`: seconds
    between look-ups of its host's addresses.
    """

    connections: ConnectionLimits = ConnectionLimits()
    health: HealthCheck | None = None
    ejection: Ejection = Ejection()
    trust: Trust = Trust()
    slow_start: float = 10.0
    resolve: float = 30.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """One base URL of a version. `prefix` is the URL's path without a final slash."""

    host: str
    port: int
    tls: bool = False
    prefix: str = ""
    policy: Policy = field(default=Policy(), repr=False)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"


@dataclass(frozen=True, slots=True)
class Version:
    """One deployed model version. `path` replaces the endpoint's path when the server wants another."""

    name: str
    upstreams: tuple[Upstream, ...]
    path: str | None = None
    balance: Balance = Balance.LEAST_IN_FLIGHT
