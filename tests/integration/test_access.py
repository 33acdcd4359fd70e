"""Who may do what: every route for every role, tokens and sessions in life, limits, and what is recorded."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from control.clock import Clock
from control.deciding import UnknownDecision
from control.roles import Role, declared, each
from control.routes import login
from domain.errors import StateUnavailable
from domain.role import ROLES
from settings.access import AuthSettings, OidcSettings, RoleRule
from tests.support.access import bearer, guarded, issue, of_every_role, revoke
from tests.support.control import Here, here
from tests.support.issuer import AUDIENCE, NOW, URL, FakeIssuer, signed

KILL = "/api/v1/endpoints/rain/kill"
OURS = {"origin": "http://127.0.0.1:8081", "x-pointsman-console": "1"}


def _table(control: Here) -> list[tuple[str, str, Role]]:
    """Every route: method, a path that it has, and the role that it declares."""
    found = []
    for route in each(control.control.app.routes):
        needs = declared(route)
        assert needs is not None, route
        path = str(getattr(route, "path", ""))
        path = re.sub(r"\{endpoint\}", "rain", path)
        path = re.sub(r"\{sequence\}", "1", path)
        path = re.sub(r"\{[^}]*\}", "x", path)
        found += [(method, path, needs.role) for method in getattr(route, "methods", ())]
    return found


async def _status(control: Here, method: str, path: str, headers: Mapping[str, str]) -> int:
    """What is answered to a request that says nothing."""
    if path == "/api/v1/events" and headers:
        return 200  # it has no end; test_a_stream_ends_with_its_token reads it
    body = {"endpoint": "rain"} if method in ("POST", "PUT") and path != "/login" else None
    query = {"endpoint": "rain"} if method == "GET" else {}
    answer = await control.client.request(method, path, headers=headers, json=body, params=query)
    return answer.status_code


def test_every_route_is_for_its_role_and_those_above_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        tokens = of_every_role(tmp_path / "tokens.json")
        async with guarded(tmp_path) as control:
            control.control.gatehouse.mutations._most = 1e9
            table = _table(control)
            assert len(table) > 40
            for method, path, needed in table:
                assert await _refused(control, method, path, {}) is (needed > Role.NOBODY), (method, path)
                for word, token in tokens.items():
                    held = Role.NOBODY if word == "elsewhere" else ROLES[word]
                    refused = await _refused(control, method, path, bearer(token))
                    if word == "elsewhere":
                        assert refused or needed is Role.NOBODY or _shows_little(path), (method, path)
                    else:
                        assert refused is (held < needed), (method, path, word)

    asyncio.run(scenario())


async def _refused(control: Here, method: str, path: str, headers: Mapping[str, str]) -> bool:
    status = await _status(control, method, path, headers)
    if not headers and status == 403:
        return False  # /callback and the like refuse in their own words
    return status == 403 or (status == 401 and path not in ("/login", "/callback"))


def _shows_little(path: str) -> bool:
    """Routes that answer whoever has a role anywhere, with what that lets them see."""
    return path in (
        "/api/v1/endpoints", "/api/v1/releases", "/api/v1/drills", "/api/v1/events", "/api/v1/whoami",
        "/api/v1/overview",
    ) or path.endswith("/x") or "/x/" in path  # fmt: skip


def test_a_kill_needs_no_more_than_the_operator_and_a_rearm_the_role_of_release(tmp_path: Path) -> None:
    async def scenario() -> None:
        tokens = of_every_role(tmp_path / "tokens.json")
        async with guarded(tmp_path) as control:
            client = control.client
            killed = await client.post(KILL, json={"reason": "x"}, headers=bearer(tokens["operator"]))
            assert killed.status_code == 200
            back = KILL.replace("kill", "rearm")
            refused = await client.post(back, json={"reason": "x"}, headers=bearer(tokens["operator"]))
            assert (refused.status_code, "release" in refused.json()["detail"]) == (403, True)
            refused = await client.post(KILL, json={"reason": "x"}, headers=bearer(tokens["elsewhere"]))
            assert refused.status_code == 403
            done = await client.post(back, json={"reason": "x"}, headers=bearer(tokens["release"]))
            assert done.status_code == 200
            told = await client.get("/api/v1/audit?limit=1000", headers=bearer(tokens["viewer"]))
            found = [
                (one["action"], one["actor"], one["authentication"])
                for one in told.json()["events"]
                if one["action"].startswith(("switch.", "refused."))
            ]
            assert found == [
                ("switch.tripped", "some-operator", "token:some-operator"),
                ("refused.rearm", "some-operator", "token:some-operator"),
                ("refused.kill", "of-wind", "token:of-wind"),
                ("switch.rearmed", "some-release", "token:some-release"),
            ]

    asyncio.run(scenario())


def test_what_is_listed_is_what_the_caller_may_see(tmp_path: Path) -> None:
    async def scenario() -> None:
        mine = issue(tmp_path / "tokens.json", "a", Role.VIEWER, "rain")
        other = issue(tmp_path / "tokens.json", "b", Role.ADMIN, "wind")
        async with guarded(tmp_path) as control:
            for token, seen in ((mine, ["rain"]), (other, [])):
                answer = await control.client.get("/api/v1/endpoints", headers=bearer(token))
                assert [one["endpoint"] for one in answer.json()["endpoints"]] == seen
            desk: Any = control.control.panel.decisions
            desk.why = _of_rain
            for request in ("of-rain", "unknown"):
                path = f"/api/v1/decisions/{request}"
                answer = await control.client.get(path, headers=bearer(other))
                assert (answer.status_code, "secret" in answer.text) == (404, False)
            answer = await control.client.get("/api/v1/decisions/of-rain", headers=bearer(mine))
            assert answer.status_code == 200

    asyncio.run(scenario())


async def _of_rain(request_id: str) -> dict[str, object]:
    if request_id == "of-rain":
        return {"endpoint": "rain", "label": "secret"}
    raise UnknownDecision("no record; recorded are of secret 10 %")


@pytest.mark.parametrize(
    "shown",
    [
        "pmn_0123456789ab_" + "A" * 43,
        "pmn_",
        "pmn_0123456789ab_short",
        "eyJhbGciOiJub25lIn0.e30.",
        "x",
        "Ünicode-of-some-length",
    ],
)
def test_a_token_that_does_not_stand_is_refused_wherever_it_is_shown(tmp_path: Path, shown: str) -> None:
    async def scenario() -> None:
        async with guarded(tmp_path) as control:
            sent = {b"authorization": b"Bearer " + shown.encode()}
            for path in ("/healthz", "/api/v1/endpoints", "/nothing"):
                answer = await control.client.get(path, headers=list(sent.items()))
                assert answer.status_code == 401
                assert answer.headers["content-type"] == "application/problem+json"
                assert "Bearer" in answer.headers["www-authenticate"]
                assert len(shown) < 6 or shown not in answer.text

    asyncio.run(scenario())


def test_a_token_ends_when_it_is_revoked_or_expires_and_the_chain_tells_who_came_and_went(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        path = tmp_path / "tokens.json"
        now = 1_700_000_000.0
        clock = Clock(wall=lambda: now)
        mortal = issue(path, "mortal", Role.VIEWER, now=now, expires=now + 60)
        async with guarded(tmp_path, clock=clock) as control:
            tokens = control.control.gatehouse.tokens
            fresh = issue(path, "fresh", Role.VIEWER, now=now)
            await control.until(lambda: tokens.of(fresh) is not None)
            assert (await control.client.get("/api/v1/whoami", headers=bearer(fresh))).status_code == 200
            revoke(path, "fresh", now)
            await control.until(lambda: tokens.of(fresh) is None)
            assert (await control.client.get("/api/v1/whoami", headers=bearer(fresh))).status_code == 401
            (tmp_path / "tokens.json").write_text("{")
            await control.until(lambda: tokens.failure is not None)
            told = await control.client.get("/api/v1/audit?limit=1000", headers=bearer(mortal))
            assert told.status_code == 200  # what was read last goes on
            degraded = (await control.client.get("/readyz", headers=bearer(mortal))).json()["degraded"]
            assert any("tokens are those of before" in one for one in degraded)
            found = told.json()["events"]
            actions = [(one["action"], one["name"]) for one in found if one["action"].startswith("token.")]
            assert actions == [("token.read", ""), ("token.created", "fresh"), ("token.revoked", "fresh")]
            assert fresh.rpartition("_")[2] not in told.text
            now += 61
            assert (await control.client.get("/api/v1/whoami", headers=bearer(mortal))).status_code == 401

    asyncio.run(scenario())


def test_failures_are_limited_and_what_stands_is_served_all_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        good = issue(tmp_path / "tokens.json", "good", Role.OPERATOR)
        async with guarded(tmp_path, clock=Clock(monotonic=lambda: 1000.0)) as control:
            wrong = bearer("pmn_0123456789ab_" + "A" * 43)
            statuses = [
                (await control.client.get("/api/v1/endpoints", headers=wrong)).status_code for _ in range(12)
            ]
            assert statuses == [401] * 10 + [429] * 2
            killed = await control.client.post(KILL, json={"reason": "x"}, headers=bearer(good))
            assert killed.status_code == 200

    asyncio.run(scenario())


def test_changes_are_limited_and_a_kill_never_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        admin = bearer(issue(tmp_path / "tokens.json", "adm", Role.ADMIN))
        other = bearer(issue(tmp_path / "tokens.json", "other", Role.ADMIN))
        async with guarded(tmp_path, clock=Clock(monotonic=lambda: 1000.0)) as control:
            post = control.client.post
            statuses = [
                (await post("/api/v1/notifications/test", json={}, headers=admin)).status_code
                for _ in range(62)
            ]
            assert statuses == [422] * 60 + [429] * 2
            for _ in range(3):
                assert (await post(KILL, json={"reason": "x"}, headers=admin)).status_code == 200
            unknown = await post("/api/v1/releases/none/abort", json={"reason": "x"}, headers=admin)
            assert unknown.status_code == 404
            assert (await post("/api/v1/notifications/test", json={}, headers=other)).status_code == 422

    asyncio.run(scenario())


# Sessions.


async def _logged_in(control: Here, token: str) -> str:
    answer = await control.client.post(
        "/login", content=f"token={token}",
        headers={"content-type": "application/x-www-form-urlencoded", "origin": "http://127.0.0.1:8081"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    held = answer.headers.get_list("set-cookie")[0]
    control.client.cookies.clear()
    return str(held)


def test_a_session_is_for_the_console_s_own_pages(tmp_path: Path) -> None:
    async def scenario() -> None:
        token = issue(tmp_path / "tokens.json", "ada", Role.OPERATOR)
        async with guarded(tmp_path) as control:
            assert 'type="password"' in (await control.client.get("/login")).text
            held = await _logged_in(control, token)
            assert held.startswith("pointsman=")
            for attribute in ("; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age="):
                assert attribute in held
            cookie = {"cookie": held.partition(";")[0]}
            shown = await control.client.get("/api/v1/whoami", headers=cookie)
            assert (shown.json()["name"], shown.json()["role"]) == ("ada", "operator")
            for missing in ({}, {"origin": OURS["origin"]}, {"x-pointsman-console": "1"}):
                answer = await control.client.post(KILL, json={"reason": "x"}, headers={**cookie, **missing})
                assert answer.status_code == 403
            for foreign in ("http://evil.example", "null", "https://127.0.0.1:8081"):
                sent = {**cookie, **OURS, "origin": foreign}
                assert (
                    await control.client.post(KILL, json={"reason": "x"}, headers=sent)
                ).status_code == 403
            answer = await control.client.post(KILL, json={"reason": "x"}, headers={**cookie, **OURS})
            assert answer.status_code == 200
            gone = await control.client.post("/logout", headers={**cookie, **OURS})
            assert gone.status_code == 204
            assert "Max-Age=0" in gone.headers["set-cookie"]
            assert (await control.client.get("/api/v1/whoami", headers=cookie)).status_code == 401

    asyncio.run(scenario())


def test_a_session_ends_by_disuse_by_age_and_with_its_token(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "tokens.json"
        now = 1_700_000_000.0
        clock = Clock(wall=lambda: now, monotonic=lambda: now)
        token = issue(path, "ada", Role.VIEWER, now=now)
        settings = AuthSettings(tokens_file=str(path), idle=600.0, longest=3600.0)
        async with guarded(tmp_path, settings, clock=clock) as control:

            async def alive(held: str) -> bool:
                headers = {"cookie": held.partition(";")[0]}
                return (await control.client.get("/api/v1/whoami", headers=headers)).status_code == 200

            idle = await _logged_in(control, token)
            used = await _logged_in(control, token)
            for _ in range(6):
                now += 590
                assert await alive(used)
            assert not await alive(idle)
            now += 61
            assert not await alive(used)
            last = await _logged_in(control, token)
            assert await alive(last)
            revoke(path, "ada", now)
            await control.until(lambda: control.control.gatehouse.tokens.of(token) is None)
            assert not await alive(last)

    asyncio.run(scenario())


def test_a_session_is_known_after_a_restart_and_nothing_kept_could_be_used_as_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        token = issue(tmp_path / "tokens.json", "ada", Role.VIEWER)
        async with guarded(tmp_path) as control:
            held = (await _logged_in(control, token)).partition(";")[0]
        kept = _kept(tmp_path)
        assert b"ada" in kept
        assert held.partition("=")[2].encode() not in kept
        assert token.rpartition("_")[2].encode() not in kept
        async with guarded(tmp_path) as control:
            answer = await control.client.get("/api/v1/whoami", headers={"cookie": held})
            assert answer.json()["name"] == "ada"

    asyncio.run(scenario())


def _kept(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in folder.glob("**/*.db*"))


def test_log_in_is_locked_after_ten_failures_from_an_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        token = issue(tmp_path / "tokens.json", "ada", Role.VIEWER)
        now = 1000.0
        async with guarded(tmp_path, clock=Clock(monotonic=lambda: now)) as control:
            sent = {"content-type": "application/json"}
            for _ in range(10):
                answer = await control.client.post("/login", json={"token": "x"}, headers=sent)
                assert answer.status_code == 401
            assert (await control.client.post("/login", json={"token": token})).status_code == 429
            now += 60
            assert (await control.client.post("/login", json={"token": token})).status_code == 200

    asyncio.run(scenario())


def test_behind_tls_cookies_and_answers_say_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "tokens.json"
        token = issue(path, "ada", Role.VIEWER)
        settings = AuthSettings(tokens_file=str(path), url="https://gate.example")
        async with guarded(tmp_path, settings) as control:
            headers = {"host": "gate.example", "origin": "https://gate.example"}
            answer = await control.client.post("/login", json={"token": token}, headers=headers)
            held = answer.headers.get_list("set-cookie")[0]
            assert held.startswith("__Host-pointsman=")
            assert "; Secure" in held
            assert "max-age=31536000" in answer.headers["strict-transport-security"]
            headers["host"] = "rebound.example"
            assert (await control.client.get("/healthz", headers=headers)).status_code == 421

    asyncio.run(scenario())


def test_every_answer_tells_browsers_what_not_to_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        token = bearer(issue(tmp_path / "tokens.json", "ada", Role.VIEWER))
        async with guarded(tmp_path) as control:
            for path in ("/", "/login", "/api/v1/endpoints", "/nothing", "/metrics"):
                answer = await control.client.get(path, headers={**token, "origin": "http://evil.example"})
                policy = answer.headers["content-security-policy"]
                for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
                    assert part in policy
                assert "unsafe" not in policy
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "no-referrer"
                assert answer.headers["cache-control"] in ("no-store", "no-cache")
                assert not [name for name in answer.headers if name.startswith("access-control-")]

    asyncio.run(scenario())


def test_metrics_are_for_viewers_or_open_and_health_is_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        for opened, status in ((False, 401), (True, 200)):
            settings = AuthSettings(tokens_file=str(tmp_path / "tokens.json"), open_metrics=opened)
            async with guarded(tmp_path, settings) as control:
                for path in ("/metrics", "/metrics/models"):
                    assert (await control.client.get(path)).status_code == status
                for path in ("/healthz", "/readyz"):
                    assert (await control.client.get(path)).status_code in (200, 503)
                assert set((await control.client.get("/readyz")).json()) <= {
                    "ready", "type", "title", "status", "detail",
                }  # fmt: skip
                assert (await control.client.get("/api/v1/endpoints")).status_code == 401

    asyncio.run(scenario())


def test_a_stream_of_events_ends_with_its_token(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "tokens.json"
        token = issue(path, "ada", Role.VIEWER, "wind")
        async with guarded(tmp_path) as control:
            events = control.control.events
            reading: asyncio.Task[httpx.Response] = asyncio.get_running_loop().create_task(
                control.client.get("/api/v1/events", headers=bearer(token))
            )
            await control.until(lambda: len(events) == 1)
            events.tell("lookup", {"endpoint": "rain", "told": "not-yours"})
            events.tell("lookup", {"endpoint": "wind", "told": "theirs"})
            events.tell("lookup", {"told": "not-yours"})
            (listener,) = events._listeners
            await control.until(lambda: not listener._backlog)
            revoke(path, "ada")
            answer = await asyncio.wait_for(reading, 30)
            assert "theirs" in answer.text
            assert "not-yours" not in answer.text
            assert len(events) == 0

    asyncio.run(scenario())


def test_names_are_proved_where_they_can_be_and_claimed_ones_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        token = bearer(issue(tmp_path / "tokens.json", "ci", Role.RELEASE, person="ada@example.org"))
        async with guarded(tmp_path) as control:
            body = {"endpoint": "rain", "as": "bob"}
            answer = await control.client.post("/api/v1/drills", json=body, headers=token)
            assert answer.status_code == 422
            assert "you are known as ada@example.org (token:ci)" in answer.json()["detail"]
        async with here(tmp_path) as control:
            answer = await control.client.post("/api/v1/drills", json=body)
            assert "you are known" not in answer.text

    asyncio.run(scenario())


def test_the_openapi_document_says_what_each_route_asks_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with guarded(tmp_path) as control:
            document = (await control.client.get("/openapi.json")).json()
            assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
            for path, methods in document["paths"].items():
                for operation in methods.values():
                    open_to_all = operation["x-role"] == "nobody"
                    assert (operation["security"] == []) is open_to_all, path
                    assert ("401" in operation["responses"]) is not open_to_all, path
            kill = document["paths"]["/api/v1/endpoints/{endpoint}/kill"]["post"]
            assert kill["x-role"] == "operator"

    asyncio.run(scenario())


def _with_issuer(control: Here, fake: FakeIssuer) -> None:
    issuer = control.control.gatehouse.issuer
    assert issuer is not None
    issuer._http = httpx.AsyncClient(transport=fake.transport)
    issuer._fetched = None


def test_people_log_in_by_the_issuer_and_only_in_the_browser_that_began(tmp_path: Path) -> None:
    async def scenario() -> None:
        fake = FakeIssuer()
        rules = (RoleRule("ops", Role.OPERATOR, ("rain",)),)
        oidc = OidcSettings(issuer=URL, client_id=AUDIENCE, audience=AUDIENCE, roles=rules)
        settings = AuthSettings(oidc=oidc, url="http://127.0.0.1:8081")
        async with guarded(tmp_path, settings, clock=Clock(wall=lambda: NOW)) as control:
            _with_issuer(control, fake)
            client = control.client
            assert URL in (await client.get("/login")).text
            sent = await client.get("/login", params={"by": "issuer"})
            assert sent.status_code == 303
            way = sent.headers["set-cookie"]
            assert "SameSite=Lax" in way
            query = parse_qs(urlsplit(sent.headers["location"]).query)
            assert query["redirect_uri"] == ["http://127.0.0.1:8081/callback"]
            state = query["state"][0]
            fake.codes = {"code": signed(nonce=query["nonce"][0]), "none": signed(nonce="other")}
            client.cookies.clear()
            back = {"code": "code", "state": state}
            assert (await client.get("/callback", params=back)).status_code == 401  # another browser
            held = {"cookie": way.partition(";")[0]}
            forged = {**back, "state": "x" * len(state)}
            assert (await client.get("/callback", params=forged, headers=held)).status_code == 401
            other = {**back, "code": "none"}
            assert (await client.get("/callback", params=other, headers=held)).status_code == 401
            refused = {"state": state, "error": "access_denied"}
            assert (await client.get("/callback", params=refused, headers=held)).status_code == 401
            done = await client.get("/callback", params=back, headers=held)
            assert done.status_code == 200
            cookie = {"cookie": done.headers.get_list("set-cookie")[0].partition(";")[0]}
            client.cookies.clear()
            who = (await client.get("/api/v1/whoami", headers=cookie)).json()
            assert (who["name"], who["authentication"]) == ("ada", f"oidc:{URL}")
            assert (who["role"], who["endpoints"]) == ("nobody", {"rain": "operator"})
            killed = await client.post(KILL, json={"reason": "x"}, headers={**cookie, **OURS})
            assert killed.status_code == 200
            answer = await client.get("/api/v1/whoami", headers=bearer(signed()))
            assert answer.json()["name"] == "ada"
            assert (await client.get("/api/v1/whoami", headers=bearer(signed(groups=[])))).status_code == 403
            fake.down = True
            killed = await client.post(KILL, json={"reason": "x"}, headers=bearer(signed()))
            assert killed.status_code == 200

    asyncio.run(scenario())


def test_nobody_is_locked_out_by_a_database_that_is_out_of_reach(tmp_path: Path) -> None:
    async def scenario() -> None:
        token = issue(tmp_path / "tokens.json", "ada", Role.OPERATOR)
        async with guarded(tmp_path) as control:
            held = {"cookie": (await _logged_in(control, token)).partition(";")[0], **OURS}
            keeper: Any = control.control.keeper
            working = keeper._opener

            keeper._opener = _unavailable
            keeper._drop()
            for headers in (bearer(token), held):
                answer = await control.client.post(KILL, json={"reason": "x"}, headers=headers)
                assert answer.status_code == 200, answer.text
                assert answer.json()["durable"] is False
            keeper._opener = working

    asyncio.run(scenario())


def test_a_database_that_hangs_delays_no_session_that_is_known(tmp_path: Path) -> None:
    async def scenario() -> None:
        token = issue(tmp_path / "tokens.json", "ada", Role.OPERATOR)
        now = 1_700_000_000.0
        clock = Clock(wall=lambda: now, monotonic=lambda: now)
        async with guarded(tmp_path, clock=clock) as control:
            held = {"cookie": (await _logged_in(control, token)).partition(";")[0]}
            back = threading.Event()
            hanging = asyncio.get_running_loop().create_task(
                control.control.keeper.run(lambda database: back.wait(60))
            )
            try:
                now += 60.0  # what was read is believed no more, and that it is used has to be noted
                answer = await control.client.get("/api/v1/whoami", headers=held)
                assert (answer.status_code, hanging.done()) == (200, False)
            finally:
                back.set()
                await hanging

    asyncio.run(scenario())


def test_sessions_by_the_issuer_end_when_its_values_give_something_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        def by(*rules: RoleRule) -> AuthSettings:
            oidc = OidcSettings(issuer=URL, client_id=AUDIENCE, audience=AUDIENCE, roles=rules)
            return AuthSettings(oidc=oidc, url="http://127.0.0.1:8081")

        clock = Clock(wall=lambda: NOW)
        before = by(RoleRule("ops", Role.ADMIN))
        async with guarded(tmp_path, before, clock=clock) as control:
            _with_issuer(control, FakeIssuer())
            answer = await control.client.post("/login", json={"token": signed()})
            held = {"cookie": answer.headers.get_list("set-cookie")[0].partition(";")[0]}
        for settings, status in (
            (before, 200),
            (by(RoleRule("ops", Role.VIEWER)), 401),
            (AuthSettings(tokens_file=str(tmp_path / "tokens.json")), 401),
        ):
            async with guarded(tmp_path, settings, clock=clock) as control:
                answer = await control.client.get("/api/v1/whoami", headers=held)
                assert answer.status_code == status, settings

    asyncio.run(scenario())


def test_log_ins_are_bounded_in_length_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        token = issue(tmp_path / "tokens.json", "ada", Role.VIEWER)
        async with guarded(tmp_path, clock=Clock(monotonic=lambda: 1000.0)) as control:
            post = control.client.post
            statuses = [(await post("/login", json={"token": token})).status_code for _ in range(61)]
            assert statuses == [200] * 60 + [429]
            form = {"content-type": "application/x-www-form-urlencoded", "origin": OURS["origin"]}
            monkeypatch.setattr(login, "parse_qs", None)  # nobody reads what is too long
            answer = await post("/login", content="a=b&" * 20_000, headers=form)
            assert answer.status_code == 401
            nested = {"content-type": "application/json"}
            answer = await post("/login", content="[" * 60_000, headers=nested)
            assert answer.status_code == 401

    asyncio.run(scenario())


def test_a_page_elsewhere_locks_nobody_out_and_the_issuer_is_not_asked_without_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        fake = FakeIssuer()
        oidc = OidcSettings(
            issuer=URL, client_id=AUDIENCE, audience=AUDIENCE, roles=(RoleRule("ops", Role.VIEWER),)
        )
        settings = AuthSettings(oidc=oidc, url="http://127.0.0.1:8081")
        clock = Clock(wall=lambda: NOW, monotonic=lambda: 1000.0)
        async with guarded(tmp_path, settings, clock=clock) as control:
            _with_issuer(control, fake)
            client = control.client
            for _ in range(12):
                assert (await client.get("/callback", params={"state": "x", "code": "x"})).status_code == 401
            assert (await client.post("/login", json={"token": signed()})).status_code == 200
            client.cookies.clear()
            sent = await client.get("/login", params={"by": "issuer"})
            way = sent.headers["set-cookie"].partition(";")[0]
            back = {"state": way.partition("=")[2].partition(".")[0], "code": "guessed"}
            statuses = [
                (await client.get("/callback", params=back, headers={"cookie": way})).status_code
                for _ in range(12)
            ]
            assert statuses == [401] * 10 + [429] * 2
            assert len(fake.forms) == 10

    asyncio.run(scenario())


def test_failures_that_were_not_recorded_are_counted_in_the_next_record(tmp_path: Path) -> None:
    async def scenario() -> None:
        reader = bearer(issue(tmp_path / "tokens.json", "ada", Role.VIEWER))
        now = 1000.0
        async with guarded(tmp_path, clock=Clock(monotonic=lambda: now)) as control:
            wrong = bearer("pmn_")
            for _ in range(37):
                await control.client.get("/healthz", headers=wrong)
            now += 60
            await control.client.get("/healthz", headers=wrong)
            told = await control.client.get("/api/v1/audit?limit=1000", headers=reader)
            found = [one["evidence"] for one in told.json()["events"] if one["action"] == "access.denied"]
            assert [one.get("passed_over", 0) for one in found] == [0] * 30 + [7]

    asyncio.run(scenario())


def _unavailable() -> Any:
    raise StateUnavailable("the disk is gone")
