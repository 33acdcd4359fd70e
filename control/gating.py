"""Executing an endpoint's promotion gates on behalf of the control process, and keeping what they found.

They run in a process of their own (`python -m gates`): a bootstrap, a load and scikit-learn must not stand in
the way of judging pairs and of trips. It reads the configuration file itself; when that is not the
configuration in force, its results are of something else, and are void. One run at a time for an endpoint:
two loads at once would measure each other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from audit.event import Event
from control.clock import Clock
from control.events import Events
from control.keeper import Keeper
from control.log import note
from control.switchboard import Switchboard
from domain.errors import GateError, PointsmanError
from domain.verdict import Verdict
from gates import results
from gates.processes import written
from gates.result import GateResult, report, restored, void, worst
from gates.runner import binding, demand, digests, gates_of
from settings.follow import Standing
from settings.schema import EndpointSettings

GRACE = 2.0
"""Seconds in which a run that is not wanted any more may end by itself."""

LONGEST = 16 * 1024 * 1024
"""Bytes of what a run answers."""

log = logging.getLogger("pointsman.gates")


class GatesBusy(PointsmanError):  # noqa: N818 - a state, not a mistake
    """The gates of this endpoint are being executed."""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of all gates of an endpoint.

    Attributes:
        detail: why there are no results, "" where there are some.
        void: why the results hold for nothing (any more); None: they hold.
    """

    endpoint: str
    verdict: Verdict
    results: tuple[GateResult, ...] = ()
    detail: str = ""
    void: str | None = None

    @property
    def passed(self) -> bool:
        """Whether a release may take its first step on the strength of this."""
        return self.verdict is Verdict.PASS and self.void is None

    def document(self) -> dict[str, object]:
        """As the admin API answers it."""
        return {**report(self.endpoint, self.results), "verdict": self.verdict.value, "detail": self.detail,
                "void": self.void}  # fmt: skip


class GateDesk:
    """Executes gates of the configuration file at `path`; `standing` says what an endpoint follows."""

    def __init__(
        self, path: Path, switchboard: Switchboard, keeper: Keeper, events: Events, clock: Clock
    ) -> None:
        self._path = path
        self._switchboard = switchboard
        self._keeper = keeper
        self._events = events
        self._clock = clock
        self._busy: set[str] = set()
        self.standing: Callable[[str], Standing | None] = lambda name: None

    async def run(self, name: str) -> Run:
        """Execute the gates of endpoint `name`, and keep what they found.

        Raises UnknownEndpoint, GateError (nothing to execute), GatesBusy, and StateUnavailable when the
        results could not be kept: what cannot be proved later holds for nothing.
        """
        endpoint = self._switchboard.judge(name).settings
        demand(endpoint)
        if name in self._busy:
            raise GatesBusy(f"the gates of {name} are being executed; wait for their verdict")
        self._busy.add(name)
        try:
            document = await self._execute(name)
            found = _results(name, document)
            detail = str(document.get("detail", ""))
            verdict = worst(found) if found else Verdict.ERROR
            run = str(uuid.uuid4())
            await self._switchboard.recorder.together(
                lambda on: results.keep(on, run, found), *self._recorded(name, run, found)
            )
        finally:
            self._busy.discard(name)
        done = Run(name, verdict, found, detail, await self._void(name, found))
        told: dict[str, object] = {
            "endpoint": name, "verdict": verdict.value, "void": done.void,
            "gates": {one.gate: one.verdict.value for one in found},
        }  # fmt: skip
        note(log, logging.INFO if done.passed else logging.WARNING, "gates", **told)
        self._events.tell("gates", told)
        return done

    def _recorded(self, name: str, run: str, found: Sequence[GateResult]) -> list[Event]:
        """One event for each gate that was executed, with what it found and what that is about."""
        recorder = self._switchboard.recorder
        return [
            recorder.event(
                "gate.executed", "gate", name, actor=f"gate:{one.gate}", reason=one.sentence,
                after={"run": run, "gate": one.gate, "verdict": one.verdict.value},
                evidence={
                    "numbers": dict(one.numbers), "binding": asdict(one.binding),
                    "started": one.started, "ended": one.ended,
                },
            )
            for one in found
        ]  # fmt: skip

    async def latest(self, name: str) -> Run:
        """What the last run found, with why it holds for nothing any more. Raises as `run`."""
        endpoint = self._switchboard.judge(name).settings
        found = await self._keeper.run(
            lambda database: database.read(lambda on: results.latest(on, endpoint.name))
        )
        detail = "" if found else "the gates were never executed"
        return Run(name, worst(found), found, detail, await self._void(name, found))

    async def held(self, run: Run) -> Run:
        """`run` as it holds now: files, versions and configuration may be others, and time passes.

        Raises UnknownEndpoint.
        """
        return replace(run, void=await self._void(run.endpoint, run.results))

    async def _void(self, name: str, found: Sequence[GateResult]) -> str | None:
        if not found:
            return None
        settings, endpoint = self._switchboard.settings, self._switchboard.judge(name).settings
        missing = _missing(endpoint, found)
        if missing:
            return f"{missing} was not executed"
        for one in found:
            paths = [path for path, _ in one.binding.data]
            now = binding(settings, endpoint, await asyncio.to_thread(digests, paths))
            reason = void(one, now, self._clock.wall(), endpoint.gates.valid_for)
            if reason is not None:
                return f"{one.gate}: {reason}"
        return None

    async def _execute(self, name: str) -> Mapping[str, object]:
        """What a process of its own answers. Raises GateError when it answers nothing."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gates", "--bound", "-c", str(self._path), name,
            *_followed(self.standing(name)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )  # fmt: skip
        try:
            said = await written(process.stdout, LONGEST, "executing gates")
            await process.wait()
        finally:
            await _end(process)
        try:
            document = orjson.loads(said)
        except orjson.JSONDecodeError as error:
            code = process.returncode
            raise GateError(
                f"executing the gates of {name} ended with {code} and without an answer"
            ) from error
        if not isinstance(document, dict):
            raise GateError(f"executing the gates of {name} gave no object")
        return document


def _followed(standing: Standing | None) -> tuple[str, ...]:
    if standing is None:
        return ()
    return "--incumbent", standing.incumbent, "--candidate", standing.candidate


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let it end what it has started, which the end of its input asks for; then end it.

    Whoever is cancelled meanwhile is in a hurry: it is killed at once, and waited for all the same, for a
    process that nobody waits for stays open.
    """
    if process.stdin is not None:
        process.stdin.close()
    clock, hurried, killed = asyncio.get_running_loop().time, None, False
    until = clock() + GRACE
    while True:
        try:
            async with asyncio.timeout_at(until):
                await process.wait()
            break
        except TimeoutError:
            if killed:  # whatever left its group holds its pipes open
                break
        except asyncio.CancelledError as error:
            hurried = error
        if not killed:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)
            killed, until = True, clock() + GRACE
    if hurried is not None:
        raise hurried


def _missing(endpoint: EndpointSettings, found: Sequence[GateResult]) -> str:
    """The gates that are configured and that `found` has no result of."""
    executed = {one.gate for one in found}
    return ", ".join(gate.name for gate in gates_of(endpoint.gates) if gate.name not in executed)


def _results(name: str, document: Mapping[str, object]) -> tuple[GateResult, ...]:
    """The results in what a run answered. Raises GateError when one cannot be read."""
    found = document.get("results")
    try:
        return tuple(map(restored, found if isinstance(found, list) else []))
    except ValueError as error:
        raise GateError(f"executing the gates of {name} gave what is no result: {error}") from error
