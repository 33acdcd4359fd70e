"""Who asks the admin API for something, how that is known, and what they may do.

Routes make an `Identity` and hand it on; whatever decides, and whatever is recorded, knows nothing else of a
request. `control.authentication` establishes it once for each request; `of` reads it.

Where authentication is not configured, which only loopback may be without, everybody is the same operator
and may do everything. A name is then what the caller says it is. That is kept as `claimed` beside the name,
in the audit chain and with each approval, so that nobody reads more into it. Where authentication is
configured a claimed name is refused: the caller has one.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

from starlette.requests import HTTPConnection

from control.trip import OPERATOR
from domain.errors import ConfigError, PointsmanError
from domain.role import Grants, Role
from gates.approvals import person

CLAIMED = "claimed"

_KEY = "pointsman.identity"


class Identity(NamedTuple):
    """Somebody.

    Attributes:
        authentication: how `name` was established: `token:NAME`, `oidc:ISSUER`, `claimed`, or "" for nobody
            in particular.
        grants: what they may do.
        known: whether it is somebody, or authentication is not configured.
        expires: when this ends, seconds since the epoch; None: not by itself.
        session: the id of the session that this came with; "" for none.
    """

    name: str
    authentication: str
    grants: Grants = Grants()
    known: bool = True
    expires: float | None = None
    session: str = ""

    def permits(self, role: Role, endpoint: str | None = None) -> bool:
        """Whether they have `role` on `endpoint`; None: everywhere."""
        return self.grants.on(endpoint) >= role

    def demand(self, role: Role, endpoint: str | None = None) -> None:
        """Raises Unauthenticated or Forbidden unless `permits`."""
        if not self.permits(role, endpoint):
            raise Forbidden(role, endpoint, self) if self.known else Unauthenticated()


NOBODY = Identity(OPERATOR, "", Grants.everywhere(Role.ADMIN))
"""Somebody who reached an admin API without authentication, and gave no name."""

STRANGER = Identity("stranger", "", known=False)
"""Somebody who showed nothing to an admin API that asks for it."""


class Unauthenticated(PointsmanError):  # noqa: N818 - what the caller is
    """The caller has to say who they are."""

    def __init__(
        self, detail: str = "say who you are: Authorization: Bearer TOKEN, or log in at /login"
    ) -> None:
        super().__init__(detail)


class Forbidden(PointsmanError):  # noqa: N818 - what it is
    """The caller is known, and may not do this."""

    def __init__(self, role: Role, endpoint: str | None, identity: Identity) -> None:
        where = "everywhere" if endpoint is None else f"on endpoint {endpoint!r}"
        has = identity.grants.on(endpoint)
        super().__init__(f"this needs the role {role.word} {where}; {identity.name} has {has.word} there")


def of(request: HTTPConnection) -> Identity:
    """Who sent `request`. Whoever no one has looked at is a stranger."""
    found = request.scope.get(_KEY)
    return found if isinstance(found, Identity) else STRANGER


def found(scope: MutableMapping[str, Any], identity: Identity) -> None:
    """`identity` sent the request of `scope`."""
    scope[_KEY] = identity


def claimed(name: str | None) -> Identity:
    """Whoever says to be `name`. Raises ConfigError when that is no person's name."""
    return NOBODY if name is None else NOBODY._replace(name=person(name), authentication=CLAIMED)


def somebody(request: HTTPConnection, name: str | None = None) -> Identity:
    """Who sent `request`; `name` is who they say they are, where nobody can be asked to prove it.

    Raises ConfigError when that is no person's name, or when the caller is known by other means.
    """
    identity = of(request)
    if not identity.known or identity.authentication:
        if name is not None:
            raise ConfigError(
                "as", name[:80], f"leave it out: you are known as {identity.name} ({identity.authentication})"
            )
        return identity
    return claimed(name)
