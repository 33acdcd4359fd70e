"""The control process: everything wired together, started, and ended in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import orjson
import uvicorn

from control import api, lineage_view, records, references, views
from control.accuracy import AccuracyDesk
from control.approving import ApprovalDesk
from control.audit_heads import HeadKeeper
from control.audit_metrics import AuditMetrics
from control.audit_recorder import Recorder
from control.authentication import FAILURES, MINUTE, MUTATIONS, RECORDED, Gatehouse
from control.clock import Clock
from control.configuration import Configuration, masked
from control.deciding import DecisionDesk
from control.diagnosing import DiagnosisDesk
from control.drift_metrics import DriftMetrics
from control.drifting import DriftDesk
from control.drill_metrics import DrillMetrics
from control.drilling import DrillDesk
from control.events import Events
from control.flag_metrics import FlagMetrics
from control.flag_platform import FlagPlatform
from control.fleet_metrics import FleetMetrics
from control.following import FollowDesk
from control.gating import GateDesk
from control.generations import BLOCK
from control.glances import Glances
from control.guard_metrics import GuardMetrics
from control.hearing import Hearing
from control.host_metrics import HostMetrics
from control.inbox import Inbox
from control.keeper import DurableStore, Keeper
from control.label_metrics import LabelMetrics
from control.labelling import LabelDesk
from control.limits import Turns
from control.lineage import LineageDesk
from control.lineage_metrics import LineageMetrics
from control.link import Link
from control.log import note
from control.membership import Membership, named
from control.metrics import Metrics
from control.notify_metrics import NotifyMetrics
from control.notify_retraining import RetrainingWatch
from control.notifying import Notifying
from control.oidc import Issuer
from control.overview import Looks, Overview
from control.panel import Panel
from control.prediction_metrics import PredictionMetrics
from control.predictions import PredictionDesk
from control.release_metrics import ReleaseMetrics
from control.releasing import ReleaseDesk
from control.retention import Retention
from control.rollouts import Rollouts
from control.sampling import Sampler
from control.scrape import Scraper
from control.server_metrics import ServerMetrics
from control.sessions import Sessions
from control.sharing import Alone
from control.switchboard import Switchboard
from control.tallies import Tallies
from control.tokens import TokenDesk
from control.trip import OPERATOR
from control.writeback import WriteBack
from domain.errors import ConfigError, StateUnavailable
from domain.lineage import Lineage
from domain.routing import Arm
from domain.snapshot import Snapshot
from killswitch.stores.database import DatabaseStore
from settings import surroundings
from settings.schema import Address, Settings
from shadow.tasks import Tasks
from shadow.wire import Asked, Batch, BreakerOpened, Hello

GRACE = 2.0
"""Seconds for requests that are being answered when the process ends."""

FIRST_READING = 3.0
"""Seconds that the first reading of the kept state may take before workers are told that it is unknown."""

log = logging.getLogger("pointsman.control")


@dataclass(frozen=True, slots=True)
class Invocation:
    """The command line: configuration file, the link's path, how many workers, whom to tell when ready,
    whether to take every candidate out at once, and the path of the prediction log's socket ("": none)."""

    configuration: Path
    link: str
    workers: int | None = None
    ready_fd: int | None = None
    kill: bool = False
    predictions: str = ""


class Control:
    """One control process. `opener` opens the durable store."""

    def __init__(
        self,
        settings: Settings,
        invocation: Invocation,
        opener: Callable[[], DurableStore] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Raises ConfigError when the settings make no sense."""
        self._invocation = invocation
        self._clock = clock or Clock()
        self._stop = asyncio.Event()
        self._tasks = Tasks(self._failed)
        self._tallies = Tallies()
        self.link = Link(self._clock)
        replica = _replica(settings)
        self.keeper = Keeper(opener or (lambda: DatabaseStore.open(settings.database, replica)), self._tasks)
        self.events = Events()
        self.recorder = Recorder(
            self.keeper,
            self._clock,
            self._tasks,
            replica=named(settings),
            version=version("pointsman"),
            shown=lambda configuration: masked(configuration.document),
        )
        self._references = references.read(settings)
        self.switchboard = Switchboard(
            settings,
            link=self.link,
            keeper=self.keeper,
            events=self.events,
            tallies=self._tallies,
            clock=self._clock,
            tasks=self._tasks,
            recorder=self.recorder,
            references=self._references,
        )
        draw = random.SystemRandom().random
        self.hearing = Hearing(
            self.switchboard,
            Inbox(draw),
            link=self.link,
            keeper=self.keeper,
            clock=self._clock,
            tasks=self._tasks,
        )
        redis = settings.sharing.redis
        self.membership: Membership | None = None
        if redis is not None:
            self.membership = Membership(
                redis, self.hearing, self.switchboard, self._clock, self._tasks, os.environ
            )
        self.flags = FlagPlatform(settings, self.switchboard.expose, self.link, self._clock, self._tasks)
        self.lineage = LineageDesk(self.switchboard, self.keeper, self._clock)
        self.lineage.react(self._lineage_changed)
        self.heads = HeadKeeper(settings.audit, self.recorder, self.keeper, self._clock)
        self.retention = Retention(self.switchboard, self.heads, self.keeper, self._clock, self._leads)
        self.write_back = WriteBack(
            self.switchboard, self.flags, self.keeper, self.events, self._clock, self._tasks
        )
        self.rollouts = Rollouts(
            self.switchboard, self.flags, self.keeper, self.events, self._clock, self._tasks, self._leads
        )
        self.notifying = Notifying(
            self.switchboard,
            self.events,
            self.keeper,
            self._clock,
            self._tasks,
            replica=named(settings),
            environment=os.environ,
            draw=draw,
            leads=self._leads,
        )
        self._retraining = RetrainingWatch(self.switchboard, self.events, self._leads)
        self.predictions = PredictionDesk(self.switchboard, invocation.predictions, self._clock)
        self.drift = DriftDesk(
            self.switchboard,
            self.predictions,
            self.lineage,
            keeper=self.keeper,
            events=self.events,
            clock=self._clock,
            replica=replica,
        )
        drift_metrics = DriftMetrics(self.drift)
        self.configuration = Configuration(invocation.configuration, self.switchboard, self.flags)
        self.gates = GateDesk(
            invocation.configuration, self.switchboard, self.keeper, self.events, self._clock
        )
        self.drills = DrillDesk(
            self.switchboard,
            keeper=self.keeper,
            lease=Alone() if self.membership is None else self.membership.lease,
            events=self.events,
            clock=self._clock,
            tasks=self._tasks,
            replica=replica,
        )
        self.releases = ReleaseDesk(
            self.switchboard,
            self.hearing,
            self.gates,
            ApprovalDesk(self.switchboard, self.keeper, self.events, self._clock),
            keeper=self.keeper,
            lease=Alone() if self.membership is None else self.membership.lease,
            events=self.events,
            clock=self._clock,
            tasks=self._tasks,
        )
        self.labels = LabelDesk(self.switchboard, self.hearing, self.keeper, self._clock)
        self.accuracy = AccuracyDesk(self.switchboard, self.labels, self._clock)
        self.host_metrics = HostMetrics(self.switchboard, self._clock)
        self.scraper = Scraper(self.switchboard, self._clock)
        self.following = FollowDesk(
            self.switchboard,
            self.configuration,
            self.releases,
            keeper=self.keeper,
            lease=Alone() if self.membership is None else self.membership.lease,
            events=self.events,
            clock=self._clock,
        )
        self.gates.standing = self.following.standing
        glances = Glances(self.switchboard, self._clock)
        self.sampler = Sampler(self.switchboard, self.events, glances, self._clock)
        self.gatehouse = self._guarded(settings)
        self.panel = Panel(
            switchboard=self.switchboard,
            hearing=self.hearing,
            flags=self.flags,
            configuration=self.configuration,
            events=self.events,
            metrics=Metrics(
                self.switchboard,
                self.hearing,
                FlagMetrics(self.flags, self.write_back, self.rollouts),
                GuardMetrics(self.switchboard, drift_metrics.shifts),
                LabelMetrics(self.switchboard, self.labels, self.accuracy, self._clock),
                drift_metrics,
                ServerMetrics(self.switchboard),
                FleetMetrics(self.membership, self.switchboard),
                LineageMetrics(self.switchboard, self.lineage),
                AuditMetrics(self.recorder, self.heads),
                PredictionMetrics(self.predictions),
                NotifyMetrics(self.notifying, self.switchboard, self._clock),
                ReleaseMetrics(self.releases, self.following),
                DrillMetrics(self.switchboard, self.drills),
                self.host_metrics,
                self.scraper,
            ),
            workers=invocation.workers or settings.workers,
            write_back=self.write_back,
            rollouts=self.rollouts,
            membership=self.membership,
            lineage=self.lineage,
            heads=self.heads,
            gates=self.gates,
            releases=self.releases,
            following=self.following,
            drills=self.drills,
            predictions=self.predictions,
            decisions=DecisionDesk(self.switchboard, self.predictions, self.keeper, self._clock),
            diagnoses=DiagnosisDesk(self.switchboard, self.predictions, self.keeper),
            drift=self.drift,
            notifying=self.notifying,
            scraper=self.scraper,
            labels=self.labels,
            accuracy=self.accuracy,
            gatehouse=self.gatehouse,
            sampler=self.sampler,
            overview=Overview(self.switchboard, glances, self.sampler, self._clock, self._phase),
            looks=Looks(self.switchboard, self._clock, self._look),
        )
        self.app = api.create(self.panel)
        self._hearing_task: asyncio.Task[None] | None = None

    def _guarded(self, settings: Settings) -> Gatehouse:
        """What callers of the admin API are known by. Raises ConfigError."""
        auth = settings.auth
        secret = surroundings.access(auth, os.environ)
        path = None if auth.tokens_file is None else Path(auth.tokens_file)
        tokens = TokenDesk(path, self.recorder, self._clock)
        return Gatehouse(
            auth,
            tokens,
            None if auth.oidc is None else Issuer(auth.oidc, secret, self._clock),
            Sessions(
                self.keeper, tokens, self._clock, idle=auth.idle, longest=auth.longest, rules=auth.rules
            ),
            self.recorder,
            self._clock,
            failures=Turns(FAILURES, MINUTE),
            mutations=Turns(MUTATIONS, MINUTE),
            records=Turns(RECORDED, MINUTE),
        )

    # What the link reports.

    def greeted(self, hello: Hello) -> Snapshot:
        """See `control.link.Listener`."""
        return self.switchboard.greeted(hello.generation)

    def received(self, batch: Batch) -> None:
        """See `control.link.Listener`."""
        self.hearing.received(batch)
        if batch.drills:
            self.drills.reported(batch)

    def breaker_opened(self, worker: int, message: BreakerOpened) -> None:
        """See `control.link.Listener`."""
        self.hearing.breaker_opened(worker, message)

    def asked(self, session: str, message: Asked) -> None:
        """See `control.link.Listener`."""
        if self.flags.lookup is not None:
            self.flags.lookup.asked(session, message)

    # Life.

    async def start(self) -> None:
        """Read the kept state and the flags, then let the workers in. Raises ConfigError (bad link path)."""
        restoring = self._tasks.spawn(self._restore(), "restore")
        await asyncio.wait({restoring}, timeout=FIRST_READING)
        await self.flags.start()
        if self.switchboard.unreadable is not None:
            self.switchboard.publish()
        if self._invocation.kill:
            self.kill_all()
        # No kill waits for a signature: whatever is wrong with the audit's files is told, and tried again.
        opening = self._tasks.spawn(self.heads.try_open(), "audit key")
        await asyncio.wait({opening}, timeout=FIRST_READING)
        self.retention.begin()
        self.recorder.begin(self.switchboard.settings, self.switchboard.judges, self.switchboard.flags)
        self._tasks.spawn(self.recorder.run(), "audit")
        self._tasks.spawn(self.heads.run(), "audit heads")
        self._tasks.spawn(self.retention.beat(), "beat")
        self._tasks.spawn(self.retention.run(), "retention")
        looking = self._tasks.spawn(self.releases.look(), "releases")
        await asyncio.wait({looking}, timeout=FIRST_READING)
        await self.gatehouse.tokens.look()
        self._tasks.spawn(self.gatehouse.tokens.watch(), "tokens")
        if self.gatehouse.issuer is not None:
            self._tasks.spawn(self.gatehouse.issuer.run(), "issuer")
        await self.link.open(self._invocation.link, self)
        self._tasks.spawn(self.releases.run(), "releases")
        self._tasks.spawn(self.drills.run(), "drills")
        self._tasks.spawn(self.configuration.watch(), "configuration")
        self._tasks.spawn(self.following.run(), "following")
        self._tasks.spawn(self.lineage.watch(), "lineage")
        self._tasks.spawn(self.predictions.run(), "predictions")
        self._tasks.spawn(self.labels.run(), "labels")
        self._tasks.spawn(self.accuracy.run(), "accuracy")
        self._tasks.spawn(self.drift.run(), "drift")
        self._tasks.spawn(self.keeper.try_again(), "store")
        self._tasks.spawn(self.rollouts.run(), "rollouts")
        self._tasks.spawn(self.notifying.run(), "notifications")
        self._tasks.spawn(self._retraining.run(), "retraining")
        self._tasks.spawn(self.host_metrics.run(), "resources")
        self._tasks.spawn(self.host_metrics.pulse(), "pulse")
        self._tasks.spawn(self.scraper.run(), "scrape")
        self._tasks.spawn(self.sampler.run(), "sampling")
        if self.membership is not None:
            self.membership.start()
        self._hearing_task = self._tasks.spawn(self.hearing.run(), "hearing")

    async def end(self) -> None:
        """Hear the batch that is being heard to its end, keep everything, and let go."""
        self.events.close()
        self.hearing.stop()
        if self._hearing_task is not None:
            await asyncio.wait({self._hearing_task}, timeout=GRACE)
            if self._hearing_task.done() and self.switchboard.unreadable is None:
                try:
                    await self.hearing.checkpoint()
                    # Behind a checkpoint that is still under way, which would be cancelled below.
                    await self.keeper.checkpoint({}, {})
                except StateUnavailable as error:
                    note(log, logging.ERROR, "ended without a last checkpoint", reason=str(error))
        # A kill that waits for the disk comes before all farewells: the supervisor waits for seconds only.
        await self.keeper.last_attempt()
        await self.link.close()
        await self.flags.end()
        if self.membership is not None:
            await self.membership.end()
        await self._tasks.cancel()
        with suppress(StateUnavailable):  # counted and logged by the keeper: some seconds are lost
            await self.drift.flush()
        if self.keeper.unkept:  # killed meanwhile, or cancelled in the queue just now
            await self.keeper.last_attempt()
        await self.notifying.flush()  # what was not delivered is, in the next life
        await self.notifying.close()
        await self.lineage.end()
        await self.following.end()
        if self.membership is not None:
            await self.membership.close()
        await self.hearing.close()
        await self.labels.close()
        if self.gatehouse.issuer is not None:
            await self.gatehouse.issuer.close()
        self.recorder.ended("the process was asked to end")
        await self.recorder.flush()
        await self.heads.take()
        await self.keeper.close()

    def _phase(self, name: str) -> str | None:
        release = self.releases.latest.get(name)
        return None if release is None else release.phase.value

    def _look(self, name: str) -> dict[str, object]:
        return views.endpoint(self.switchboard, name, self.hearing.inbox.shed, self.lineage)

    def _leads(self) -> bool:
        return self.membership is None or self.membership.lease.held() is not None

    async def _restore(self) -> None:
        board = self.switchboard
        while board.unreadable is not None:
            try:
                kept = await self.keeper.restore()
                first = await self.keeper.reserve(BLOCK)
                placed = await self.following.restore()
            except StateUnavailable as error:
                board.unreadable = str(error)
                await asyncio.sleep(0.5)
                continue
            if placed is not board.settings:  # before any evidence comes, which is of what is followed
                board.begin(placed, self._references)
            if self.membership is not None and not (kept.kills or kept.clearances or kept.states):
                await self.membership.meet()
            board.generations.block(first, BLOCK)
            self.hearing.restore(kept.sequences)
            flags = kept.states.get(records.flags(board.settings))
            if flags is not None and self.flags.source is not None and not self.flags.served:
                board.flags = flags
            board.restore(kept)
            self.lineage.restore(kept.states)
            self.write_back.resume(kept.states)
            self.rollouts.restore(kept.states)
            self.drift.restore(kept.states)

    def _lineage_changed(
        self, endpoint: str, arm: Arm, before: Lineage | None, after: Lineage | None
    ) -> None:
        settings = self.switchboard.judge(endpoint).settings
        version = settings.incumbent if arm is Arm.INCUMBENT else settings.candidate
        if version is not None:
            self.recorder.lineage(
                version.name,
                None if before is None else lineage_view.record(before),
                None if after is None else lineage_view.record(after),
            )

    def _failed(self, task: str, error: BaseException) -> None:
        kind = task.partition(" ")[0]
        self._tallies.task_failures[kind] += 1
        log.error("task failed: %s", task, exc_info=error, extra={"fields": {"task": task}})
        if kind == "hearing":
            self.stop()

    async def run(self, listening: socket.socket) -> None:
        """Serve the admin API on `listening` until `stop`."""
        server = _Server(
            uvicorn.Config(
                self.app,
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=int(GRACE),
                ssl_certfile=self.gatehouse.settings.certificate,
                ssl_keyfile=self.gatehouse.settings.key,
            )
        )
        await self.start()
        serving = self._tasks.spawn(server.serve(sockets=[listening]), "admin")
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has a flag, no event
            await asyncio.sleep(0.005)
        # What there is by now stays. Looking through all of it for garbage holds the loop for 50 ms and more.
        gc.collect()
        gc.freeze()
        self._tell_ready(listening)
        stopping = self._tasks.spawn(self._stop.wait(), "stop")
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self.events.close()
        server.should_exit = True
        await asyncio.wait({serving}, timeout=2 * GRACE)
        await self.end()

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    def reload(self) -> None:
        """Read the configuration again, as on SIGHUP; a bad one is logged and the running one stays."""
        self._tasks.spawn(self.configuration.try_reload(), "reload")

    def kill_all(self) -> None:
        """Take every candidate out, as on SIGUSR1: the way that needs no network and no token."""
        for name in self.switchboard.judges:
            fallen = self.switchboard.trip(name, OPERATOR, OPERATOR, "signal SIGUSR1")
            self._tasks.spawn(self.switchboard.settle(fallen), f"trip of {name}")

    def _tell_ready(self, listening: socket.socket) -> None:
        host, port = listening.getsockname()[:2]
        scheme = "http" if self.gatehouse.settings.certificate is None else "https"
        admin = f"{scheme}://{Address(host, port)}"
        note(
            log,
            logging.INFO,
            "control process ready",
            admin=admin,
            link=self._invocation.link,
            pid=os.getpid(),
        )
        if self._invocation.ready_fd is not None:
            with os.fdopen(self._invocation.ready_fd, "wb") as ready:
                ready.write(orjson.dumps({"admin": admin, "link": self._invocation.link}) + b"\n")


class _Server(uvicorn.Server):
    """Signals are the process's business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Parent(asyncio.Protocol):
    """Standard input as a pipe from the supervisor: it ends when the supervisor does."""

    def __init__(self, gone: Callable[[], None]) -> None:
        self._gone = gone

    def eof_received(self) -> None:
        self._gone()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()


async def serve(settings: Settings, invocation: Invocation) -> None:
    """Run a control process until SIGTERM, SIGINT, or the end of the pipe on standard input.

    Raises ConfigError when the admin address or the link's path cannot be used.
    """
    listening = bound(settings.admin)
    control = Control(settings, invocation)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, control.stop)
    loop.add_signal_handler(signal.SIGHUP, control.reload)
    loop.add_signal_handler(signal.SIGUSR1, control.kill_all)
    if _is_pipe(0):
        await loop.connect_read_pipe(lambda: _Parent(control.stop), sys.stdin)
    await control.run(listening)


def _replica(settings: Settings) -> str:
    """Whose states and sequences are kept: in a file of SQLite there is nobody else."""
    return "" if settings.database.startswith("sqlite:") else named(settings)


def _is_pipe(descriptor: int) -> bool:
    """Whether it is a pipe or a socket pair, which is what asyncio gives a child as its standard input."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def bound(address: Address) -> socket.socket:
    """A TCP socket bound to `address`. Raises ConfigError when that is impossible."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        raise ConfigError("admin", str(address), f"give an address that is free ({error})") from error
    return listening
