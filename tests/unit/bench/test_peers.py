"""What the peers are told to do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.peers import PEERS, envoy, haproxy, nginx, traefik
from bench.peers.peer import Peer, Route, executable
from bench.process import BenchError, Child

FORWARD = Route(7, 8)
MIRROR = Route(7, 8, 9)
STREAM = Route(7, 8, streams=True)


def test_nginx_mirrors_only_when_asked() -> None:
    assert "mirror" not in nginx.proxy(FORWARD)
    assert "mirror /mirror;" in nginx.proxy(MIRROR)
    assert "server 127.0.0.1:9 " in nginx.proxy(MIRROR)
    assert "keepalive 256;" in nginx.proxy(FORWARD)
    assert "listen 127.0.0.1:7 " in nginx.proxy(FORWARD)


def test_an_answer_too_long_for_nginx_configuration_is_served_from_a_file(tmp_path: Path) -> None:
    long = b"[" + b"0" * 100_000 + b"]"
    text = nginx.model_servers([(7, b"{}"), (8, long)], tmp_path)
    assert "return 200 '{}';" in text
    assert len(text) < 2000
    assert (tmp_path / "8.json").read_bytes() == long


def test_streams_are_passed_on_at_once_by_those_who_need_to_be_told() -> None:
    assert "proxy_buffering off;" in nginx.proxy(STREAM)
    assert "proxy_buffering" not in nginx.proxy(FORWARD)
    assert "option http-no-delay" in haproxy.configuration(STREAM)
    assert "http-no-delay" not in haproxy.configuration(FORWARD)


def test_haproxy_has_one_thread_and_says_that_it_cannot_mirror() -> None:
    assert "nbthread 1" in haproxy.configuration(FORWARD)
    assert PEERS["haproxy"].absent(mirroring=True) == "cannot mirror by itself"


def test_envoy_mirrors_only_when_asked() -> None:
    assert "request_mirror_policies" not in json.dumps(envoy.configuration(FORWARD))
    text = json.dumps(envoy.configuration(MIRROR))
    assert '"request_mirror_policies": [{"cluster": "candidate"}]' in text
    assert '"port_value": 9' in text
    assert "access_log" not in text


def test_traefik_mirrors_only_when_asked() -> None:
    services = traefik.routing(FORWARD)["http"]["services"]  # type: ignore[index]
    assert list(services) == ["incumbent"]
    services = traefik.routing(MIRROR)["http"]["services"]  # type: ignore[index]
    assert services["mirrored"]["mirroring"]["mirrors"] == [{"name": "candidate", "percent": 100}]


def _never(route: Route, directory: Path, core: int) -> Child:
    raise AssertionError("must not be started")


def test_a_peer_that_is_not_installed_says_how_to_install_it() -> None:
    peer = Peer("none", ("no-such-proxy-here", "-v"), "apt-get install none", _never)
    assert peer.absent(mirroring=False) == "no-such-proxy-here is not installed: apt-get install none"
    assert peer.version() == "not installed"
    with pytest.raises(BenchError, match="no-such-proxy-here"):
        executable("no-such-proxy-here")


def test_a_peer_is_found_where_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "some-proxy"
    program.write_text("#!/bin/sh\necho some-proxy 1.2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    peer = Peer("some", ("some-proxy", "-v"), "", _never)
    assert peer.absent(mirroring=True) is None
    assert peer.version() == "some-proxy 1.2"
