"""Traefik: one thread for Go code, kept connections to the model servers, no access log."""

from __future__ import annotations

import json
from pathlib import Path

from bench.peers.peer import Peer, Route, executable
from bench.process import Child


def entry(route: Route, dynamic: Path) -> dict[str, object]:
    """The static configuration: where it listens, and which file says what to do."""
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR"},
        "entryPoints": {"clients": {"address": f"127.0.0.1:{route.port}"}},
        "providers": {"file": {"filename": str(dynamic), "watch": False}},
    }


def routing(route: Route) -> dict[str, object]:
    """The dynamic configuration: one router for all, in front of one service or of a mirroring one."""
    services: dict[str, object] = {"incumbent": balanced(route.incumbent)}
    target = "incumbent"
    if route.candidate is not None:
        target = "mirrored"
        services["candidate"] = balanced(route.candidate)
        services[target] = {
            "mirroring": {"service": "incumbent", "mirrors": [{"name": "candidate", "percent": 100}]}
        }
    router = {"entryPoints": ["clients"], "rule": "PathPrefix(`/`)", "service": target}
    kept = {"maxIdleConnsPerHost": 512, "forwardingTimeouts": {"dialTimeout": "2s", "idleConnTimeout": "60s"}}
    return {
        "http": {"routers": {"all": router}, "services": services, "serversTransports": {"kept": kept}},
    }


def balanced(port: int) -> dict[str, object]:
    server = {"url": f"http://127.0.0.1:{port}"}
    # The shortest interval there is: pieces of a stream are passed on at once.
    forwarding = {"flushInterval": "1ms"}
    return {
        "loadBalancer": {"servers": [server], "serversTransport": "kept", "responseForwarding": forwarding}
    }


def start(route: Route, directory: Path, core: int) -> Child:
    directory.mkdir(parents=True)
    dynamic = directory / "dynamic.yaml"
    dynamic.write_text(json.dumps(routing(route), indent=1))
    path = directory / "traefik.yaml"
    path.write_text(json.dumps(entry(route, dynamic), indent=1))
    command = [executable("traefik"), f"--configFile={path}"]
    return Child(command, directory / "log", core=core, environment={"GOMAXPROCS": "1"})


TRAEFIK = Peer("traefik", ("traefik", "version"), "make bench installs it into .venv-bench", start)
