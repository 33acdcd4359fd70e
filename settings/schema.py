"""The configuration as frozen types, units resolved: seconds, bytes, fractions of one, basis points."""

from __future__ import annotations

from dataclasses import dataclass, field

from domain.routing import Mode, Version
from domain.snapshot import ShadowLimits, UnitSource


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address to listen on; `port` 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """How two predictions are compared.

    Attributes:
        kind: regression or classification (the other kinds of INTERFACES are refused until they exist).
        output: V2: the output tensor's name; plain JSON: a JSON pointer; None takes the first output.
        tolerance: regression: |Δ| / scale beyond which a prediction counts as flipped.
        scale: regression: what |Δ| is divided by, in the prediction's own unit.
        labels: classification: class names by index, for people.
        threshold: binary probability given as one number: at or above it the class is 1.
    """

    kind: str
    output: str | None = None
    tolerance: float = 0.1
    scale: float = 1.0
    labels: tuple[str, ...] = ()
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class DivergenceGuard:
    mean: float


@dataclass(frozen=True, slots=True)
class FlipsGuard:
    rate: float


@dataclass(frozen=True, slots=True)
class ErrorsGuard:
    excess: float


@dataclass(frozen=True, slots=True)
class LatencyGuard:
    """`slo` in seconds; any part may be absent."""

    p95_ratio: float | None = None
    p99_ratio: float | None = None
    slo: float | None = None
    slo_rate: float = 0.01


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """The guards of one endpoint. A guard that is None is not watched.

    Attributes:
        false_alarm: α, shared by all guards of the endpoint, for ever.
        vote_window: seconds in which one unit has one vote per guard; 0 lets every pair vote.
        breaker: consecutive hard failures that open a worker's local breaker; 0 is off.
    """

    false_alarm: float = 0.001
    vote_window: float = 600.0
    divergence: DivergenceGuard | None = None
    flips: FlipsGuard | None = None
    errors: ErrorsGuard | None = None
    latency: LatencyGuard | None = None
    breaker: int = 5


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the release plan: `weight` in basis points, `at_least` in seconds."""

    mode: Mode
    weight: int = 0
    pairs: int = 0
    at_least: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One endpoint as configured. `protocol` is the payload protocol: v2 or json."""

    name: str
    path: str
    protocol: str
    unit: UnitSource
    incumbent: Version
    compare: CompareSettings
    candidate: Version | None = None
    context: tuple[tuple[str, str], ...] = ()
    timeout: float = 2.0
    max_body: int = 8 * 1024 * 1024
    idempotent: bool = False
    flag: str | None = None
    shadow: ShadowLimits = field(default_factory=ShadowLimits)
    guards: GuardSettings = field(default_factory=GuardSettings)
    plan: tuple[Stage, ...] = (Stage(Mode.SHADOW),)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    Attributes:
        database: path of the SQLite file, absolute or relative to the working directory.
        flags_path: the flag file in Unleash's format; None when no endpoint names a flag.
        digest: SHA-256 (hex) of the canonical configuration.
        inert: keys that are valid and accepted but that this version does not act upon yet.
        document: the effective configuration as given, for `GET /api/v1/config`.
    """

    listen: Address
    admin: Address
    workers: int
    database: str
    flags_path: str | None
    endpoints: tuple[EndpointSettings, ...]
    digest: str
    inert: tuple[str, ...] = ()
    document: dict[str, object] = field(default_factory=dict)
    drain: float = 30.0

    def endpoint(self, name: str) -> EndpointSettings:
        """The endpoint called `name`; KeyError when there is none."""
        for endpoint in self.endpoints:
            if endpoint.name == name:
                return endpoint
        raise KeyError(name)
