"""Promotion gates: executed, and what they found. There is no route that changes a verdict."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from control.answers import json
from control.panel import Panel
from control.roles import Role, needs


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/gates`."""
    router = APIRouter(prefix="/api/v1/gates", tags=["gates"])

    @router.post("/{endpoint}/run", dependencies=[needs(Role.RELEASE)])
    async def run(endpoint: str) -> Response:
        """Execute every gate of the endpoint, against its real servers; answers when all have a verdict."""
        return json((await panel.gates.run(endpoint)).document())

    @router.get("/{endpoint}", dependencies=[needs(Role.VIEWER)])
    async def latest(endpoint: str) -> Response:
        """What the last run found, and whether that still holds."""
        return json((await panel.gates.latest(endpoint)).document())

    return router
