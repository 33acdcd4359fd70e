"""What every answer tells a browser not to do: fields of security, unless the route has set its own.

The console's page sets a policy of its own (`control.routes.console`); this one is for all the rest, which is
data, and the log-in page. No field permits another origin anything (CORS): there is none to be permitted.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from settings.access import AuthSettings

POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

FIELDS: Mapping[bytes, bytes] = {
    b"content-security-policy": POLICY.encode(),
    b"cache-control": b"no-store",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
STRICT = {b"strict-transport-security": b"max-age=31536000"}
"""Where browsers come by TLS (RFC 6797)."""


class Protection:
    """ASGI middleware that adds the fields."""

    def __init__(self, app: ASGIApp, access: AuthSettings) -> None:
        self._app = app
        self._fields = {**FIELDS, **(STRICT if access.secure else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def said(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                there = {name.lower() for name, _ in given}
                added = [(name, value) for name, value in self._fields.items() if name not in there]
                message = {**message, "headers": [*given, *added]}
            await send(message)

        await self._app(scope, receive, said)
