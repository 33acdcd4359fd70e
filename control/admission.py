"""What the admin API listens to at all: without authentication, programs on this machine and no web page.

A page from anywhere can make a browser on this machine send requests here. So where the admin API is on
loopback the Host must be a loopback name, or the configured one (a rebound DNS name is neither), and whatever
changes something must come from no page or from our own: Origin, if present, is ours; the body, if present,
is JSON, which a plain HTML form cannot send. Only the log-in page's own form may.

On another address whoever asks has to say who they are. A name that somebody else's DNS has led here brings
no cookie of ours along, so the Host says nothing there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control.answers import problem
from settings.access import AuthSettings

LONGEST_BODY = 4 * 1024 * 1024
"""Bytes of a request."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(localhost|127(?:\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)


class Admission:
    """ASGI middleware that refuses whoever may not, and reads a bounded body for whoever may."""

    def __init__(self, app: ASGIApp, access: AuthSettings, local: bool = True) -> None:
        """`local`: whether the admin API is on loopback."""
        self._app = app
        self._access = access
        self._local = local
        self._own = urlsplit(access.url).netloc if access.url else None  # "" would be an empty Host's
        self._scheme = "http" if access.certificate is None else "https"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None and scope["method"] not in _SAFE_METHODS:
            body = await _body(receive)
            if body is None:
                refusal = 413, f"a request has at most {LONGEST_BODY} bytes"
            elif body and not _readable(scope):
                refusal = 415, "send the body as application/json"
            else:
                receive = _replay(body, receive)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            status, detail = refusal
            await problem(status, detail, {"connection": "close"})(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        client = scope.get("client")
        if not self._access.configured and (not client or not _loopback(client[0])):
            return 403, "the admin API is served to programs on this machine only"
        hosts = _values(scope, b"host")
        known = len(hosts) == 1 and (_HOST.fullmatch(hosts[0]) or hosts[0].lower() == self._own)
        if len(hosts) != 1 or (self._local and not known):
            return 421, "the Host must be 127.0.0.1, localhost or [::1], or that of auth.url"
        if scope["method"] in _SAFE_METHODS:
            return None
        ours = (self._access.url, f"{self._scheme}://{hosts[0].lower()}")
        if any(origin.lower() not in ours for origin in _values(scope, b"origin")):
            return 403, "a page of another origin may not change anything here"
        if any(site not in ("same-origin", "none") for site in _values(scope, b"sec-fetch-site")):
            return 403, "a page of another site may not change anything here"
        if _values(scope, b"content-type") and not _readable(scope):
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


def _readable(scope: Scope) -> bool:
    form = scope["path"] == "/login" and _media_type(scope) == "application/x-www-form-urlencoded"
    return form or _media_type(scope) == "application/json"


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
