"""Envoy: one worker thread, kept connections to the model servers, no access log, no admin port."""

from __future__ import annotations

import json
from pathlib import Path

from bench.peers.peer import Peer, Route, executable
from bench.process import Child

MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
PLENTY = 100_000


def configuration(route: Route) -> dict[str, object]:
    """The bootstrap document; JSON is YAML, so it is written as such."""
    action: dict[str, object] = {"cluster": "incumbent", "timeout": "60s" if route.streams else "2s"}
    clusters = [cluster("incumbent", route.incumbent)]
    if route.candidate is not None:
        action["request_mirror_policies"] = [{"cluster": "candidate"}]
        clusters.append(cluster("candidate", route.candidate))
    manager = {
        "@type": MANAGER,
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": action}]}
            ]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    listener = {
        "name": "clients",
        "address": address(route.port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, port: int) -> dict[str, object]:
    """A model server; the default limits (1024 of each) would turn load away."""
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), PLENTY)
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    }


def start(route: Route, directory: Path, core: int) -> Child:
    directory.mkdir(parents=True)
    path = directory / "envoy.json"
    path.write_text(json.dumps(configuration(route), indent=1))
    command = [executable("envoy"), "-c", str(path), "--concurrency", "1", "--disable-hot-restart"]
    return Child([*command, "-l", "error"], directory / "log", core=core)


ENVOY = Peer("envoy", ("envoy", "--version"), "make bench installs it into .venv-bench", start)
