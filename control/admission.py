"""Who may use the admin API: until there is authentication, only programs on this machine, and no web page.

A page from anywhere can make a browser on this machine send requests here. So the Host must be a loopback
name (a rebound DNS name is not), and whatever changes something must come from no page or from our own:
Origin, if present, is ours; the body, if present, is JSON, which a plain HTML form cannot send.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control.answers import problem

LONGEST_BODY = 4 * 1024 * 1024
"""Bytes of a request."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(localhost|127(?:\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)


class Admission:
    """ASGI middleware that refuses whoever may not, and reads a bounded body for whoever may."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refusal = _refusal(scope)
        if refusal is None and scope["method"] not in _SAFE_METHODS:
            body = await _body(receive)
            if body is None:
                refusal = 413, f"a request has at most {LONGEST_BODY} bytes"
            elif body and _media_type(scope) != "application/json":
                refusal = 415, "send the body as application/json"
            else:
                receive = _replay(body, receive)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            status, detail = refusal
            await problem(status, detail, {"connection": "close"})(scope, receive, send)


def _refusal(scope: Scope) -> tuple[int, str] | None:
    client = scope.get("client")
    if not client or not _loopback(client[0]):
        return 403, "the admin API is served to programs on this machine only"
    hosts = _values(scope, b"host")
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        return 421, "the Host must be 127.0.0.1, localhost or [::1]"
    if scope["method"] in _SAFE_METHODS:
        return None
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in _values(scope, b"origin")):
        return 403, "a page of another origin may not change anything here"
    if any(site not in ("same-origin", "none") for site in _values(scope, b"sec-fetch-site")):
        return 403, "a page of another site may not change anything here"
    if _values(scope, b"content-type") and _media_type(scope) != "application/json":
        return 415, "send the body as application/json"
    return None


def _loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _media_type(scope: Scope) -> str:
    return _first(_values(scope, b"content-type")).partition(";")[0].strip().lower()


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for field, value in scope["headers"] if field == name]


def _first(values: Iterable[str]) -> str:
    return next(iter(values), "")


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or None when it is too long."""
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(parts)
        parts += message.get("body", b"")
        if len(parts) > LONGEST_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
