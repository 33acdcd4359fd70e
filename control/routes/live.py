"""What was live at an instant."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.responses import Response

from audit import store, times
from control import live_view
from control.answers import json
from control.panel import Panel
from control.roles import QUERY, Role, needs
from control.switchboard import UnknownEndpoint
from domain.errors import ConfigError, StateUnavailable

Text = Annotated[str | None, Query(max_length=200)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/live`."""
    router = APIRouter(prefix="/api/v1", tags=["audit"])
    recorder = panel.switchboard.recorder

    @router.get("/live", dependencies=[needs(Role.VIEWER, by=QUERY)])
    async def live(at: Text = None, endpoint: Text = None) -> Response:
        """Versions with lineage, weights, flags, switches and configuration at `at` (ISO 8601), or now."""
        whole = await recorder.flush()
        lacking = recorder.lacking_since
        now = recorder.now()
        wanted = now if at is None else _instant(at, now)
        if not whole and lacking is not None and wanted >= lacking:
            raise StateUnavailable(
                f"what happened from {times.iso(lacking)} on is not recorded yet: {recorder.failure}"
            )

        def read(on: Connection) -> dict[str, object]:
            first = store.first_time(on)
            if at is not None and (first is None or wanted < first):
                begins = "it is empty" if first is None else f"it begins at {times.iso(first)}"
                raise ConfigError("at", at, f"the audit chain does not reach back so far: {begins}")
            if endpoint is not None and endpoint not in live_view.known_endpoints(on):
                raise UnknownEndpoint(f"no endpoint was ever called {endpoint!r}")
            return live_view.read(on, wanted, endpoint)

        return json(await panel.switchboard.keeper.run(lambda database: database.read(read)))

    return router


def _instant(at: str, now: int) -> int:
    try:
        wanted = times.parse(at)
    except ValueError as error:
        raise ConfigError("at", at, times.ALLOWED) from error
    if wanted > now:
        raise ConfigError("at", at, f"nobody knows yet: it is {times.iso(now)}")
    return wanted
