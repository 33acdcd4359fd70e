"""Single decisions: which version answered a request, why, and what it was made of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from control.answers import json
from control.panel import Panel

RequestId = Annotated[str, Path(min_length=1, max_length=200)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/decisions`."""
    router = APIRouter(prefix="/api/v1/decisions", tags=["decisions"])

    @router.get("/{request_id}")
    async def why(request_id: RequestId) -> Response:
        """One request: arm, version with its lineage, reason, prediction, what was live then, its label."""
        return json(await panel.decisions.why(request_id))

    return router
