"""The configuration and the flags in force."""

from __future__ import annotations

import json as standard_json
from hashlib import sha256

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from control.answers import SAFE_HEADERS, json
from control.flag_status import flag_status
from control.identity import of
from control.panel import Panel
from control.roles import Role, needs

_DOCUMENT = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
"""How OpenAPI describes the body of a flag document: its own validation has the better messages."""


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/config` and `/api/v1/flags`."""
    router = APIRouter(prefix="/api/v1", tags=["configuration"])
    board = panel.switchboard

    @router.get("/config", dependencies=[needs(Role.VIEWER)])
    async def config() -> Response:
        """Digest and effective configuration, secrets masked; `inert` names keys without effect so far."""
        return json(panel.configuration.shown())

    @router.post("/config/reload", dependencies=[needs(Role.ADMIN)])
    async def reload(request: Request) -> Response:
        """Read the configuration file again. A bad one is refused and the running one stays."""
        changed = await panel.configuration.reload(of(request))
        settings = board.settings
        return json(
            {
                "digest": settings.digest,
                "changed": changed,
                "generation": board.snapshot.generation,
                "inert": list(settings.inert),
            }
        )

    @router.get("/flags", dependencies=[needs(Role.VIEWER)])
    async def flags() -> Response:
        """The flag document in force, in Unleash's format."""
        return Response(board.flags, 200, SAFE_HEADERS, "application/json")

    @router.put("/flags", openapi_extra={"requestBody": _DOCUMENT}, dependencies=[needs(Role.RELEASE)])
    async def replace(request: Request) -> Response:
        """Write a flag document to the file and serve it. A bad one is refused and the file stays."""
        document = await request.body()
        recorder, who = board.recorder, of(request)
        submitted = recorder.event(
            "flags.submitted", "flags", "", actor=who.name, authentication=who.authentication,
            after={"digest": sha256(document).hexdigest()},
        )  # fmt: skip
        await recorder.together(lambda on: None, submitted)
        generation = await panel.flags.replace(document)
        return json({"generation": generation, "features": _features(board.flags)})

    @router.get("/flags/status", dependencies=[needs(Role.VIEWER)])
    async def status() -> Response:
        """Where the flags come from, how old they are, what is wrong, and what was switched off there."""
        return json(flag_status(panel))

    @router.post("/flags/refresh", dependencies=[needs(Role.OPERATOR)])
    async def refresh() -> Response:
        """Read the flag file, or fetch from Unleash, now instead of at the next look."""
        generation = await panel.flags.refresh()
        return json({"generation": generation, "features": _features(board.flags)})

    return router


def _features(document: bytes) -> int:
    return len(standard_json.loads(document)["features"])
