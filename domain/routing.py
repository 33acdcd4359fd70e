"""Who is asked: arms, modes, versions, and the decision for one request."""

from __future__ import annotations

import enum
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Upstream:
    """One base URL of a version. `prefix` is the URL's path without a final slash."""

    host: str
    port: int
    tls: bool = False
    prefix: str = ""

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
