"""Releases: started, looked at, approved, aborted. No route takes a step: evidence does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from control.answers import json
from control.identity import claimed
from control.panel import Panel
from control.release_view import shown
from control.routes.endpoints import Reason

PersonName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
EndpointName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class StartRequest(BaseModel):
    """Of which endpoint what is configured now is to be released, and who says so."""

    model_config = ConfigDict(extra="forbid")

    endpoint: EndpointName
    claimed_name: PersonName | None = Field(default=None, alias="as")


class ApproveRequest(BaseModel):
    """Why the release may begin, and whose word that is."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    claimed_name: PersonName = Field(alias="as")


class AbortRequest(BaseModel):
    """Why the release must not go on."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/releases`."""
    router = APIRouter(prefix="/api/v1/releases", tags=["releases"])
    desk = panel.releases

    @router.get("")
    async def listed(endpoint: Annotated[str | None, Query(max_length=64)] = None) -> Response:
        """The newest releases first."""
        return json({"releases": [await shown(panel, one) for one in await desk.listed(endpoint)]})

    @router.post("")
    async def start(request: StartRequest) -> Response:
        """Start a release; its gates are executed next."""
        return json(
            await shown(panel, await desk.start(request.endpoint, claimed(request.claimed_name))), 201
        )

    @router.get("/{release}")
    async def one(release: str) -> Response:
        """One release with every step that it took."""
        found = await desk.find(release)
        return json({**await shown(panel, found), "history": list(await desk.steps(release))})

    @router.post("/{release}/abort")
    async def abort(release: str, request: AbortRequest) -> Response:
        """Stop it: nobody is served by its candidate any more."""
        return json(await shown(panel, await desk.abort(release, request.reason)))

    @router.post("/{release}/approve")
    async def approve(release: str, request: ApproveRequest) -> Response:
        """One person's word that it may begin, beside its gates; it goes on when all have given it."""
        found = await desk.approve(release, request.reason, claimed(request.claimed_name))
        return json(await shown(panel, found))

    return router
