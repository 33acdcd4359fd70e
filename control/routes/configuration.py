"""The configuration and the flags in force."""

from __future__ import annotations

import json as standard_json
from hashlib import sha256

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from control.answers import SAFE_HEADERS, json
from control.flag_status import flag_status
from control.panel import Panel
from control.trip import OPERATOR

_DOCUMENT = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
"""How OpenAPI describes the body of a flag document: its own validation has the better messages."""


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/config` and `/api/v1/flags`."""
    router = APIRouter(prefix="/api/v1", tags=["configuration"])
    board = panel.switchboard

    @router.get("/config")
    async def config() -> Response:
        """Digest and effective configuration, secrets masked; `inert` names keys without effect so far."""
        return json(panel.configuration.shown())

    @router.post("/config/reload")
    async def reload() -> Response:
        """Read the configuration file again. A bad one is refused and the running one stays."""
        changed = await panel.configuration.reload()
        settings = board.settings
        return json(
            {
                "digest": settings.digest,
                "changed": changed,
                "generation": board.snapshot.generation,
                "inert": list(settings.inert),
            }
        )

    @router.get("/flags")
    async def flags() -> Response:
        """The flag document in force, in Unleash's format."""
        return Response(board.flags, 200, SAFE_HEADERS, "application/json")

    @router.put("/flags", openapi_extra={"requestBody": _DOCUMENT})
    async def replace(request: Request) -> Response:
        """Write a flag document to the file and serve it. A bad one is refused and the file stays."""
        document = await request.body()
        recorder = board.recorder
        submitted = recorder.event(
            "flags.submitted", "flags", "", actor=OPERATOR, after={"digest": sha256(document).hexdigest()}
        )
        await recorder.together(lambda on: None, submitted)
        generation = await panel.flags.replace(document)
        return json({"generation": generation, "features": _features(board.flags)})

    @router.get("/flags/status")
    async def status() -> Response:
        """Where the flags come from, how old they are, what is wrong, and what was switched off there."""
        return json(flag_status(panel))

    @router.post("/flags/refresh")
    async def refresh() -> Response:
        """Read the flag file, or fetch from Unleash, now instead of at the next look."""
        generation = await panel.flags.refresh()
        return json({"generation": generation, "features": _features(board.flags)})

    return router


def _features(document: bytes) -> int:
    return len(standard_json.loads(document)["features"])
