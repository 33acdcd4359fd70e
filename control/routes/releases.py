"""Releases: started, looked at, approved, aborted. No route takes a step: evidence does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from control.answers import json
from control.identity import of, somebody
from control.panel import Panel
from control.release_view import shown
from control.roles import BODY, QUERY, Role, needs
from control.routes.endpoints import Reason
from domain.errors import ConfigError
from gates.release import Release

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
    claimed_name: PersonName | None = Field(default=None, alias="as")


class AbortRequest(BaseModel):
    """Why the release must not go on."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/releases`."""
    router = APIRouter(prefix="/api/v1/releases", tags=["releases"])
    desk = panel.releases

    async def permitted(asked: Request, role: Role, release: str) -> Release:
        found = await desk.find(release)
        of(asked).demand(role, found.endpoint)
        return found

    @router.get("", dependencies=[needs(Role.VIEWER, by=QUERY, anywhere=True)])
    async def listed(
        asked: Request, endpoint: Annotated[str | None, Query(max_length=64)] = None
    ) -> Response:
        """The newest releases first."""
        may = of(asked).permits
        found = [one for one in await desk.listed(endpoint) if may(Role.VIEWER, one.endpoint)]
        return json({"releases": [await shown(panel, one) for one in found]})

    @router.post("", status_code=201, dependencies=[needs(Role.RELEASE, by=BODY)])
    async def start(request: StartRequest, asked: Request) -> Response:
        """Start a release; its gates are executed next."""
        who = somebody(asked, request.claimed_name)
        return json(await shown(panel, await desk.start(request.endpoint, who)), 201)

    @router.get("/{release}", dependencies=[needs(Role.VIEWER, anywhere=True)])
    async def one(release: str, asked: Request) -> Response:
        """One release with every step that it took."""
        found = await permitted(asked, Role.VIEWER, release)
        return json({**await shown(panel, found), "history": list(await desk.steps(release))})

    @router.post("/{release}/abort", dependencies=[needs(Role.OPERATOR, anywhere=True)])
    async def abort(release: str, request: AbortRequest, asked: Request) -> Response:
        """Stop it: nobody is served by its candidate any more."""
        await permitted(asked, Role.OPERATOR, release)
        return json(await shown(panel, await desk.abort(release, request.reason, of(asked))))

    @router.post("/{release}/approve", dependencies=[needs(Role.RELEASE, anywhere=True)])
    async def approve(release: str, request: ApproveRequest, asked: Request) -> Response:
        """One person's word that it may begin, beside its gates; it goes on when all have given it."""
        await permitted(asked, Role.RELEASE, release)
        who = somebody(asked, request.claimed_name)
        if not who.authentication:
            raise ConfigError("as", None, "an approval is somebody's: say whose it is")
        found = await desk.approve(release, request.reason, who)
        return json(await shown(panel, found))

    return router
