"""Refused changes, as records: who wanted what, and why it was not done.

Whatever would change something and is answered with an error is recorded, whoever refused it: for a wrong
body, for kills that are in force meanwhile, for a page of another origin. The records are of the class
`access`: they say who tried, not what was live. What the caller wrote is not kept but for its digest, since
nobody has looked at it.

A program that is refused in a loop must not fill the chain: `BURST` refusals are recorded at once and `RATE`
a second from then on; the next record says how many there were between.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from http import HTTPStatus

import orjson
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control import identity
from control.audit_recorder import Recorder
from control.clock import Clock
from control.log import note

BURST, RATE = 60.0, 1.0

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_LONGEST = 64 * 1024
_NOUNS = {
    "releases": "release", "labels": "labels", "config": "configuration", "flags": "flags", "gates": "gates",
    "drills": "drill", "lineage": "lineage", "notifications": "notification",
}  # fmt: skip

log = logging.getLogger("pointsman.audit")


class Refusals:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, recorder: Recorder, clock: Clock) -> None:
        self._app = app
        self._recorder = recorder
        self._clock = clock
        self._left = BURST
        self._looked = clock.monotonic()
        self._passed_over = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        status = 0
        answer = bytearray()
        asked = sha256()
        long = 0

        async def heard() -> Message:
            nonlocal long
            message = await receive()
            if message["type"] == "http.request":
                asked.update(message.get("body", b""))
                long += len(message.get("body", b""))
            return message

        async def said(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif status >= 400 and len(answer) < _LONGEST:
                answer.extend(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, heard, said)
        except Exception:
            status = HTTPStatus.INTERNAL_SERVER_ERROR.value  # by whoever is around this, and logs what it was
            self._record(scope, status, bytes(answer), asked.hexdigest() if long else "")
            raise
        if status >= 400:
            self._record(scope, status, bytes(answer), asked.hexdigest() if long else "")

    def _record(self, scope: Scope, status: int, answer: bytes, asked: str) -> None:
        if not self._may():
            self._passed_over += 1
            return
        path = scope["path"][:500]
        action, name = wanted(path)
        who = identity.of(HTTPConnection(scope))
        reason = _detail(answer)
        evidence: dict[str, object] = {"method": scope["method"], "path": path, "status": status}
        if asked:
            evidence["body"] = asked
        if self._passed_over:
            evidence["passed_over"], self._passed_over = self._passed_over, 0
        note(log, logging.WARNING, "refused", action=action, name=name, status=status, reason=reason)
        self._recorder.tell(
            self._recorder.event(
                f"refused.{action}", "request", name, actor=who.name, reason=reason, evidence=evidence,
                authentication=who.authentication, result="refused",
            )
        )  # fmt: skip

    def _may(self) -> bool:
        now = self._clock.monotonic()
        self._left = min(BURST, self._left + max(0.0, now - self._looked) * RATE)
        self._looked = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def wanted(path: str) -> tuple[str, str]:
    """What a request to `path` wanted to change, as one word, and of what.

    >>> wanted("/api/v1/endpoints/rain/kill"), wanted("/api/v1/config/reload")
    (('kill', 'rain'), ('configuration', ''))
    """
    parts = path.strip("/").split("/")[2:]
    if parts[:1] == ["endpoints"] and len(parts) == 3:
        return (parts[2] if parts[2] in ("kill", "rearm") else "request"), parts[1]
    noun = _NOUNS.get(parts[0], "request") if parts else "request"
    return noun, parts[1] if len(parts) > 2 else ""


def _detail(answer: bytes) -> str:
    try:
        document = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return ""
    return str(document.get("detail", ""))[:2000] if isinstance(document, dict) else ""
