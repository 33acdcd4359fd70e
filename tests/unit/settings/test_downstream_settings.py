"""How clients reach the data plane, as configured: what is read, and what is refused by key and reason."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ConfigError
from settings.parse import parse, problems
from settings.schema import (
    AccessLogSettings,
    CertificateFiles,
    Downstream,
    Limits,
    Settings,
    Timeouts,
    UnixAddress,
)

RAIN = {
    "path": "/rain",
    "protocol": "v2",
    "unit": "request",
    "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
    "compare": {"kind": "regression"},
}


def document(**keys: Any) -> dict[str, Any]:
    return {"endpoints": {"rain": RAIN}, **keys}


def read(**keys: Any) -> Settings:
    return parse(document(**keys))


def test_nothing_given_is_plain_tcp_with_the_defaults() -> None:
    assert read().downstream == Downstream()
    assert read().downstream.timeouts == Timeouts(10.0, 30.0, 75.0)


def test_everything_given_is_read_in_its_units() -> None:
    found = read(
        listen="unix:/run/pointsman.sock",
        tls=[{"certificate": "one.pem", "key": "one.key", "names": ["One.Example", "*.wild.example"]}],
        proxy_protocol={"from": ["10.0.0.0/8", "::1", "unix"]},
        timeouts={"head": "5s", "body": "6s", "idle": "1m"},
        limits={"connections": 100, "connections_per_client": 10, "max_in_flight": 50, "memory": "512MiB"},
        access_log={"path": "access.log", "sample": "100%"},
    )
    assert found.listen == UnixAddress("/run/pointsman.sock")
    assert str(found.listen) == "unix:/run/pointsman.sock"
    assert found.downstream == Downstream(
        tls=(CertificateFiles("one.pem", "one.key", ("one.example", "*.wild.example")),),
        proxied_by=("10.0.0.0/8", "::1/128", "unix"),
        timeouts=Timeouts(5.0, 6.0, 60.0),
        limits=Limits(100, 10, 50, 512 * 1024 * 1024),
        access_log=AccessLogSettings("access.log", 10_000),
    )


def test_an_access_log_without_keys_is_one_percent_on_standard_error() -> None:
    assert read(access_log={}).downstream.access_log == AccessLogSettings("stderr", 100)


def test_an_endpoints_bound_reaches_the_settings() -> None:
    found = parse({"endpoints": {"rain": {**RAIN, "max_in_flight": 7, "adaptive": True}}}).endpoint("rain")
    assert (found.max_in_flight, found.adaptive) == (7, True)


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("listen", "unix:relative.sock", "listen"),
        ("listen", "unix:/" + "x" * 107, "listen"),
        ("listen", "unix:/run/", "listen"),
        ("tls", [], "tls"),
        ("tls", [{"certificate": "one.pem"}], "tls[0].key"),
        ("tls", [{"key": "one.key"}], "tls[0].certificate"),
        ("tls", [{"certificate": "a", "key": "b", "names": ["*"]}], "tls[0].names[0]"),
        ("tls", [{"certificate": "a", "key": "b", "names": ["a.*.b"]}], "tls[0].names[0]"),
        ("tls", [{"certificate": "a", "key": "b", "names": ["x"]}] * 2, "tls"),
        ("tls", [{"certificate": "a", "key": "b"}] * 101, "tls"),
        ("proxy_protocol", {}, "proxy_protocol.from"),
        ("proxy_protocol", {"from": []}, "proxy_protocol.from"),
        ("proxy_protocol", {"from": ["balancer"]}, "proxy_protocol.from[0]"),
        ("proxy_protocol", {"from": ["10.0.0.1/8"]}, "proxy_protocol.from[0]"),
        ("timeouts", {"head": "0s"}, "timeouts.head"),
        ("timeouts", {"idle": 75}, "timeouts.idle"),
        ("limits", {"connections": 0}, "limits.connections"),
        ("limits", {"memory": "1MiB"}, "limits.memory"),
        ("access_log", {"sample": "101%"}, "access_log.sample"),
        ("access_log", {"file": "x"}, "access_log.file"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(key: str, value: Any, path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(**{key: value})
    assert path in [problem.path for problem in problems(document(**{key: value}))]
    assert refused.value.allowed
