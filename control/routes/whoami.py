"""Who is asking, and what they may do: what a client offers, the server decides again."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from control.answers import json
from control.identity import of
from control.panel import Panel
from control.roles import Role, needs


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/whoami`."""
    router = APIRouter(prefix="/api/v1", tags=["identity"])

    @router.get("/whoami", dependencies=[needs(Role.VIEWER, anywhere=True)])
    async def whoami(request: Request) -> Response:
        """The caller's name and role, everywhere and where it is another one on an endpoint."""
        identity = of(request)
        everywhere = identity.grants.on(None)
        named = {name: identity.grants.on(name) for name in panel.switchboard.judges}
        expires = identity.expires
        return json(
            {
                "name": identity.name,
                "authentication": identity.authentication,
                "role": everywhere.word,
                "endpoints": {name: role.word for name, role in named.items() if role is not everywhere},
                "expires": None if expires is None else datetime.fromtimestamp(expires, UTC).isoformat(),
            }
        )

    return router
