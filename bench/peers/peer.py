"""What a peer is: another proxy that does the same work beside the gateway."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.process import ROOT, BenchError, Child

OWN_PLACE = ROOT / ".venv-bench"
"""Where `make bench` installs what is not in Debian: never the gateway's own environment."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a peer does: pass all that comes to `port` on to `incumbent`, mirror it to `candidate` if given.

    `streams`: answers come in pieces that must be passed on at once, for which some peers need a setting.
    """

    port: int
    incumbent: int
    candidate: int | None = None
    streams: bool = False


def own_process(child: Child) -> int:
    """The process that carries the requests, where that is the one that was started."""
    return child.pid


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy to compare with. `start` raises BenchError when the program is not there."""

    name: str
    version_command: tuple[str, ...]
    install: str
    start: Callable[[Route, Path, int], Child]
    worker: Callable[[Child], int] = own_process
    mirrors: bool = True

    def version(self) -> str:
        """The first line that the program says of itself, or `not installed`."""
        program, *rest = self.version_command
        found = located(program)
        return first_line([found, *rest]) if found else "not installed"

    def absent(self, *, mirroring: bool) -> str | None:
        """Why it cannot take part, with the way out; None if it can."""
        if mirroring and not self.mirrors:
            return "cannot mirror by itself"
        program = self.version_command[0]
        return None if located(program) else f"{program} is not installed: {self.install}"


def located(program: str) -> str | None:
    """The path of `program`: out of our own place, or else as the shell would find it."""
    places = os.pathsep.join((str(OWN_PLACE / "bin"), os.environ.get("PATH", ""), "/usr/sbin"))
    return shutil.which(program, path=places)


def executable(program: str) -> str:
    """As `located`; BenchError if it is nowhere."""
    found = located(program)
    if found is None:
        raise BenchError(f"{program} is not installed")
    return found


def first_line(command: Sequence[str]) -> str:
    """The first line that a program prints when asked for its version."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        return "not installed"
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else "installed"
