"""What a version says of its servers: read whole, refused by key and reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from domain.errors import ConfigError
from domain.routing import Balance, ConnectionLimits, Ejection, HealthCheck, Policy, Trust
from settings.parse import parse, problems

DOCUMENT: dict[str, Any] = {
    "endpoints": {
        "rain": {
            "path": "/rain",
            "protocol": "v2",
            "unit": "request",
            "compare": {"kind": "classification"},
            "incumbent": {"version": "rain-1", "urls": ["https://a:9001", "https://b:9001"]},
        }
    }
}


def incumbent(**keys: object) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    document["endpoints"]["rain"]["incumbent"].update(keys)
    return document


def policies(**keys: object) -> list[Policy]:
    version = parse(incumbent(**keys)).endpoint("rain").incumbent
    return [upstream.policy for upstream in version.upstreams]


def test_a_version_that_says_nothing_has_the_defaults_and_no_checks() -> None:
    assert policies() == [Policy(), Policy()]
    assert Policy().health is None


def test_every_server_of_a_version_is_treated_alike() -> None:
    first, second = policies(
        slow_start="1m",
        resolve="5s",
        connections={"max": 8, "pending": 9, "uploads": "25%", "connect_timeout": "300ms"},
        health={"path": "/ready", "every": "2s", "timeout": "500ms", "healthy": 4, "unhealthy": 5},
        ejection={"consecutive_errors": 6, "pause": "10s", "longest": "20s", "share": "34%"},
        tls={"ca": "ca.pem", "certificate": "own.pem", "key": "own.key", "server_name": "Models.example"},
    )
    assert first == second
    assert first == Policy(
        connections=ConnectionLimits(8, 9, 0.25, 0.3),
        health=HealthCheck("/ready", 2.0, 0.5, 4, 5),
        ejection=Ejection(6, 10.0, 20.0, 0.34),
        trust=Trust("ca.pem", "own.pem", "own.key", "models.example"),
        slow_start=60.0,
        resolve=5.0,
    )


def test_the_balance_is_the_versions() -> None:
    for name, balance in (("two_choices", Balance.TWO_CHOICES), ("least_in_flight", Balance.LEAST_IN_FLIGHT)):
        assert parse(incumbent(balance=name)).endpoint("rain").incumbent.balance is balance


REFUSED: list[tuple[dict[str, object], str, str]] = [
    ({"balance": "round_robin"}, "balance", "'least_in_flight' or 'two_choices'"),
    ({"slow_start": 10}, "slow_start", "with its unit"),
    ({"resolve": "100ms"}, "resolve", "from 1s"),
    ({"connections": {"max": 0}}, "connections.max", "1 to 65536"),
    ({"connections": {"uploads": "0%"}}, "connections.uploads", "from 1%"),
    ({"connections": {"connect_timeout": "2m"}}, "connections.connect_timeout", "to 1m"),
    ({"connections": {"most": 5}}, "connections.most", "known here: max"),
    ({"health": {}}, "health.path", "required"),
    ({"health": {"path": "ready"}}, "health.path", "'/'"),
    ({"health": {"path": "/ready", "healthy": 0}}, "health.healthy", "1 to 100"),
    ({"health": True}, "health", "mapping"),
    ({"ejection": {"share": "101%"}}, "ejection.share", "to 100%"),
    ({"ejection": {"pause": "10m"}}, "ejection.pause", "longer than 'longest', 300s"),
    ({"tls": {"key": "own.key"}}, "tls.key", "certificate"),
    ({"tls": {"server_name": "a b"}}, "tls.server_name", "certificate carries"),
    ({"tls": {"ca": "ca.pem"}, "urls": ["https://a", "http://b"]}, "tls", "http://b:80 is not TLS"),
    ({"tls": {"verify": False}}, "tls.verify", "no such key"),
]


@pytest.mark.parametrize(("keys", "path", "reason"), REFUSED)
def test_what_cannot_be_is_refused_by_key_and_reason(keys: dict[str, object], path: str, reason: str) -> None:
    found = problems(incumbent(**keys))
    assert [(one.path, reason in one.allowed) for one in found] == [
        (f"endpoints.rain.incumbent.{path}", True)
    ]
    with pytest.raises(ConfigError):
        parse(incumbent(**keys))
