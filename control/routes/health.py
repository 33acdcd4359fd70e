"""Is it alive, is it ready, what does it measure."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from control.answers import SAFE_HEADERS, json, problem
from control.panel import Panel


def routes(panel: Panel) -> APIRouter:
    """`/healthz`, `/readyz`, `/metrics`."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> Response:
        """The control process answers."""
        return json({"alive": True})

    @router.get("/readyz")
    async def readyz() -> Response:
        """Every worker serves the newest snapshot, and what is decided can be kept."""
        reasons = panel.shortcomings()
        if reasons:
            return problem(
                503, "; ".join(reasons), more={"ready": False, "reasons": reasons, **panel.readiness()}
            )
        return json({"ready": True, **panel.readiness()})

    @router.get("/metrics")
    async def metrics() -> Response:
        """Everything measured, in Prometheus' text format."""
        await panel.work_out_reports()
        return Response(generate_latest(panel.metrics), 200, SAFE_HEADERS, CONTENT_TYPE_LATEST)

    return router
