"""What is sent for a notice: a URL, header fields and bodies. Secrets are in here, so nothing prints it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Credentials(NamedTuple):
    """Taken from the environment for one receiver: its URL, its key or token; "" where there is none."""

    url: str
    secret: str = ""

    def __repr__(self) -> str:
        return "<Credentials>"


@dataclass(frozen=True, slots=True)
class Message:
    """Requests that are posted one after the other; all have to be accepted.

    Attributes:
        url: where they go.
        bodies: JSON, each.
        headers: of every request.
        signing: keys that each request is signed with at the moment when it is sent; empty: unsigned.
        done: statuses that mean "it was delivered before", beside 2xx.
        login: a request that answers with the token to send along, see `notify.delivery`; None: needs none.
    """

    url: str = field(repr=False)
    bodies: tuple[bytes, ...]
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    signing: tuple[bytes, ...] = field(default=(), repr=False)
    done: frozenset[int] = frozenset()
    login: Login | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """A request whose JSON answer has the bearer token under `key`."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    key: str = "access_token"
