"""Server-sent events (WHATWG HTML, section 9.2): what happens, as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import StreamingResponse

from control.answers import SAFE_HEADERS
from control.authentication import Gatehouse
from control.events import Event, Events, Listener
from control.identity import of
from control.panel import Panel
from control.roles import Role, needs

HEARTBEAT = 10.0
"""Seconds without an event after which a comment is sent, so that a dead reader is noticed."""


LOOK = 1.0
"""Seconds between two looks at whether the reader may still read."""


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/events`."""
    router = APIRouter(prefix="/api/v1", tags=["events"])

    @router.get("/events", response_class=StreamingResponse, dependencies=[needs(Role.VIEWER, anywhere=True)])
    async def events(request: Request) -> StreamingResponse:
        """Trips, re-arms, stages, configurations and flags from now on, until either side leaves.

        It ends when the reader's token or session does.
        """
        listener = panel.events.listen()
        reader = _Reader(panel.gatehouse, request)
        told = _told(panel.events, listener, reader)
        return StreamingResponse(told, 200, SAFE_HEADERS, "text/event-stream")

    return router


class _Reader:
    """Who reads, for as long as they may."""

    def __init__(self, gatehouse: Gatehouse, request: Request) -> None:
        self._gatehouse = gatehouse
        self._scope = request.scope
        self._who = of(request)

    async def stays(self) -> bool:
        """Whether they are still who they were, and may look at something."""
        found = await self._gatehouse.still(self._scope, self._who)
        if found is None or found.grants.highest < Role.VIEWER:
            return False
        self._who = found
        return True

    def may(self, event: Event) -> bool:
        """Whether they may be told of `event`: by its endpoint, where it is of one."""
        endpoint = event.data.get("endpoint")
        return self._who.permits(Role.VIEWER, endpoint if isinstance(endpoint, str) else None)


async def _told(events: Events, listener: Listener, reader: _Reader) -> AsyncIterator[bytes]:
    quiet = 0.0
    try:
        yield b": connected\n\n"
        while not listener.ended:
            event = await listener.next(LOOK)
            if not await reader.stays():
                return
            quiet += LOOK
            if event is not None and reader.may(event):
                quiet = 0.0
                yield encoded(event)
            elif quiet >= HEARTBEAT and not listener.ended:
                quiet = 0.0
                yield b":\n\n"
    finally:
        events.leave(listener)


def encoded(event: Event) -> bytes:
    """`event` as the bytes of one message of the stream."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (
        event.number,
        event.kind.encode(),
        orjson.dumps(dict(event.data)),
    )
