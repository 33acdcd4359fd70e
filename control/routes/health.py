"""Is it alive, is it ready, what does it measure."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from control.answers import SAFE_HEADERS, json, problem
from control.exposition import PROMETHEUS, ended, negotiated, written
from control.identity import of
from control.panel import Panel
from control.roles import Role, needs


def routes(panel: Panel) -> APIRouter:
    """`/healthz`, `/readyz`, `/metrics`, `/metrics/models`."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", dependencies=[needs(Role.NOBODY)])
    async def healthz() -> Response:
        """The control process answers."""
        return json({"alive": True})

    @router.get("/readyz", dependencies=[needs(Role.NOBODY)])
    async def readyz(request: Request) -> Response:
        """Every worker serves the newest snapshot, and what is decided can be kept.

        Why not, where the store is, and what is degraded is told to those who may look.
        """
        reasons = panel.shortcomings()
        if not of(request).permits(Role.VIEWER):
            return problem(503, "not ready", more={"ready": False}) if reasons else json({"ready": True})
        if reasons:
            return problem(
                503, "; ".join(reasons), more={"ready": False, "reasons": reasons, **panel.readiness()}
            )
        return json({"ready": True, **panel.readiness()})

    @router.get("/metrics", dependencies=[needs(Role.VIEWER)])
    async def metrics(request: Request) -> Response:
        """Everything measured, in Prometheus' text format, or OpenMetrics for who asks for it."""
        await panel.work_out_reports()
        form = negotiated(request.headers.get("accept", ""))
        parts: list[str] = []
        for family in panel.metrics.collect():
            parts.append(written(family, form))
            await asyncio.sleep(0)  # kills, and everybody else, between two families
        return Response("".join((*parts, ended(form))), 200, SAFE_HEADERS, form.media_type)

    @router.get("/metrics/models", dependencies=[needs(Role.VIEWER)])
    async def models() -> Response:
        """The model servers' own metrics, as they said them last, in Prometheus' text format."""
        parts: list[str] = []
        for part in panel.scraper.pages():
            parts.append(part)
            await asyncio.sleep(0)
        return Response("".join(parts), 200, SAFE_HEADERS, PROMETHEUS.media_type)

    return router
