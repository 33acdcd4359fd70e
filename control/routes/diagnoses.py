"""Diagnoses: what changed on an endpoint, and what explains it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from control.answers import json
from control.panel import Panel
from control.roles import Role, needs
from monitoring.diagnosis.changes import Signal

Text = Annotated[str | None, Query(max_length=200)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/diagnoses`."""
    router = APIRouter(prefix="/api/v1/diagnoses", tags=["diagnoses"])

    @router.get("/{endpoint}", dependencies=[needs(Role.VIEWER)])
    async def diagnose(endpoint: str, at: Text = None, signal: Signal | None = None) -> Response:
        """What changed near `at` (ISO 8601), or before the last trip: code, model or data, best first."""
        return json(await panel.diagnoses.diagnose(endpoint, at, signal))

    return router
