"""HAProxy: one thread, kept connections to the model servers, no log."""

from __future__ import annotations

from pathlib import Path

from bench.peers.peer import Peer, Route, executable
from bench.process import Child

CONFIGURATION = """\
global
    nbthread 1
    maxconn 8192

defaults
    mode http
    option http-keep-alive
    http-reuse always
    retries 0
    timeout connect 2s
    timeout client 60s
    timeout server {timeout}
{options}
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    default_backend incumbent

backend incumbent
    server model 127.0.0.1:{incumbent}
"""


def configuration(route: Route) -> str:
    """The whole file.

    Without `http-no-delay` HAProxy waits for more of a streamed answer, and before it tries a dead server
    again it waits a second.
    """
    return CONFIGURATION.format(
        port=route.port,
        incumbent=route.incumbent,
        timeout="60s" if route.streams else "2s",
        options="    option http-no-delay\n" if route.streams else "",
    )


def start(route: Route, directory: Path, core: int) -> Child:
    directory.mkdir(parents=True)
    path = directory / "haproxy.cfg"
    path.write_text(configuration(route))
    return Child([executable("haproxy"), "-db", "-q", "-f", str(path)], directory / "log", core=core)


HAPROXY = Peer("haproxy", ("haproxy", "-v"), "apt-get install haproxy", start, mirrors=False)
