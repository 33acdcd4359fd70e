"""What consoles ask for each second: every endpoint at a glance, and how one endpoint's numbers went."""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from control.answers import tagged
from control.clock import iso
from control.identity import of
from control.panel import Panel
from control.roles import Role, needs

Span = Literal["recent", "long"]
After = Annotated[int, Query(ge=0, le=2**53)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/overview` and `/api/v1/endpoints/{endpoint}/history`."""
    router = APIRouter(prefix="/api/v1", tags=["endpoints"])
    board = panel.switchboard

    @router.get("/overview", dependencies=[needs(Role.VIEWER, anywhere=True)])
    async def overview(request: Request) -> Response:
        """Every endpoint that the caller may see, those first that need attention; a second old at most."""
        rows = await panel.overview.rows()
        identity = of(request)
        told = {
            "endpoints": [row.told for row in rows if identity.permits(Role.VIEWER, row.name)],
            "generation": board.snapshot.generation,
            "config_digest": board.settings.digest,
            "workers": {
                "expected": panel.workers,
                "connected": len({one.number for one in board.link.workers}),
            },
            "shortcomings": panel.shortcomings(),
            "degraded": panel.degradations(),
        }
        return tagged(request, orjson.dumps(told))

    @router.get("/endpoints/{endpoint}/history", dependencies=[needs(Role.VIEWER)])
    async def history(request: Request, endpoint: str, span: Span = "recent", after: After = 0) -> Response:
        """How the endpoint's numbers went: `recent` ten minutes, `long` six hours; what follows `after`."""
        found = panel.sampler.history(endpoint)
        track = found.recent if span == "recent" else found.long
        told = {
            "endpoint": endpoint,
            "span": span,
            "began": iso(panel.sampler.began),
            **track.told(after),
            "marks": [{"at": one.at, "kind": one.kind, "text": one.text} for one in found.marks],
        }
        return tagged(request, orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY))

    return router
