"""Who may use the admin API, as it is configured: what is refused, and by which key."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError
from domain.role import Role
from settings import surroundings, token_file
from settings.access import ALGORITHMS, AuthSettings, RoleRule
from settings.parse import parse, problems

OIDC: dict[str, Any] = {
    "issuer": "https://issuer.example/realm", "client_id": "gate",
    "roles": [{"value": "ops", "role": "operator"}, {"value": "r", "role": "release", "endpoints": ["rain"]}],
}  # fmt: skip


def _document(**more: Any) -> dict[str, Any]:
    rain = {
        "path": "/rain", "protocol": "json", "unit": "request",
        "incumbent": {"version": "a", "urls": ["http://127.0.0.1:9001"]},
        "compare": {"kind": "regression", "output": "/y", "tolerance": 0.1, "scale": 1.0},
    }  # fmt: skip
    return {"endpoints": {"rain": rain}, **more}


def _refused(**more: Any) -> list[tuple[str, str]]:
    return [(one.path, one.allowed) for one in problems(_document(**more))]


def test_without_authentication_only_loopback_is_served() -> None:
    for admin in ("0.0.0.0:8081", "10.0.0.1:8081", "[::]:8081", "gate.example:8081"):
        ((path, allowed),) = _refused(admin=admin)
        assert path == "admin"
        assert "auth.tokens_file or auth.oidc" in allowed


def test_elsewhere_tokens_do_not_travel_in_the_clear() -> None:
    auth = {"tokens_file": "tokens.json"}
    ((path, allowed),) = _refused(admin="0.0.0.0:8081", auth=auth)
    assert (path, "admin_tls" in allowed) == ("admin", True)
    assert not _refused(admin="127.0.0.1:8081", auth=auth)
    ((path, _),) = _refused(admin="0.0.0.0:8081", auth={**auth, "url": "http://127.0.0.1:8081"})
    assert path == "admin"
    assert not _refused(admin="0.0.0.0:8081", auth={**auth, "url": "https://gate.example"})
    published = {**auth, "url": "http://127.0.0.1:8081", "behind_loopback": True}
    assert not _refused(admin="0.0.0.0:8081", auth=published)
    for url in (None, "https://gate.example"):
        ((path, _),) = _refused(admin="0.0.0.0:8081", auth={**published, "url": url})
        assert path == "auth.behind_loopback"
    assert not _refused(admin="0.0.0.0:8081", auth=auth, admin_tls={"certificate": "a", "key": "b"})


def test_the_address_of_the_console_is_written_as_browsers_write_it() -> None:
    for given, kept in (
        ("https://Gate.example:443/", "https://gate.example"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://gate.example:80", "https://gate.example:80"),
    ):
        assert parse(_document(auth={"url": given})).auth.url == kept


def test_an_issuer_is_read_with_its_rules() -> None:
    found = parse(_document(auth={"url": "https://Gate.example:8443/", "oidc": OIDC})).auth
    assert found.url == "https://gate.example:8443"
    assert found.secure
    assert found.oidc is not None
    assert found.oidc.audience == "gate"
    assert found.oidc.roles == (
        RoleRule("ops", Role.OPERATOR, ("*",)),
        RoleRule("r", Role.RELEASE, ("rain",)),
    )


def test_no_algorithm_has_a_shared_secret() -> None:
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name == "none"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"issuer": "http://issuer.example"}, "auth.oidc.issuer"),
        ({"issuer": "https://user@issuer.example"}, "auth.oidc.issuer"),
        ({"issuer": "https://issuer.example?x"}, "auth.oidc.issuer"),
        ({"issuer": "https://issuer.example:port"}, "auth.oidc.issuer"),
        ({"issuer": None}, "auth.oidc.issuer"),
        ({"client_id": None}, "auth.oidc.client_id"),
        ({"client_secret_env": "not a name"}, "auth.oidc.client_secret_env"),
        ({"algorithms": ["HS256"]}, "auth.oidc.algorithms[0]"),
        ({"algorithms": ["none"]}, "auth.oidc.algorithms[0]"),
        ({"skew": "1h"}, "auth.oidc.skew"),
        ({"roles": None}, "auth.oidc.roles"),
        ({"roles": [{"value": "x", "role": "root"}]}, "auth.oidc.roles[0].role"),
        ({"roles": [{"value": "x", "role": "nobody"}]}, "auth.oidc.roles[0].role"),
        ({"roles": [{"role": "admin"}]}, "auth.oidc.roles[0].value"),
        (
            {"roles": [{"value": "x", "role": "admin", "endpoints": ["a/b"]}]},
            "auth.oidc.roles[0].endpoints[0]",
        ),
        ({"secret": "x"}, "auth.oidc.secret"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(change: dict[str, Any], path: str) -> None:
    oidc = {**copy.deepcopy(OIDC), **change}
    assert path in [found for found, _ in _refused(auth={"url": "https://gate.example", "oidc": oidc})]


@pytest.mark.parametrize(
    ("auth", "path"),
    [
        ({"oidc": OIDC}, "auth.url"),
        ({"url": "http://gate.example"}, "auth.url"),
        ({"url": "https://gate.example/console"}, "auth.url"),
        ({"metrics": "closed"}, "auth.metrics"),
        ({"session": {"idle": "1s"}}, "auth.session.idle"),
        ({"session": {"idle": "2h", "longest": "1h"}}, "auth.session.longest"),
        ({"token_file": "x"}, "auth.token_file"),
    ],
)
def test_so_is_the_rest(auth: dict[str, Any], path: str) -> None:
    assert [found for found, _ in _refused(auth=auth)] == [path]


def test_what_is_needed_around_it_is_looked_for_before_the_start(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    with pytest.raises(ConfigError, match=r"auth\.tokens_file"):
        surroundings.access(AuthSettings(tokens_file=str(path)), {})
    with token_file.changing(path):
        pass
    assert surroundings.access(AuthSettings(tokens_file=str(path)), {}) == ""
    with pytest.raises(ConfigError, match="admin_tls"):
        surroundings.access(AuthSettings(certificate=str(path), key=str(path)), {})
    secret = {**OIDC, "client_secret_env": "SECRET_VARIABLE"}
    oidc = parse(_document(auth={"url": "https://gate.example", "oidc": secret})).auth
    with pytest.raises(ConfigError, match="SECRET_VARIABLE"):
        surroundings.access(oidc, {})
    assert surroundings.access(oidc, {"SECRET_VARIABLE": "s"}) == "s"
