"""Releases: started, looked at, aborted. No route takes a step: evidence does."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.responses import Response

from control.answers import json
from control.clock import iso
from control.panel import Panel
from control.routes.endpoints import Reason
from gates.release import Release

EndpointName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class StartRequest(BaseModel):
    """Of which endpoint what is configured now is to be released."""

    model_config = ConfigDict(extra="forbid")

    endpoint: EndpointName


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
        return json({"releases": [shown(one) for one in await desk.listed(endpoint)]})

    @router.post("")
    async def start(request: StartRequest) -> Response:
        """Start a release; its gates are executed next."""
        return json(shown(await desk.start(request.endpoint)), 201)

    @router.get("/{release}")
    async def one(release: str) -> Response:
        """One release with every step that it took."""
        found = await desk.find(release)
        return json({**shown(found), "history": list(await desk.steps(release))})

    @router.post("/{release}/abort")
    async def abort(release: str, request: AbortRequest) -> Response:
        """Stop it: nobody is served by its candidate any more."""
        return json(shown(await desk.abort(release, request.reason)))

    return router


def shown(release: Release) -> dict[str, object]:
    """As JSON."""
    return {
        **asdict(release),
        "phase": release.phase.value,
        "since": iso(release.since),
        "opened": iso(release.opened),
    }
