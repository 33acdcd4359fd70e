"""The supervisor: starts the workers and the control process, and starts them again when they end.

It holds each worker's listening socket (SO_REUSEPORT, one a worker), so that connections which arrive while
a worker is being replaced wait in the kernel instead of being refused. A worker gets a snapshot with every
candidate out: until the control process has told it the true state, unknown means incumbent.

What a snapshot cannot change (timeouts, limits, TLS, the code itself) is changed by replacing the workers one
by one: the new one serves before the old one drains. See gateway.handover for the supervisor's own upgrade.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from domain.errors import ConfigError
from gateway import accelerator, certificates, handover, sockets
from gateway.boot import Boot, NewCertificates, ReopenLogs
from gateway.certificates import Certificate
from gateway.children import LONGEST_PAUSE, Child, Heir, Rhythm, end, start
from gateway.handover import Handover
from gateway.log import log, report
from gateway.resident import raise_descriptor_limit
from gateway.workers import Workers
from settings.file import identity, load
from settings.schema import Settings
from settings.snapshot import boot as boot_snapshot
from settings.surroundings import demand
from shadow.tasks import Tasks

CONTROL_GRACE = 5.0
"""Seconds the control process has to end after SIGTERM."""
LOOK = 0.5
"""Seconds between looks at the configuration and the certificates."""
KILL_KEPT = 30.0
"""Seconds after which a control process that was started to kill has surely done so, and kept it."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Supervisor:
    """Runs one gateway on this machine. `inherited` is what the supervisor before an upgrade left."""

    def __init__(
        self, settings: Settings, config: Path, workers: int, inherited: Handover | None = None
    ) -> None:
        """Raises ConfigError when the address cannot be had or a certificate is no good."""
        self._settings = settings
        self._config = config
        self._inherited = inherited
        self._certificates: tuple[Certificate, ...] = certificates.read(settings.downstream.tls)
        self._tasks = Tasks(report)
        self._unit_key = secrets.token_bytes(32) if inherited is None else inherited.unit_key
        self._stopping = asyncio.Event()
        self._changing = asyncio.Lock()
        self._control: Child | None = None
        self._log: Child | None = None
        self._killing = inherited is not None and inherited.killing
        self._listen = str(settings.listen)
        self._workers = Workers(self._sockets(workers), self._boot, self._tasks, self._stopping)
        folder = tempfile.mkdtemp(prefix="pointsman-") if inherited is None else inherited.folder
        self._folder = Path(folder)
        self._link = str(self._folder / "link.sock")
        self._log_socket = str(self._folder / "log.sock")
        self._good = self._folder / "good.yaml"

    def _sockets(self, count: int) -> list[socket.socket]:
        """The sockets of the supervisor before this one, as far as they fit; new ones otherwise."""
        inherited = [] if self._inherited is None else sockets.adopt(self._inherited.sockets)
        if self._inherited is None or self._inherited.listen != self._listen:
            for one in inherited:
                one.close()  # its worker, while it drains, accepts what still waits there
            return sockets.bind(self._settings.listen, count)
        for one in inherited[count:]:
            one.close()
        return sockets.more(inherited[:count], count)

    def _boot(self) -> Boot:
        """The orders that all workers begin with, as they are now."""
        return Boot(
            index=0,
            socket_fd=-1,
            link=self._link,
            drain=self._settings.drain,
            unit_key=self._unit_key,
            snapshot=boot_snapshot(self._settings),
            downstream=self._settings.downstream,
            certificates=self._certificates,
            log=self._log_socket,
        )

    async def run(self, *, held: bool = False) -> None:
        """Until SIGTERM or SIGINT, or `held` until standard input ends; then drain."""
        loop = asyncio.get_running_loop()
        if held:
            loop.add_reader(0, self._holder_spoke)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._tasks.spawn(self._reload(), "reload"))
        loop.add_signal_handler(signal.SIGUSR1, self._kill)
        loop.add_signal_handler(signal.SIGUSR2, lambda: self._tasks.spawn(self._upgrade(), "upgrade"))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            self._remember()
            await self._begin()
            log(
                "info",
                "listening",
                address=str(self._workers.address),
                admin=str(self._settings.admin),
                workers=len(self._workers),
            )
            if stale := accelerator.stale():
                way_out = (
                    "what is compiled of them is not used: install again, or run `python hatch_build.py`"
                )
                log("warning", "sources changed since they were compiled", modules=stale, way_out=way_out)
            self._tasks.spawn(self._watch(), "watch")
            await self._stopping.wait()
            await self._stop()
            await self._tasks.cancel()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _holder_spoke(self) -> None:
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            self._stopping.set()

    # ---- start, and start again -----------------------------------------------------------------------

    async def _begin(self) -> None:
        """Start everything; after an upgrade each successor serves before its predecessor ends."""
        heirs: list[Heir] = []
        if self._inherited is not None:
            heirs = self._inherited.workers
            if (control := self._inherited.control) is not None:
                # One at a time writes the state and has the admin port.
                await end([Child(control.pid, control.orders)], CONTROL_GRACE)
            if (keeper := self._inherited.log) is not None:
                await end([Child(keeper.pid, keeper.orders)], CONTROL_GRACE)
        self._tasks.spawn(self._keep_control(), "control")
        self._tasks.spawn(self._keep_log(), "prediction log")
        await self._workers.begin([Child(heir.pid, heir.orders, heir.number) for heir in heirs])

    async def _keep_control(self) -> None:
        rhythm = Rhythm()
        while not self._stopping.is_set():
            rhythm.begun()
            try:
                self._control = start(
                    [
                        "-m", "control", "-c", str(self._config), "--fallback", str(self._good),
                        "--link", self._link, "--log", self._log_socket, "--workers", str(len(self._workers)),
                        *(["--kill"] if self._killing else []),
                    ]
                )  # fmt: skip
            except OSError as error:  # no room for a process now, which may have ended the one before, too
                report("the control process cannot be started", error)
                await asyncio.sleep(LONGEST_PAUSE)
                continue
            asked, self._killing = self._killing, False
            began = time.monotonic()
            code = await self._control.wait()
            self._killing |= kill_is_undone(asked, code, time.monotonic() - began)
            if not self._stopping.is_set():
                await rhythm.rest("control", code)

    async def _keep_log(self) -> None:
        """Have the prediction log's process where anything is recorded, with its settings as they are."""
        rhythm = Rhythm()
        while not self._stopping.is_set():
            log_settings = self._settings.log
            if not any(endpoint.log.share for endpoint in self._settings.endpoints):
                await asyncio.sleep(LOOK)
                continue
            rhythm.begun()
            try:
                child = self._log = start(
                    [
                        "-m", "control.recording", "--socket", self._log_socket,
                        "--folder", log_settings.path, "--keep", repr(log_settings.keep),
                        "--most", str(log_settings.most), "--roll", repr(log_settings.roll),
                        *(["--sends"] if log_settings.sending else []),
                    ]
                )  # fmt: skip
            except OSError as error:
                report("the prediction log's process cannot be started", error)
                await asyncio.sleep(LONGEST_PAUSE)
                continue
            orders = log_settings.sending.frame() if log_settings.sending else b""
            await child.tell(self._unit_key + orders)
            ended = self._tasks.spawn(child.wait(), "prediction log's end")
            while not ended.done() and self._settings.log == log_settings:
                await asyncio.wait({ended}, timeout=LOOK)
            if not ended.done():
                log("info", "the prediction log's process is replaced: its settings have changed")
                await end([child], CONTROL_GRACE)
            elif not self._stopping.is_set():
                await rhythm.rest("prediction log", ended.result())

    # ---- change ---------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow the files: the configuration as far as workers are born with it, and the certificates."""
        self._seen = await asyncio.to_thread(self._look)
        while True:
            await asyncio.sleep(LOOK)
            now = await asyncio.to_thread(self._look)
            if now != self._seen:
                self._seen = now
                await self._refresh()

    def _look(self) -> object:
        files = [self._config]
        for certificate in self._settings.downstream.tls:
            files += [Path(certificate.certificate), Path(certificate.key)]
        return [identity(file) for file in files]

    async def _reload(self) -> None:
        """SIGHUP: read everything again, and write on in new files of the old names."""
        if self._control is not None:
            self._control.signal(signal.SIGHUP)
        await self._workers.tell(ReopenLogs())
        await self._refresh()

    def _kill(self) -> None:
        """SIGUSR1: every candidate out, by the control process; one that just starts is told as well."""
        log("warning", "SIGUSR1: every candidate is killed")
        if self._control is not None and self._control.code is None:
            self._control.signal(signal.SIGUSR1)
        else:
            self._killing = True

    async def _refresh(self) -> None:
        async with self._changing:
            before = self._settings.downstream
            if not self._look_again():
                return
            now = self._settings.downstream
            try:
                read = await asyncio.to_thread(certificates.read, now.tls)
            except ConfigError as error:
                report("the last good certificates are served on", error)
                self._settings = replace(self._settings, downstream=before)
                return
            renewed = read != self._certificates
            self._certificates = read
            if now != before:
                log("info", "the workers are replaced: what they begin with has changed")
                await self._workers.replace()
            elif renewed:
                await self._workers.tell(NewCertificates(read))

    def _look_again(self) -> bool:
        """Whether the configuration is good; a worker that starts late boots from it as it last was good."""
        try:
            self._settings = load(self._config)
        except ConfigError as error:
            report("reload", error)
            return False
        self._remember()
        return True

    def _remember(self) -> None:
        """Keep the good configuration for a control process that starts when the file is bad."""
        try:
            shutil.copyfile(self._config, self._good)
        except OSError as error:
            report("the last good configuration cannot be kept", error)

    async def _upgrade(self) -> None:
        """SIGUSR2: become the program as it is installed now, with the configuration as it is now."""
        async with self._changing:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "-c", str(self._config), "--succeeds", self._listen,
                stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, errors = await process.communicate()
            if process.returncode != 0:
                reason = errors.decode("utf-8", "replace")[-2000:]
                log("error", "upgrade refused: the new program does not start", reason=reason)
                return
            log("info", "upgrade")
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                handover.become_successor(self._message())
            except OSError as error:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
                report("upgrade", error)

    def _message(self) -> Handover:
        control = self._control
        return Handover(
            listen=self._listen,
            sockets=self._workers.sockets(),
            unit_key=self._unit_key,
            folder=str(self._folder),
            control=None if control is None else control.heir(),
            workers=self._workers.heirs(),
            killing=self._killing,
            log=None if self._log is None else self._log.heir(),
        )

    # ---- the end --------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Workers drain first, so that what they observed still reaches the control process."""
        await self._workers.end()
        children = [child for child in (self._control, self._log) if child is not None]
        await end(children, CONTROL_GRACE)


async def supervise(config: Path, workers: int | None, *, held: bool = False) -> None:
    """Load the configuration and run; `held`: until standard input ends. Raises ConfigError."""
    settings = load(config)
    demand(settings, os.environ)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    raise_descriptor_limit()
    inherited = handover.inherited(os.environ)
    await Supervisor(settings, config, workers or settings.workers, inherited).run(held=held)


def check_succession(config: Path, listening: str) -> None:
    """Whether a supervisor started now could take over from the one at `listening`. Raises ConfigError.

    Imports what the processes need, so that a program that is half installed fails here and not there.
    """
    settings = load(config)
    demand(settings, os.environ)
    certificates.read(settings.downstream.tls)
    if str(settings.listen) != listening:
        for one in sockets.bind(settings.listen, 1):
            one.close()
        sockets.remove(settings.listen)
    for module in ("gateway.process", "gateway.serving", "control"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError("program", module, "install it whole")
    importlib.import_module("gateway.serving")


def kill_is_undone(asked: bool, code: int, lived: float) -> bool:
    """Whether a control process ended with `code` before a kill by signal was kept.

    It was `asked` to kill when it was started, and failed after `lived` seconds; or the signal reached it
    before it could take it, and ended it.
    """
    return code == -signal.SIGUSR1 or (asked and code != 0 and lived < KILL_KEPT)
