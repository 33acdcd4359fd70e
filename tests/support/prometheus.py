"""A real Prometheus, Debian's, kept beside the environment and started for tests.

    python -m tests.support.prometheus       gets what is missing

What is on the PATH is used; else Debian's package is downloaded and unpacked into `.prometheus/`, once:
nothing is installed and no service is started, so nobody has to be root for it (lists of packages have to be
there). What cannot be had skips its tests, with the reason. It runs while the tests are set up, and so
imports nothing of the project.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.unleash import MissingError

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".prometheus"
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
PATIENCE = 60.0
"""Seconds that it has to become ready, on a busy machine."""
LONGEST = 200.0
"""Seconds that getting it may take; less than a test has (pyproject.toml)."""


def program(name: str, *, again: bool = False) -> str:
    """The path of `prometheus` or `promtool`. Raises MissingError.

    What could not be had is not tried again by every test, only where `again` says so.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    HOME.mkdir(exist_ok=True)
    missing = HOME / "missing"
    with (HOME / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        path = HOME / "package" / "usr" / "bin" / name
        if not path.exists():
            if missing.exists() and not again:
                raise MissingError(missing.read_text())
            try:
                _get(time.monotonic() + LONGEST)
            except MissingError as error:
                missing.write_text(str(error))
                raise
            missing.unlink(missing_ok=True)
        return str(path)


def _get(end: float) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise MissingError(f"prometheus is not on the PATH, and there is no {tool} to get it with")
    print("getting prometheus ...", file=sys.stderr, flush=True)
    try:
        _call(["apt-get", "-qq", "download", "prometheus"], end)
    except MissingError:
        if os.geteuid() != 0:
            raise
        _call(["apt-get", "-qq", "update"], end)
        _call(["apt-get", "-qq", "download", "prometheus"], end)
    package = max(HOME.glob("prometheus_*.deb"), key=lambda path: path.stat().st_mtime)
    # Renamed when it is whole: half a program that somebody interrupted would be taken for one.
    half, whole = HOME / "half", HOME / "package"
    for old in (half, whole):
        shutil.rmtree(old, ignore_errors=True)
    _call(["dpkg-deb", "-x", str(package), str(half)], end)
    half.rename(whole)
    package.unlink()


def _call(command: Sequence[str], end: float) -> None:
    left = max(0.1, end - time.monotonic())
    try:
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=left, check=False)
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{' '.join(command)}: prometheus was not to be had in {LONGEST:g} s") from error
    if done.returncode:
        raise MissingError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")


class Prometheus:
    """A running server, and its HTTP API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """The answer's `data`. Raises AssertionError with what it says is wrong."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def values(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """What `expression` gives now: labels and value of every series."""
        found = self.ask("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def alerts(self) -> dict[str, str]:
        """State (`pending`, `firing`) of the alerts that are there, by name."""
        return {one["labels"]["alertname"]: one["state"] for one in self.ask("alerts")["alerts"]}

    def targets(self) -> dict[str, tuple[str, str]]:
        """Health and last error of everything that is scraped, by URL."""
        found = self.ask("targets")["activeTargets"]
        return {one["scrapeUrl"]: (one["health"], one["lastError"]) for one in found}


@contextmanager
def prometheus(folder: Path, configuration: Mapping[str, object]) -> Iterator[Prometheus]:
    """One on a free port, with `configuration` (as JSON, which is YAML) and its data in `folder`.

    Raises MissingError.
    """
    binary, port = program("prometheus"), free_port()
    path, log = folder / "prometheus.yml", folder / "prometheus.log"
    path.write_text(json.dumps(configuration))
    command = [
        binary, f"--config.file={path}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage",
    ]  # fmt: skip
    with log.open("ab") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, start_new_session=True)
    try:
        _await_ready(f"http://127.0.0.1:{port}/-/ready", process, log)
        yield Prometheus(port)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"{url} never was ready:\n{log.read_text()[-4000:]}")


if __name__ == "__main__":
    try:
        program("prometheus", again=True)
    except MissingError as error:
        print(f"Prometheus: its tests will be skipped: {error}", file=sys.stderr)
