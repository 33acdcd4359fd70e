"""Names of endpoints for the shell's completion: those that the running gateway has, or none."""

from __future__ import annotations

import msgspec
import typer

from console.client import DEFAULT_ADMIN, AdminClient, Refused, Unreachable
from console.text import visible
from domain.errors import ConfigError

TIMEOUT = 0.5
"""Seconds that somebody who pressed Tab waits at most for each step of the answer."""


class Named(msgspec.Struct, frozen=True):
    endpoint: str


class Names(msgspec.Struct, frozen=True):
    endpoints: tuple[Named, ...]


def names(admin: str, timeout: float) -> list[str]:
    """The endpoints of the gateway at `admin`; none when it is down, or refuses."""
    try:
        with AdminClient(admin, timeout=timeout) as client:
            found = msgspec.convert(client.endpoints(), Names)
    except (ConfigError, Refused, Unreachable, msgspec.ValidationError):
        return []
    return [one.endpoint for one in found.endpoints]


def endpoint_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """What `incomplete` may become. A name with characters that hide is none that a shell should insert."""
    admin = ctx.params.get("admin") or DEFAULT_ADMIN
    return [one for one in names(admin, TIMEOUT) if one.startswith(incomplete) and visible(one) == one]
