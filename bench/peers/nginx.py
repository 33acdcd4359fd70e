"""nginx, as the fast model servers behind everything and as the proxy to be compared with."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from bench.peers.peer import Peer, Route, executable
from bench.process import BenchError, Child, children, ticks

ENDLESS = 1_000_000_000
LONGEST_PARAMETER = 3500
"""Bytes; nginx refuses parameters that fill its buffer of 4096."""

# The largest bodies of the benchmark stay in memory, as they do in the gateway.
BUFFERS = """\
        client_body_buffer_size 256k;
        proxy_buffer_size 16k;
        proxy_buffers 16 16k;
        proxy_max_temp_file_size 0;
        proxy_connect_timeout 2s;
"""

FRAME = """\
{user}daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests {endless};
    tcp_nodelay on;
{content}}}
"""


def frame(content: str, directory: Path) -> str:
    """A whole nginx configuration around the servers in `content`; its files live in `directory`."""
    user = ""
    if os.geteuid() == 0:
        # Started by root its worker would become another user, who may not write to `directory`.
        user = f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(0).gr_name};\n"
    return FRAME.format(user=user, directory=directory, endless=ENDLESS, content=content)


def model_servers(answers: Sequence[tuple[int, bytes]], directory: Path) -> str:
    """One server for each (port, JSON body): it answers every request with 200 and that body.

    What the configuration cannot hold is written to `directory` and sent from the page cache.
    """
    return "".join(
        f"    server {{\n        listen 127.0.0.1:{port} backlog=4096;\n"
        f"        default_type application/json;\n{_answer(port, answer, directory)}    }}\n"
        for port, answer in answers
    )


def _answer(port: int, answer: bytes, directory: Path) -> str:
    if len(answer) <= LONGEST_PARAMETER:
        return f"        location / {{ return 200 '{answer.decode()}'; }}\n"
    (directory / f"{port}.json").write_bytes(answer)
    # nginx serves no file to a POST, unless as the page of an error.
    return (
        f"        root {directory};\n        sendfile on;\n        open_file_cache max=10;\n"
        f"        location / {{ error_page 405 =200 /{port}.json; return 405; }}\n"
        f"        location = /{port}.json {{ internal; }}\n"
    )


def proxy(route: Route) -> str:
    """A server that passes all on over kept connections, and mirrors if the route says so."""
    text = _pool("incumbent", route.incumbent)
    inside = "            proxy_pass http://incumbent;\n"
    mirror = ""
    if route.candidate is not None:
        text += _pool("candidate", route.candidate)
        inside += "            mirror /mirror;\n            mirror_request_body on;\n"
        mirror = (
            "        location = /mirror {\n            internal;\n"
            "            proxy_pass http://candidate$request_uri;\n        }\n"
        )
    if route.streams:
        inside += "            proxy_buffering off;\n"
    return (
        f"{text}    server {{\n        listen 127.0.0.1:{route.port} backlog=4096;\n"
        '        proxy_http_version 1.1;\n        proxy_set_header Connection "";\n'
        f"{BUFFERS}        location / {{\n{inside}        }}\n{mirror}    }}\n"
    )


def _pool(name: str, port: int) -> str:
    return (
        f"    upstream {name} {{\n        server 127.0.0.1:{port} max_fails=0;\n"
        f"        keepalive 256;\n        keepalive_requests {ENDLESS};\n    }}\n"
    )


def start(content: str, directory: Path, core: int) -> Child:
    """nginx with the servers in `content`, on `core`; the caller ends it."""
    directory.mkdir(parents=True)
    configuration = directory / "nginx.conf"
    configuration.write_text(frame(content, directory))
    command = [executable("nginx"), "-e", "stderr", "-p", str(directory), "-c", str(configuration)]
    return Child(command, directory / "log", core=core)


def worker(nginx: Child) -> int:
    """The pid of nginx's one worker process, where its CPU time is spent."""
    for _ in ticks(5):
        if found := children(nginx.pid):
            return found[0]
    raise BenchError(f"nginx has no worker process: {nginx.tail()}")


def start_proxy(route: Route, directory: Path, core: int) -> Child:
    return start(proxy(route), directory, core)


NGINX = Peer("nginx", ("nginx", "-v"), "apt-get install nginx", start_proxy, worker)
