"""Log-in and log-out of browsers: a page without script, a token or the issuer, and a cookie.

The page is for people; programs show their token with every request. A log-in by the issuer is kept in the
browser between the two requests that it takes (`state`, `nonce` and the PKCE verifier, in a cookie of ten
minutes), so that any replica can end what another has begun.
"""

from __future__ import annotations

import hmac
import json
import secrets
from html import escape
from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from control.answers import SAFE_HEADERS, problem
from control.authentication import LOGIN, LOGOUT, Gatehouse, address
from control.identity import Identity, Unauthenticated, of
from control.limits import Turns
from control.panel import Panel
from control.roles import Role, needs
from domain.errors import StateUnavailable

FORM = "application/x-www-form-urlencoded"
CALLBACK = "/callback"
UNDER_WAY = 600
"""Seconds that a log-in by the issuer may take."""

LONGEST = 64 * 1024
"""Bytes of a log-in: anybody may send one, and a long form's fields hold the loop for seconds."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Log in · Pointsman</title><link rel="stylesheet" href="/login.css">
</head>
<body><main><h1>Pointsman</h1>{said}{issuer}{form}</main></body>
</html>
"""
_ISSUER = '<p><a class="button" href="/login?by=issuer">Log in with {issuer}</a></p>'
_FORM = """<form method="post" action="/login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="off" required spellcheck="false">
<button type="submit">Log in</button>
</form>"""

_STYLE = """:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; min-height: 100vh; margin: 0; place-items: center; }
main { width: min(22rem, 90vw); }
label, input, button, .button { display: block; box-sizing: border-box; width: 100%; }
input, button, .button { margin-top: 0.5rem; padding: 0.6rem; font: inherit; text-align: center; }
.said { color: light-dark(#a40000, #ff8f8f); }
"""


def routes(panel: Panel) -> APIRouter:
    """`/login`, `/callback`, `/logout`."""
    router = APIRouter(include_in_schema=False)
    gate = panel.gatehouse
    door = _Door(gate)

    @router.get(LOGIN, dependencies=[needs(Role.NOBODY)])
    async def page(request: Request, by: str = "") -> Response:
        if not gate.settings.configured:
            return RedirectResponse("/", 303, SAFE_HEADERS)
        if by == "issuer" and gate.issuer is not None:
            return await door.sent_to_issuer()
        return door.page()

    @router.get("/login.css", dependencies=[needs(Role.NOBODY)])
    async def style() -> Response:
        return Response(_STYLE, 200, SAFE_HEADERS, "text/css")

    @router.post(LOGIN, dependencies=[needs(Role.NOBODY)])
    async def login(request: Request) -> Response:
        if not gate.settings.configured:
            return problem(409, "there is no authentication here: nobody has to log in")
        return await door.by_token(request)

    @router.get(CALLBACK, dependencies=[needs(Role.NOBODY)])
    async def callback(request: Request, code: str = "", state: str = "") -> Response:
        if gate.issuer is None:
            return problem(404, "no issuer is configured: auth.oidc")
        return await door.by_issuer(request, code, state)

    @router.post(LOGOUT, dependencies=[needs(Role.NOBODY)])
    async def logout(request: Request) -> Response:
        return await door.out(request)

    return router


class _Door:
    """Opens sessions and ends them."""

    def __init__(self, gate: Gatehouse) -> None:
        self._gate = gate
        self._attempts = Turns(10, 60.0)
        secure = gate.settings.secure
        self._way = "__Host-pointsman-login" if secure else "pointsman-login"
        self._attributes = f"; Path=/; HttpOnly{'; Secure' if secure else ''}"

    def page(self, said: str = "", status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """The log-in page, with what was wrong."""
        gate = self._gate
        content = _PAGE.format(
            said=f'<p class="said" role="alert">{escape(said)}</p>' if said else "",
            issuer="" if gate.issuer is None else _ISSUER.format(issuer=escape(gate.issuer.settings.issuer)),
            form=_FORM if gate.settings.tokens_file is not None else "",
        )
        return Response(content, status, {**SAFE_HEADERS, **(headers or {})}, "text/html")

    async def by_token(self, request: Request) -> Response:
        """A session for whoever shows a token, in a form or as JSON."""
        where = address(request.scope)
        locked = self._locked(where)  # a log-in can wait, unlike a kill: for right tokens, too
        if locked is not None:
            return locked
        given = await _token(request)
        if given is None:
            return self._failed(where, "this is too long for a log-in")
        try:
            who = await self._gate.shown(given)
        except Unauthenticated as error:
            return self._failed(where, str(error))
        found = self._gate.tokens.of(given)
        return await self._in(who, "" if found is None else found.id, where)

    async def sent_to_issuer(self) -> Response:
        """To the issuer, with what its answer has to fit."""
        gate = self._gate
        assert gate.issuer is not None  # noqa: S101 - asked before
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        try:
            where = await gate.issuer.leads_to(self._callback(), state, nonce, verifier)
        except StateUnavailable as error:
            return self.page(str(error), 503)
        # Lax: the browser comes back from another site, by a link.
        way = f"{self._way}={state}.{nonce}.{verifier}{self._attributes}; SameSite=Lax; Max-Age={UNDER_WAY}"
        return RedirectResponse(where, 303, {**SAFE_HEADERS, "set-cookie": way})

    async def by_issuer(self, request: Request, code: str, state: str) -> Response:
        """A session for whoever comes back from the issuer with what they were sent with."""
        gate = self._gate
        assert gate.issuer is not None  # noqa: S101 - asked before
        where = address(request.scope)
        began = request.cookies.get(self._way, "").split(".")
        if len(began) != 3 or not state or not hmac.compare_digest(began[0].encode(), state.encode()):
            # Not counted: any page can send a browser here, and would lock its address.
            reason = "this log-in was not begun here, or too long ago: begin again"
            return self._failed(where, reason, counted=False)
        if not code:
            return self._failed(where, "the issuer did not log anybody in")
        locked = self._locked(where)  # or the issuer would be asked as often as somebody likes
        if locked is not None:
            return locked
        try:
            who = await gate.issuer.redeemed(code, self._callback(), began[1], began[2])
        except Unauthenticated as error:
            return self._failed(where, str(error))
        except StateUnavailable as error:
            return self.page(str(error), 503)
        return await self._in(who, "", where)

    async def out(self, request: Request) -> Response:
        """End the session, everywhere."""
        who = of(request)
        cookie = request.cookies.get(self._gate.cookie, "")
        if cookie:
            await self._gate.sessions.end(cookie)
            self._tell("session.ended", who, address(request.scope))
        gone = f"{self._gate.cookie}={self._attributes}; SameSite=Strict; Max-Age=0"
        headers = {**SAFE_HEADERS, "set-cookie": gone, "clear-site-data": '"cache", "storage"'}
        return Response(b"", 204, headers)

    async def _in(self, who: Identity, token: str, where: str) -> Response:
        if who.grants.highest is Role.NOBODY:
            return self._failed(where, f"{who.name} is known and has no role here: ask an administrator")
        wait = self._gate.mutations.take(f"{who.authentication} {who.name}", self._gate.clock.monotonic())
        if wait:  # each is a row of the database, and a record
            headers = {"retry-after": str(int(wait) + 1)}
            return self.page("Too many log-ins. Wait a minute.", 429, headers)
        try:
            cookie, session = await self._gate.sessions.begin(who, token)
        except StateUnavailable as error:
            return self.page(f"Sessions cannot be kept now: {error}", 503)
        self._tell("session.began", who, where)
        lasts = max(0, int(session.ends - session.began))
        held = f"{self._gate.cookie}={cookie}{self._attributes}; SameSite=Strict; Max-Age={lasts}"
        # A page that leads on, no redirect: behind one from another site Strict cookies are not sent.
        content = '<!doctype html><title>Pointsman</title><meta http-equiv="refresh" content="0;url=/">'
        answer = Response(content, 200, SAFE_HEADERS, "text/html")
        answer.headers.append("set-cookie", held)
        answer.headers.append("set-cookie", f"{self._way}={self._attributes}; SameSite=Lax; Max-Age=0")
        return answer

    def _locked(self, where: str) -> Response | None:
        """What is answered after too many failures from there; None: there were not so many."""
        wait = self._attempts.wait(where, self._gate.clock.monotonic())
        if not wait:
            return None
        headers = {"retry-after": str(int(wait) + 1)}
        return self.page("Too many failed log-ins from here. Wait a minute.", 429, headers)

    def _failed(self, where: str, reason: str, *, counted: bool = True) -> Response:
        if counted:
            self._attempts.take(where, self._gate.clock.monotonic())
        self._gate.failed(where, reason, LOGIN, counted=False)
        return self.page(reason, 401)

    def _tell(self, action: str, who: Identity, where: str) -> None:
        recorder = self._gate.recorder
        recorder.tell(
            recorder.event(
                action, "session", who.name, actor=who.name, authentication=who.authentication,
                evidence={"address": where},
            )
        )  # fmt: skip

    def _callback(self) -> str:
        return f"{self._gate.settings.url}{CALLBACK}"


async def _token(request: Request) -> str | None:
    """What is shown; "" for nothing, None for too much."""
    body = await request.body()
    if len(body) > LONGEST:
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        return parse_qs(body.decode("latin-1")).get("token", [""])[0].strip()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    found = document.get("token") if isinstance(document, dict) else None
    return found.strip() if isinstance(found, str) else ""
