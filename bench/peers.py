"""nginx, as the fast model servers behind everything and as the proxy to be compared with."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from bench.process import BenchError, Child, children, ticks

ENDLESS = 1_000_000_000

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


def model_servers(answers: Sequence[tuple[int, bytes]]) -> str:
    """One server for each (port, JSON body): it answers every request with 200 and that body."""
    return "".join(
        f"    server {{\n        listen 127.0.0.1:{port} backlog=4096;\n"
        "        default_type application/json;\n"
        f"        location / {{ return 200 '{answer.decode()}'; }}\n    }}\n"
        for port, answer in answers
    )


def proxy(port: int, upstream: int, mirrored_to: int | None = None) -> str:
    """A server on `port` that passes all on to `upstream` over kept connections; mirrors to `mirrored_to`."""
    text = _pool("incumbent", upstream)
    inside = "            proxy_pass http://incumbent;\n"
    mirror = ""
    if mirrored_to is not None:
        text += _pool("candidate", mirrored_to)
        inside += "            mirror /mirror;\n            mirror_request_body on;\n"
        mirror = (
            "        location = /mirror {\n            internal;\n"
            "            proxy_pass http://candidate$request_uri;\n        }\n"
        )
    return (
        f"{text}    server {{\n        listen 127.0.0.1:{port} backlog=4096;\n"
        '        proxy_http_version 1.1;\n        proxy_set_header Connection "";\n'
        f"        location / {{\n{inside}        }}\n{mirror}    }}\n"
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
    command = ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(configuration)]
    return Child(command, directory / "log", core=core)


def worker(nginx: Child) -> int:
    """The pid of nginx's one worker process, where its CPU time is spent."""
    for _ in ticks(5):
        if found := children(nginx.pid):
            return found[0]
    raise BenchError(f"nginx has no worker process: {nginx.tail()}")
