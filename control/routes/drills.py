"""Drills: begun on demand, listed, each with its report."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from control.answers import json
from control.identity import claimed
from control.panel import Panel
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

    @router.get("")
    async def listed(endpoint: Annotated[str | None, Query(max_length=64)] = None) -> Response:
        """The newest drills first."""
        return json({"drills": list(await desk.listed(endpoint))})

    @router.post("")
    async def start(request: DrillRequest) -> Response:
        """Begin a drill: its state is `faulty` until the fault has tripped the switch."""
        return json(await desk.start(request.endpoint, request.fault, claimed(request.claimed_name)), 201)

    @router.get("/{drill}")
    async def one(drill: str) -> Response:
        """One drill with its report."""
        return json(await desk.find(drill))

    return router
