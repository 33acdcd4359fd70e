"""`pointsman status --watch` on a terminal of its own, and in a pipe, against a control process that dies."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.control import ControlProcess, document, write
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PROGRAM = "from console.app import main; main()"
OWN_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
LONGEST = 50.0
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose admin port stays the same when the control process is started again."""
    path = tmp_path_factory.mktemp("watch")
    write(path, document(path) | {"admin": f"127.0.0.1:{free_port()}"})
    return path


class Terminal:
    """A command on a terminal 60 columns wide, and what it showed there."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
        for name in ("COLUMNS", "LINES", "FORCE_COLOR", "POINTSMAN_TOKEN"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL + PROGRAM, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, start_new_session=True,
        )  # fmt: skip
        self.raw = ""

    def until(self, expected: str, after: int = 0) -> int:
        """Wait until `expected` was shown behind `after`; where it ends in what was shown."""
        patience = time.monotonic() + LONGEST
        while True:
            shown = self.shown
            place = shown.find(expected, after)
            if place >= 0:
                return place + len(expected)
            assert time.monotonic() < patience, f"{expected!r} was never shown:\n{shown[-3000:]}"
            if select.select([self._ours], [], [], 1.0)[0]:
                self._read()

    def _read(self) -> None:
        self.raw += os.read(self._ours, 65536).decode("utf-8", "replace")

    @property
    def shown(self) -> str:
        """The text without what steers the terminal, blanks and line ends as one blank."""
        return re.sub(r"\s+", " ", _SEQUENCE.sub(" ", self.raw))

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def left(self) -> int:
        """The exit code, once it has ended."""
        patience = time.monotonic() + LONGEST
        while self.process.poll() is None:
            assert time.monotonic() < patience, "it did not end"
            if select.select([self._ours], [], [], 0.05)[0]:
                self._read()
        while select.select([self._ours], [], [], 0)[0]:
            self._read()
        return self.process.returncode

    def modes(self) -> list[object]:
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.fixture(scope="module")
def started(folder: Path) -> Iterator[list[ControlProcess]]:
    """The control processes that were started; the last one is ended."""
    found: list[ControlProcess] = []
    yield found
    if found and found[-1].process.poll() is None:
        found[-1].terminate()


@pytest.fixture
def control(folder: Path, started: list[ControlProcess]) -> list[ControlProcess]:
    """The same; the last one runs."""
    if not started or started[-1].process.poll() is not None:
        started.append(ControlProcess(folder))
    return started


def admin(control: ControlProcess) -> str:
    return control.admin if control.admin.startswith("http") else f"http://{control.admin}"


@pytest.mark.timeout(240)
def test_a_watch_shows_a_kill_survives_a_restart_and_leaves_the_terminal_as_it_was(
    folder: Path, control: list[ControlProcess]
) -> None:
    url = admin(control[-1])
    terminal = Terminal("status", "--watch", "--admin", url)
    try:
        terminal.until("armed")
        killed = httpx.post(
            f"{url}/api/v1/endpoints/rain/kill", json={"reason": "looks wrong"}, trust_env=False, timeout=30
        )
        assert killed.status_code == 200, killed.text
        seen = terminal.until("TRIPPED")
        control[-1].kill()
        seen = terminal.until("data plane serves on", terminal.until("not seen since", seen))
        control.append(ControlProcess(folder))
        seen = terminal.until("TRIPPED", terminal.until("answers again since", seen))
        terminal.type(b"q")
        assert terminal.left() == 0
        assert "\x1b[?1049h" in terminal.raw
        assert terminal.raw.rindex("\x1b[?1049l") > terminal.raw.rindex("\x1b[?1049h")
        assert terminal.modes() == terminal.before
    finally:
        terminal.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_signals_end_a_watch_and_give_the_terminal_back(
    control: list[ControlProcess], number: signal.Signals, code: int
) -> None:
    terminal = Terminal("status", "rain", "--watch", "--admin", admin(control[-1]))
    try:
        terminal.until("rain-1")
        terminal.process.send_signal(number)
        assert terminal.left() == code
        assert "Traceback" not in terminal.shown
        assert terminal.modes() == terminal.before
    finally:
        terminal.close()


@pytest.mark.timeout(240)
def test_json_in_a_pipe_is_a_line_for_every_change(folder: Path, control: list[ControlProcess]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "status", "rain", "--watch", "--json", "--admin", admin(control[-1])],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=ROOT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["endpoint"] == "rain"
            control[-1].kill()
            while (found := json.loads(process.stdout.readline())).get("title") != "Gateway unreachable":
                assert found["endpoint"] == "rain"
            control.append(ControlProcess(folder))
            while (found := json.loads(process.stdout.readline())).get("endpoint") != "rain":
                assert found["title"]
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.wait() == 0
        finally:
            process.kill()
