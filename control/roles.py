"""What each route needs: `dependencies=[needs(Role.VIEWER)]`, on every route of the admin API.

A route that declares nothing is refused when the application is made, so that a new one cannot be open by
being forgotten. What is open to everybody says so: `needs(Role.NOBODY)`.

The caller's role on an endpoint decides where the route's path names one as `{endpoint}`, or where the
route says that its query or its JSON body does: `needs(role, by=QUERY)`, `needs(role, by=BODY)`. Nothing else
that a caller writes is taken for it. Where none is named, the role is needed everywhere, unless the route
says `anywhere`: then the role on some endpoint will do, and the route itself shows, or changes, only what
`control.identity.of(request)` may: `permits(role, endpoint)`, `demand(role, endpoint)`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Literal

from fastapi import Depends, params
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import BaseRoute

from control.identity import Forbidden, Unauthenticated, of
from domain.role import Role

__all__ = ["BODY", "QUERY", "Needs", "Role", "declared", "demand_roles", "each", "needs"]

Place = Literal["path", "query", "body"]
PATH: Place = "path"
QUERY: Place = "query"
BODY: Place = "body"


class Needs:
    """The dependency that `needs` makes."""

    def __init__(self, role: Role, by: Place, anywhere: bool) -> None:
        self.role = role
        self.by = by
        self.anywhere = anywhere

    async def __call__(self, request: Request) -> None:
        """Raises Unauthenticated and Forbidden."""
        if self.role is Role.NOBODY:
            return
        identity = of(request)
        endpoint = await _named(request, self.by)
        if endpoint is not None or not self.anywhere:
            identity.demand(self.role, endpoint)
        elif identity.grants.highest < self.role:
            raise Forbidden(self.role, None, identity) if identity.known else Unauthenticated()


def needs(role: Role, *, by: Place = PATH, anywhere: bool = False) -> params.Depends:
    """A route's dependency: whoever asks has `role`, on the endpoint that the request names `by`.

    Answers 401 to nobody in particular and 403 to somebody with less. See the head of this module.
    """
    found: params.Depends = Depends(Needs(role, by, anywhere))
    return found


def declared(route: BaseRoute) -> Needs | None:
    """What `route` declares; None: nothing, or more than one thing."""
    if not isinstance(route, APIRoute):
        return None
    found = [one.dependency for one in route.dependencies if isinstance(one.dependency, Needs)]
    return found[0] if len(found) == 1 else None


def each(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """`routes`, and in place of an included router its own."""
    for one in routes:
        inner = getattr(one, "original_router", None)
        if inner is None:
            yield one
        else:
            yield from each(inner.routes)


def demand_roles(routes: Iterable[BaseRoute]) -> None:
    """Raises TypeError when one of `routes` declares no role."""
    found = [
        f"{','.join(sorted(getattr(one, 'methods', None) or ()))} {getattr(one, 'path', one)}"
        for one in each(routes)
        if declared(one) is None
    ]
    if found:
        raise TypeError(f"no role is declared by {'; '.join(found)}: write dependencies=[needs(Role.…)]")


async def _named(request: Request, by: Place) -> str | None:
    """The endpoint that the request names; None where it names none, or more than one."""
    if by == QUERY:
        given = request.query_params.getlist("endpoint")
        return given[0] if len(given) == 1 else None
    if by == BODY:
        try:
            document = json.loads(await request.body())
        except ValueError:
            return None  # whoever reads the body has the better message
        found = document.get("endpoint") if isinstance(document, dict) else None
    else:
        found = request.path_params.get("endpoint")
    return found if isinstance(found, str) else None
