"""Drills: begun on demand, listed, each with its report."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from control.answers import json
from control.identity import of, somebody
from control.panel import Panel
from control.roles import BODY, QUERY, Role, needs
from domain.snapshot import Fault

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class DrillRequest(BaseModel):
    """Whose rollback is to be rehearsed, with which fault (None: the configured one), and who says so."""

    model_config = ConfigDict(extra="forbid")

    endpoint: Name
    fault: Fault | None = None
    claimed_name: Name | None = Field(default=None, alias="as")


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/drills`."""
    router = APIRouter(prefix="/api/v1/drills", tags=["drills"])
    desk = panel.drills

    @router.get("", dependencies=[needs(Role.VIEWER, by=QUERY, anywhere=True)])
    async def listed(
        asked: Request, endpoint: Annotated[str | None, Query(max_length=64)] = None
    ) -> Response:
        """The newest drills first, and when each endpoint has its next one."""
        may = of(asked).permits
        found = await desk.listed(endpoint)
        schedule = [one for one in desk.schedule() if endpoint is None or one["endpoint"] == endpoint]
        return json(
            {
                "drills": [one for one in found if may(Role.VIEWER, str(one["endpoint"]))],
                "schedule": [one for one in schedule if may(Role.VIEWER, str(one["endpoint"]))],
            }
        )

    @router.post("", status_code=201, dependencies=[needs(Role.RELEASE, by=BODY)])
    async def start(request: DrillRequest, asked: Request) -> Response:
        """Begin a drill: its state is `faulty` until the fault has tripped the switch."""
        who = somebody(asked, request.claimed_name)
        return json(await desk.start(request.endpoint, request.fault, who), 201)

    @router.get("/{drill}", dependencies=[needs(Role.VIEWER, anywhere=True)])
    async def one(drill: str, asked: Request) -> Response:
        """One drill with its report."""
        found = await desk.find(drill)
        of(asked).demand(Role.VIEWER, str(found["endpoint"]))
        return json(found)

    return router
