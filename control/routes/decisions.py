"""Single decisions: which version answered a request, why, and what it was made of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from control.answers import json
from control.deciding import UnknownDecision
from control.identity import Forbidden, of
from control.panel import Panel
from control.roles import Role, needs

RequestId = Annotated[str, Path(min_length=1, max_length=200)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/decisions`."""
    router = APIRouter(prefix="/api/v1/decisions", tags=["decisions"])

    @router.get("/{request_id}", dependencies=[needs(Role.VIEWER, anywhere=True)])
    async def why(request_id: RequestId, asked: Request) -> Response:
        """One request: arm, version with its lineage, reason, prediction, what was live then, its label."""
        who = of(asked)
        try:
            found = await panel.decisions.why(request_id)
            who.demand(Role.VIEWER, str(found["endpoint"]))
        except (UnknownDecision, Forbidden):
            if who.permits(Role.VIEWER):
                raise
            # Why there is none names every endpoint; that there is one elsewhere is nobody else's business.
            detail = f"there is no record of {request_id!r} on an endpoint that {who.name} may look at"
            raise UnknownDecision(detail) from None
        return json(found)

    return router
