"""Who sent a request: established once, before anything else looks at it.

A caller shows a token (`Authorization: Bearer`), the API's own or one of the issuer's, or a browser's
session. A token that does not stand is refused at once, whatever it was shown for; who shows nothing is a
stranger and gets what is open to everybody. Nobody changes anything without a name.

Ten failures a minute from one address, and more of them are answered 429. What stands is served all the same:
tokens of 256 bits are not guessed, and whoever shares an address with a broken program must be able to kill.
A session changes something only for the console's own pages: the browser says that they sent it, and they add
a field that no form can (OWASP, Cross-Site Request Forgery Prevention).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control import identity
from control.answers import problem
from control.audit_recorder import Recorder
from control.clock import Clock
from control.identity import NOBODY, STRANGER, Identity, Unauthenticated
from control.limits import Turns
from control.log import note
from control.oidc import Issuer
from control.sessions import Sessions
from control.tokens import TokenDesk, bearer
from domain.errors import StateUnavailable
from domain.role import Grants, Role
from settings.access import AuthSettings
from settings.tokens import PREFIX

FAILURES, MINUTE = 10, 60.0
MUTATIONS = 60
RECORDED = 30
"""Failures that are recorded in a minute; the next record says how many there were between."""

OURS = b"x-pointsman-console"
"""The field by which the console's pages say that they sent a request."""

LOGIN, LOGOUT = "/login", "/logout"
METRICS = frozenset({"/metrics", "/metrics/models"})
SCRAPER = Identity("anonymous", "", Grants.everywhere(Role.VIEWER), known=False)
"""Whoever reads the metrics where these are open."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

_TAKES_OUT = re.compile(r"/api/v1/(endpoints/[^/]+/kill|releases/[^/]+/abort)")

log = logging.getLogger("pointsman.access")


@dataclass(frozen=True, slots=True)
class Gatehouse:
    """What callers are known by. `failures` are counted by address, `mutations` by who it is."""

    settings: AuthSettings
    tokens: TokenDesk
    issuer: Issuer | None
    sessions: Sessions
    recorder: Recorder
    clock: Clock
    failures: Turns
    mutations: Turns
    records: Turns
    unrecorded: Counter[str] = field(default_factory=Counter)
    """How many failures were not recorded since the last one that was."""

    @property
    def cookie(self) -> str:
        """The name of the cookie that holds a session: with the prefix, browsers take it by TLS only."""
        return "__Host-pointsman" if self.settings.secure else "pointsman"

    async def who(self, scope: Scope) -> Identity:
        """Who sends the request of `scope`. Raises Unauthenticated and StateUnavailable."""
        if not self.settings.configured:
            return NOBODY
        given = values(scope, b"authorization")
        if given:
            scheme, _, token = given[0].partition(" ")
            if len(given) > 1 or scheme.lower() != "bearer" or not token:
                raise Unauthenticated("send one field Authorization: Bearer TOKEN")
            return await self.shown(token.strip())
        cookie = cookies(scope).get(self.cookie)
        if cookie:
            found = await self.sessions.of(cookie)
            if found is not None:
                return found
        if self.settings.open_metrics and scope["path"] in METRICS:
            return SCRAPER
        return STRANGER

    async def still(self, scope: Scope, who: Identity) -> Identity | None:
        """Who sent `scope`, once `who`, is now: for what goes on being answered. None: nobody any more."""
        if who.expires is not None and self.clock.wall() >= who.expires:
            return None
        if self.issuer is not None and who.authentication.startswith("oidc:") and not who.session:
            return who  # signed until then, and there is nothing to ask
        try:
            now = await self.who(scope)
        except Unauthenticated:
            return None
        except StateUnavailable:
            return who
        return now if now.known else None

    async def shown(self, given: str) -> Identity:
        """Whose token `given` is. Raises Unauthenticated, and StateUnavailable (the issuer's keys)."""
        if given.startswith(f"{PREFIX}_"):
            found = self.tokens.of(given)
            if found is None:
                raise Unauthenticated("this token is unknown, has expired or was revoked")
            return bearer(found)
        if self.issuer is None:
            raise Unauthenticated("this is no token of this gateway")
        return await self.issuer.bearer(given)

    def failed(self, address: str, reason: str, what: str, *, counted: bool = True) -> float:
        """Somebody at `address` is not who they say; seconds until they may fail again, 0.0: now."""
        now = self.clock.monotonic()
        wait = self.failures.take(address, now) if counted else 0.0
        if self.records.take("", now):
            self.unrecorded["failures"] += 1
        else:
            evidence: dict[str, object] = {"address": address, "what": what[:500]}
            if between := self.unrecorded.pop("failures", 0):
                evidence["passed_over"] = between
            note(log, logging.WARNING, "refused", address=address, reason=reason, what=what)
            self.recorder.tell(
                self.recorder.event(
                    "access.denied", "access", "", actor=STRANGER.name, reason=reason, result="refused",
                    evidence=evidence,
                )
            )  # fmt: skip
        return wait


class Authentication:
    """ASGI middleware that says whose each request is."""

    def __init__(self, app: ASGIApp, gatehouse: Gatehouse) -> None:
        self._app = app
        self._gatehouse = gatehouse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            who = await self._gatehouse.who(scope)
        except Unauthenticated as error:
            await self._refuse(scope, str(error))(scope, receive, send)
            return
        except StateUnavailable as error:
            await problem(503, str(error), {"retry-after": "1"})(scope, receive, send)
            return
        identity.found(scope, who)
        refusal = self._refusal(scope, who)
        if refusal is not None:
            status, detail, headers = refusal
            await problem(status, detail, headers)(scope, receive, send)
            return
        await self._app(scope, receive, self._watched(scope, who, send))

    def _refuse(self, scope: Scope, reason: str) -> ASGIApp:
        wait = self._gatehouse.failed(address(scope), reason, f"{scope['method']} {scope['path']}")
        if wait:
            return problem(
                429, "too many failures from this address: wait", {"retry-after": str(int(wait) + 1)}
            )
        return problem(401, reason, {"www-authenticate": 'Bearer realm="pointsman", error="invalid_token"'})

    def _refusal(self, scope: Scope, who: Identity) -> tuple[int, str, dict[str, str]] | None:
        """Why `who` may change nothing just now, whatever their role; None: they may."""
        if scope["method"] in SAFE_METHODS or scope["path"] == LOGIN or who is NOBODY:
            return None
        if scope["path"] == LOGOUT and not who.session:
            return None  # whoever is not logged in has nothing to lose by it
        if not who.known:
            return 401, str(Unauthenticated()), {"www-authenticate": 'Bearer realm="pointsman"'}
        if who.session and not _from_our_pages(scope):
            detail = "a session changes something for the console's own pages only: others show a token"
            return 403, detail, {}
        if _TAKES_OUT.fullmatch(scope["path"]) or scope["path"] == LOGOUT:
            return None
        gate = self._gatehouse
        wait = gate.mutations.take(f"{who.authentication} {who.name}", gate.clock.monotonic())
        if wait:
            detail = f"{MUTATIONS} changes a minute are the most; a kill or abort is always taken"
            return 429, detail, {"retry-after": str(int(wait) + 1)}
        return None

    def _watched(self, scope: Scope, who: Identity, send: Send) -> Send:
        """Records that somebody known may not look at something; changes are recorded by `Refusals`."""
        if scope["method"] not in SAFE_METHODS or not who.known or who is NOBODY:
            return send

        async def said(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 403:
                what = f"{scope['method']} {scope['path']}"
                self._gatehouse.failed(address(scope), f"{who.name} may not", what, counted=False)
            await send(message)

        return said


def _from_our_pages(scope: Scope) -> bool:
    """`control.admission` has refused other origins; here the browser has to have said which one it is."""
    said = values(scope, b"origin") or values(scope, b"sec-fetch-site")
    return bool(said) and bool(values(scope, OURS))


def address(scope: Scope) -> str:
    """Where the connection comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def values(scope: Scope, name: bytes) -> Sequence[str]:
    """The values of the field `name`, in lower case."""
    return [value.decode("latin-1") for field, value in scope["headers"] if field == name]


def cookies(scope: Scope) -> dict[str, str]:
    """The cookies of a request; none of a field that cannot be read."""
    found: dict[str, str] = {}
    for line in values(scope, b"cookie"):
        for part in line.split(";"):
            name, _, value = part.strip().partition("=")
            found.setdefault(name, value)
    return found
