"""The demo in three acts, by the same means that an operator has: two files, one process, the admin API.

1. A healthy candidate passes its shadow stage; the operator edits the flag file and it serves a canary share.
2. Its feature pipeline is replaced by a refactored one. Nothing fails: same schema, HTTP 200 all the way.
3. The switch trips by itself, and what happened is put on one time line.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from examples.rain.configuration import (
    CANARY_PERCENT,
    ENDPOINT,
    INFER_PATH,
    SHADOW_PAIRS,
    configuration,
    write_configuration,
    write_flags,
)
from examples.rain.data import Series, load
from examples.rain.models import CANDIDATE, INCUMBENT, RECENT_DAYS, REPLAY_FROM, Trained, refactored, train
from examples.rain.processes import Children, DemoError, demand_free, free_ports
from examples.rain.report import Report
from examples.rain.timeline import Ledger, Timeline, join
from examples.rain.traffic import Traffic, request_body, share

LISTEN, ADMIN = 8080, 8081
START_SECONDS = 90.0
SHADOW_SECONDS = 60.0
CANARY_SECONDS = 20.0
CANARY_ANSWERS = 200
TRIP_SECONDS = 30.0
AFTERMATH_SECONDS = 2.0
POLL_SECONDS = 0.1
IDLE_RATE = 20.0


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: `rate` in requests a second, `users` who ask, `workers` of the gateway, `once` and out."""

    once: bool = False
    rate: float = 250.0
    users: int = 20_000
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Ports:
    listen: int
    admin: int
    incumbent: int
    candidate: int

    @staticmethod
    def choose(options: Options) -> Ports:
        """The documented ports, so that a browser finds them; with `once` free ones: a run for machines."""
        incumbent, candidate, *free = free_ports(4)
        if options.once:
            return Ports(free[0], free[1], incumbent, candidate)
        demand_free((LISTEN, ADMIN))
        return Ports(LISTEN, ADMIN, incumbent, candidate)


class Demo:
    """One run. `folder` holds its files: models, pipelines, configuration, flags, database, logs."""

    def __init__(self, options: Options, folder: Path, report: Report) -> None:
        self._options = options
        self._folder = folder
        self._report = report
        self._children = Children(folder)
        self._failure: BaseException | None = None

    async def run(self, told: Callable[[Timeline], None]) -> None:
        """Play the three acts, hand the timeline to `told`; without `once` go on until cancelled.

        Raises DemoError when something cannot start or an act does not come to its end; every process that
        was started is ended in any case.
        """
        try:
            await self._play(told)
        finally:
            await asyncio.shield(self._children.end())

    async def _play(self, told: Callable[[Timeline], None]) -> None:
        ports = Ports.choose(self._options)
        self._report.line("Training two models on the days before the replay ...")
        series = await asyncio.to_thread(load)
        incumbent = await asyncio.to_thread(train, series, INCUMBENT)
        candidate = await asyncio.to_thread(train, series, CANDIDATE)
        pipeline = await self._start(ports, incumbent, candidate)
        rows = series.rows[REPLAY_FROM:]
        ledger = Ledger(candidate.probabilities(rows).tolist())
        traffic = Traffic(
            [request_body(row) for row in rows.tolist()],
            "127.0.0.1",
            ports.listen,
            INFER_PATH,
            rate=self._options.rate,
            users=self._options.users,
            seen=ledger.add,
            report=self._failed,
        )
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.admin}", timeout=5.0) as admin:
            await self._until("the gateway to be ready", START_SECONDS, partial(_is_up, admin, "/readyz"))
            traffic.start()
            try:
                await self._acts(admin, traffic, ledger, series, candidate, pipeline, told)
            finally:
                await traffic.abort()

    async def _start(self, ports: Ports, incumbent: Trained, candidate: Trained) -> Path:
        """Start both model servers and the gateway; the candidate's pipeline file."""
        paths = {}
        for trained, port in ((incumbent, ports.incumbent), (candidate, ports.candidate)):
            version = trained.recipe.version
            model, paths[version] = trained.write(self._folder)
            await self._children.start(
                version,
                "examples.model_server",
                "--model",
                str(model),
                "--pipeline",
                str(paths[version]),
                "--name",
                "rain",
                "--version",
                version,
                "--port",
                str(port),
            )
        workers = self._options.workers
        document = configuration(ports.listen, ports.admin, ports.incumbent, ports.candidate, workers)
        write_flags(self._folder, 0)
        path = write_configuration(self._folder, document)
        await self._children.start("gateway", "gateway", "-c", str(path), "--held")
        async with httpx.AsyncClient(timeout=5.0) as client:
            for port in (ports.incumbent, ports.candidate):
                url = f"http://127.0.0.1:{port}/v2/health/ready"
                await self._until(
                    "the model servers to be ready", START_SECONDS, partial(_is_up, client, url)
                )
        return paths[CANDIDATE.version]

    async def _acts(
        self,
        admin: httpx.AsyncClient,
        traffic: Traffic,
        ledger: Ledger,
        series: Series,
        candidate: Trained,
        pipeline: Path,
        told: Callable[[Timeline], None],
    ) -> None:
        report = self._report
        report.act(f"Act 1: {CANDIDATE.version} is healthy")
        await self._shadow(admin, traffic)
        await self._canary(ledger)
        report.act("Act 2: its feature pipeline changes")
        changed_at = time.time()
        refactored(series, REPLAY_FROM + traffic.day).write(pipeline)
        report.line(
            f"  A refactored job normalises with the statistics of the latest {RECENT_DAYS} days. "
            "Same file, same schema, and every answer is HTTP 200."
        )
        report.act("Act 3: nobody is watching")
        await self._until("the switch to trip", TRIP_SECONDS, partial(self._tripped, admin), required=False)
        await asyncio.sleep(AFTERMATH_SECONDS)
        if self._options.once:
            await traffic.stop()
            self._check()
        counts = traffic.counts
        failures = dict(counts.failures)
        requests = counts.answered + sum(failures.values())
        timeline = join(await self._endpoint(admin), ledger, requests, failures, changed_at)
        told(timeline)
        if not self._options.once:
            traffic.rate = IDLE_RATE
            report.line(f"\nTraffic goes on at {IDLE_RATE:g} requests a second. End with Ctrl-C.")
            report.line(f"Console: http://127.0.0.1:{ADMIN}/")
            await self._until("the end", float("inf"), _never)

    async def _shadow(self, admin: httpx.AsyncClient, traffic: Traffic) -> None:
        async def passed() -> bool:
            endpoint = await self._endpoint(admin)
            release = endpoint["release"]
            judged = release["pairs"] if release["stage"] < 1 else SHADOW_PAIRS
            note = f"{judged} of {SHADOW_PAIRS} pairs judged"
            self._report.progress("  shadow stage", judged, SHADOW_PAIRS, note)
            if endpoint["switch"]["tripped"]:
                raise DemoError(f"the healthy candidate was tripped: {_words(endpoint)}")
            return bool(release["stage"] >= 1)

        await self._until("the candidate to pass its shadow stage", SHADOW_SECONDS, passed)
        endpoint = await self._endpoint(admin)
        self._report.line(
            f"  Shadow: every answer came from {INCUMBENT.version}, {CANDIDATE.version} was asked as well. "
            f"{endpoint['pairs']['judged']} pairs judged, {endpoint['pairs']['flips']} flips: passed."
        )

    async def _canary(self, ledger: Ledger) -> None:
        write_flags(self._folder, CANARY_PERCENT)
        self._report.line(f"  The operator sets the flag to {CANARY_PERCENT} % in flags.json.")
        before = Counter(ledger.arms)
        first: Counter[str] = Counter()

        async def served() -> bool:
            if not first and ledger.arms["candidate"] > before["candidate"]:
                first.update(ledger.arms)
            answers = ledger.arms["candidate"] - before["candidate"]
            note = f"{answers} answers from {CANDIDATE.version}"
            self._report.progress("  canary", answers, CANARY_ANSWERS, note)
            return answers >= CANARY_ANSWERS

        await self._until("the candidate to serve its canary share", CANARY_SECONDS, served)
        part = share(ledger.arms - first)
        self._report.line(f"  Canary: {CANDIDATE.version} answers {part:.0%} of the requests.")

    async def _tripped(self, admin: httpx.AsyncClient) -> bool:
        endpoint = await self._endpoint(admin)
        trip = endpoint["last_trip"]
        return bool(endpoint["switch"]["tripped"] and trip and trip["confirmed_at"])

    async def _endpoint(self, admin: httpx.AsyncClient) -> dict[str, Any]:
        try:
            answer = await admin.get(f"/api/v1/endpoints/{ENDPOINT}")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            self._check()
            raise DemoError(f"the admin API does not answer: {error!r}") from error
        document: dict[str, Any] = answer.json()
        return document

    async def _until(
        self, what: str, seconds: float, done: Callable[[], Awaitable[bool]], *, required: bool = True
    ) -> None:
        """Ask `done` until it is so. Raises DemoError when a child ends or, if `required`, time is up."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while not await done():
            self._check()
            if clock() >= end:
                if required:
                    raise DemoError(f"waited {seconds:g} s for {what}; {self._children.last_words()}")
                return
            await asyncio.sleep(POLL_SECONDS)

    def _check(self) -> None:
        if self._failure is not None:
            raise DemoError(f"the traffic broke off: {self._failure!r}") from self._failure
        self._children.check()

    def _failed(self, name: str, error: BaseException) -> None:
        self._failure = error


def _words(endpoint: dict[str, Any]) -> str:
    kills = endpoint["switch"]["kills"]
    return "; ".join(f"{kill['actor']}: {kill['reason']}" for kill in kills) or "no kill is known"


async def _is_up(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False  # not listening yet: the caller asks again, and gives up in time


async def _never() -> bool:
    return False
