"""Drift: how far requests and predictions are from what they were, and which slices are slow."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from control.answers import json
from control.drifting import DAY, MOST_HOURS
from control.identity import of
from control.panel import Panel
from control.roles import Role, needs
from control.routes.endpoints import Reason

Hours = Annotated[int, Query(ge=1, le=MOST_HOURS)]


class RelearnRequest(BaseModel):
    """Why what requests are now shall be the reference."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/endpoints/{endpoint}/drift` and below."""
    router = APIRouter(prefix="/api/v1/endpoints", tags=["drift"])

    @router.get("/{endpoint}/drift", dependencies=[needs(Role.VIEWER)])
    async def drift(endpoint: str, hours: Hours = DAY) -> Response:
        """Each column against its reference and the week before, the alarm, and latency by slice."""
        return json(await panel.drift.view(endpoint, hours))

    @router.post("/{endpoint}/drift/relearn", dependencies=[needs(Role.RELEASE)])
    async def relearn(endpoint: str, request: RelearnRequest, asked: Request) -> Response:
        """Retire the reference that was learned, and learn another one from what comes now."""
        return json(await panel.drift.relearn(endpoint, request.reason, of(asked)))

    return router
