"""`python -m bench.soak`: the prediction log's own process under hours' worth of traffic, at its own speed.

One sender plays a worker: batches of small V2 requests, at most so many without an acknowledgement. In the
middle the process is killed (SIGKILL) and started again, and what was not acknowledged is sent again, as
workers do. At the end everything that was sent is acknowledged and counted once; the folder is within its
bound; and memory, looked at after every batch, does not grow from the second quarter of each process's life
to its last. Bounded in records, so that it ends by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.log import BATCH, DIFFERENT, batches
from bench.process import BenchError
from monitoring.log.wire import Kept, Records, Status, Watch, decode_from_log, decode_to_log, frame
from shadow.wire import FrameBuffer

WINDOW = 16
"""Batches without an acknowledgement."""
PATIENCE = 120.0
MOST = 64 * 1024 * 1024
"""Bytes that the folder may have, so that it is pruned under way."""
ROLL = 2.0
"""Seconds of a segment, so that many become Parquet under way."""
GROWTH = 1.15
SLACK = 24 * 1024 * 1024
"""How much more memory the last quarter may have than the second one."""


@dataclass(frozen=True, slots=True)
class Soak:
    """What was seen: `memory` in bytes, the most in each quarter of each life; `cpu` in seconds a record."""

    sent: int
    kept: int
    lost: int
    rolled: int
    segments: int
    size: int
    memory: tuple[tuple[int, ...], ...]
    cpu: float

    def faults(self) -> list[str]:
        """What should not have been."""
        found = []
        if self.kept != self.sent:
            found.append(f"{self.sent} records were sent and {self.kept} kept")
        if self.lost:
            found.append(f"{self.lost} records were lost")
        if self.size > 1.25 * MOST:
            found.append(f"the folder has {self.size} bytes, and may have {MOST}")
        return found + [
            f"memory grew from {quarters[1]} to {quarters[3]} bytes"
            for quarters in self.memory
            if quarters[3] > GROWTH * quarters[1] + SLACK
        ]


class Traffic:
    """Batches of one session, of a few thousand different requests over and over."""

    def __init__(self, folder: Path, count: int) -> None:
        self.batches = count // BATCH
        made = [decode_to_log(one[4:]) for one in batches(folder / "made", min(count, DIFFERENT))]
        self._made = [one for one in made if isinstance(one, Records)]

    def frame(self, index: int) -> bytes:
        """The batch of that index, from 0, always the same."""
        return frame(Records("soak", index + 1, self._made[index % len(self._made)].sections, []))


class Keeper:
    """The log's process, and the one connection to it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log.sock"
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "control.recording", "--socket", str(self._path),
                "--folder", str(folder / "predictions"), "--keep", "1e9", "--most", str(MOST),
                "--roll", str(ROLL),
            ],
            stdin=subprocess.PIPE,
        )  # fmt: skip
        if self._process.stdin is None:
            raise BenchError("the log's process has no pipe")
        self._process.stdin.write(b"k" * 32)
        self._process.stdin.flush()
        self._frames = FrameBuffer()
        self._read: deque[Kept | Status] = deque()
        self._socket = self._connected()

    def _connected(self) -> socket.socket:
        ends = time.monotonic() + PATIENCE
        while True:
            one = socket.socket(socket.AF_UNIX)
            one.settimeout(PATIENCE)
            try:
                one.connect(str(self._path))
            except OSError:
                one.close()
                if time.monotonic() > ends or self._process.poll() is not None:
                    raise BenchError("the log's process does not answer") from None
                time.sleep(0.02)
            else:
                return one

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def acknowledged(self) -> int:
        """The next acknowledgement: up to which batch."""
        while True:
            message = self._next()
            if isinstance(message, Kept):
                return message.sequence

    def status(self) -> Status:
        self.send(frame(Watch()))
        while True:
            message = self._next()
            if isinstance(message, Status):
                return message

    def _next(self) -> Kept | Status:
        while not self._read:
            data = self._socket.recv(65536)
            if not data:
                raise BenchError("the log's process has gone")
            for payload in self._frames.feed(data):
                message = decode_from_log(payload)
                if isinstance(message, Kept | Status):
                    self._read.append(message)
        return self._read.popleft()

    def memory(self) -> int:
        """Bytes of it that are in memory now."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, number: int) -> None:
        self._socket.close()
        self._process.send_signal(number)
        self._process.wait(PATIENCE)
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._path.unlink(missing_ok=True)


def soak(folder: Path, count: int) -> Soak:
    """Send so many records, in two lives of the process. Raises BenchError when it does not answer."""
    folder.mkdir(parents=True, exist_ok=True)
    traffic = Traffic(folder, count)
    middle = traffic.batches // 2
    kept, lost, rolled, cpu = 0, 0, 0, 0.0
    memory: list[tuple[int, ...]] = []
    first = 0
    for last in (middle, traffic.batches):
        keeper = Keeper(folder)
        try:
            done, seen = _life(keeper, traffic, first, last)
            ends = time.monotonic() + PATIENCE
            while (status := keeper.status()).backlog and time.monotonic() < ends:
                time.sleep(0.02)
            kept += sum(one.count for one in status.records if one.outcome == "kept")
            lost += sum(one.count for one in status.dropped)
            rolled += status.rolls[0]
            cpu += keeper.cpu()
            memory.append(seen)
            first = max(0, done - WINDOW // 2)  # some of it is sent again, as after a lost acknowledgement
        finally:
            keeper.end(signal.SIGKILL if last == middle else signal.SIGTERM)
    return Soak(
        traffic.batches * BATCH, kept, lost, rolled, status.segments, status.size, tuple(memory),
        cpu / (traffic.batches * BATCH),
    )  # fmt: skip


def _life(keeper: Keeper, traffic: Traffic, first: int, last: int) -> tuple[int, tuple[int, ...]]:
    """Send batches until all are acknowledged: how far, and the most memory in each quarter."""
    most = [0, 0, 0, 0]
    sent = done = first
    while done < last:
        while sent < last and sent - done < WINDOW:
            keeper.send(traffic.frame(sent))
            sent += 1
        done = max(done, keeper.acknowledged())
        quarter = min(3, 4 * (done - first) // max(1, last - first))
        most[quarter] = max(most[quarter], keeper.memory())
    return done, tuple(most)


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 when something was as it should not be."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="how many, in all")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        seen = soak(Path(folder), given.records)
    faults = seen.faults()
    print(json.dumps({**asdict(seen), "faults": faults}, indent=1))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
