"""Labels as the control process has them: let in, kept, joined with the log, and heard by the guards.

A label takes two ways. Where its pair is still remembered it is held against it at once, so that a candidate
that is wrong goes out within the second. And every label that is kept in the database is joined with the
prediction log, however late it comes, which is what accuracy is told from, and what guards hear of requests
that nobody remembers any more.

A request is evidence once, whichever way comes first. What speaks to a guard is written down and numbered
(`monitoring.labels.store`), and the number up to which it was heard is kept together with the evidence, in
one transaction, as it is with the batches of workers. After a restart hearing goes on behind that number. A
correction changes figures, never evidence: what was bet on it cannot be taken back.

Gateways that share a database all read all labels from it, so that a label finds the gateway that served its
request whichever of them it was sent to.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from audit.times import iso, micros
from control.clock import Clock
from control.hearing import Hearing
from control.judge import Judge
from control.keeper import Keeper
from control.log import note
from control.switchboard import Switchboard
from domain.errors import ConfigError, StateUnavailable
from killswitch.cohorts import LabelledPair
from monitoring.labels import kept
from monitoring.labels.joining import Order, Round, joined, taken
from monitoring.labels.kept import ANY, KeptLabel, Outcome
from monitoring.labels.store import NAME, Counts, LabelStore, Numbered, Testimony
from monitoring.labels.truths import CLASSES, NUMBERS, TEXTS, Kind, Unfit

AT_ONCE = 500
"""Labels after which others get the loop, and the store's thread."""
PAGE = 2_000
"""Labels that are read from the database at once."""
MOST_AT_ONCE = 1_000_000
"""Labels that one round joins."""
LARGE = 5_000
"""Labels from which on a round has a process of its own."""
HEARD_AT_ONCE = 256
LOOK = 2.0
"""Seconds between two looks for labels that others have let in."""
AGAIN, LATEST = 5.0, 60.0
"""Seconds between two looks for the records of labels that wait: the more wait, the longer."""
PRUNE = 3600.0
PATIENCE = 1800.0
"""Seconds that a round in a process of its own may take."""
AHEAD = 86_400.0
"""Seconds by which a label may have become known later than now: clocks differ."""
UNKNOWN = 60.0
"""Seconds after which a label that has found no record is told as unknown."""

MOST_UNWRITTEN = 50_000
"""Requests that were heard and not written down which are known: as many as pairs are remembered."""
HEARD = Testimony(0, 0.0, 0, "", "", [], [], [])
"""Stands where a testimony would that was heard before: of no version, so that it counts for nothing."""

log = logging.getLogger("pointsman.labels")
T = TypeVar("T")


class Given(NamedTuple):
    """A label as it was sent; `at`: when it became known, None: now."""

    request_id: str
    label: object
    at: datetime | None = None


class LabelDesk:
    """Everything about labels.

    Attributes:
        failure: why labels are not joined with the log now; None while they are.
        counts: labels joined, unfit and corrected, by endpoint.
        waiting: labels whose record has not been found.
        behind: labels in the database that were not taken yet.
    """

    def __init__(self, switchboard: Switchboard, hearing: Hearing, keeper: Keeper, clock: Clock) -> None:
        self.failure: str | None = None
        self.counts: Mapping[str, Counts] = {}
        self.waiting = 0
        self.behind = 0
        self.rounds = 0
        self._board = switchboard
        self._hearing = hearing
        self._keeper = keeper
        self._clock = clock
        self._store: LabelStore | None = None
        self._thread = ThreadPoolExecutor(1, "labels")
        self._folder = ""
        self._session = ""
        self._heard_to = 0
        self._fitted: dict[str, Kind] = {}
        self._unwritten: dict[tuple[str, str], float] = {}
        self._turn = asyncio.Lock()
        self._told = asyncio.Event()
        self._looked_at = -LATEST
        self._pruned_at = 0.0
        self._after_round: list[Callable[[], None]] = []

    @property
    def logged(self) -> bool:
        """Whether anything is recorded that labels could be joined with."""
        return any(one.log.share for one in self._board.settings.endpoints)

    @property
    def folder(self) -> Path:
        """Where the log is, and with it the store."""
        return Path(self._board.settings.log.path)

    def kinds(self) -> dict[str, Kind]:
        """What every endpoint predicts."""
        found = {}
        for one in self._board.settings.endpoints:
            compare = one.compare
            kind = compare.kind if compare.kind in (CLASSES, NUMBERS) else TEXTS
            if compare.multi_label:
                kind = TEXTS
            names = tuple(compare.labels)
            guarded = one.guards.accuracy is not None
            found[one.name] = Kind(kind, names, tuple(map(str, one.cohorts)), guarded)
        return found

    # Labels come.

    async def let_in(self, labels: Sequence[Given]) -> dict[str, object]:
        """Join what is remembered, keep everything, and say what became of it."""
        intake = _Intake(self._board, self._clock.wall(), self.logged)
        for start in range(0, len(labels), AT_ONCE):
            for label in labels[start : start + AT_ONCE]:
                intake.take(label)
            await asyncio.sleep(0)
        for endpoint, delays in intake.delays.items():
            self._board.tallies.labelled(endpoint, delays)
        if intake.testimonies:
            await self._testify(intake)
        outcomes = await self._keep(intake.kept, intake.now)
        if outcomes:
            self._told.set()
        found = outcomes or []
        return {
            "joined": intake.joined,
            "repeated": intake.repeated,
            "unknown": intake.unknown,
            "refused": intake.refused,
            "corrected": sum(one is Outcome.CORRECTED for one in found),
            "earlier": sum(one is Outcome.EARLIER for one in found),
            "conflicts": [
                {"request_id": label.request, "detail": f"holds now: {label.label!r}"[:200]}
                for label, one in zip(intake.kept, found, strict=False)
                if one is Outcome.CONFLICT
            ],
            "kept": outcomes is not None,
        }

    async def _keep(self, labels: Sequence[KeptLabel], now: float) -> list[Outcome] | None:
        """What became of each; None when not all could be kept, which is counted and logged by the keeper."""
        outcomes: list[Outcome] = []
        for start in range(0, len(labels), AT_ONCE):
            part = labels[start : start + AT_ONCE]
            try:
                outcomes += await self._keeper.run(
                    lambda database, part=part: database.write(  # type: ignore[misc]
                        lambda on: kept.keep(on, part, now)
                    )
                )
            except StateUnavailable:
                return None
        return outcomes

    async def _testify(self, intake: _Intake) -> None:
        """Have what is remembered heard, once; where that cannot be written down it is heard all the same."""
        said = [
            (request, endpoint, intake.now, testimony) for request, endpoint, testimony in intake.testimonies
        ]
        try:
            await self._with_store(lambda store: _written(store, said))
        except StateUnavailable as error:
            self._fail(str(error))
            for request, endpoint, came, _ in said:
                self._unwritten[request, endpoint] = came
            while len(self._unwritten) > MOST_UNWRITTEN:
                del self._unwritten[next(iter(self._unwritten))]
            for endpoint, some in groupby(intake.testimonies, key=lambda one: one[1]):
                pairs = [_pair(testimony, testimony.cohorts or []) for _, _, testimony in some]
                await self._hearing.hear_labels(endpoint, pairs)
            return
        try:
            await self._hear_all()
        except StateUnavailable as error:
            self._fail(str(error))  # the next round has it heard

    async def _write_down(self) -> None:
        """What was heard though it could not be written down: it is no evidence again. Raises
        StateUnavailable."""
        if not self._unwritten:
            return
        some = dict(self._unwritten)
        said = [(request, endpoint, came, HEARD) for (request, endpoint), came in some.items()]
        await self._with_store(lambda store: _written(store, said))
        await self._hear_all()
        for one in some:
            self._unwritten.pop(one, None)

    # Labels are joined.

    async def run(self) -> None:
        """For ever: take what came, look for its records, have it heard."""
        while self._board.unreadable is not None:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.2)
        while True:
            self._told.clear()
            try:
                await self.round()
            except (StateUnavailable, ConfigError) as error:
                self._fail(str(error))
                await asyncio.sleep(AGAIN)
            except Exception as error:
                # A mistake of ours with one label must not end the joining of all, for good and unseen.
                log.exception("labels not joined")
                self._fail(f"{type(error).__name__}: {error}")
                await asyncio.sleep(AGAIN)
            try:
                async with asyncio.timeout(LOOK):
                    await self._told.wait()
            except TimeoutError:
                continue

    async def round(self) -> Round:
        """One round: take, join, hear. Raises StateUnavailable and ConfigError."""
        done = Round()
        await self._write_down()
        if not self.logged:
            if await asyncio.to_thread((self.folder / NAME).exists):
                await self._hear_all()
            return done
        kinds = self.kinds()
        fresh = await self._take(kinds, done)
        now = self._clock.monotonic()
        pause = min(LATEST, max(AGAIN, self.waiting / 10_000))
        due = self.waiting > 0 and now - self._looked_at >= pause
        if fresh or due or kinds != self._fitted:
            if due:
                self._looked_at = now
            order = Order(str(self.folder), kinds, self._clock.wall(), due)
            large = fresh > LARGE or (due and self.waiting > 10 * LARGE)
            found = await (self._aside(order) if large else asyncio.to_thread(joined, order))
            _add(done, found)
            self.waiting = found.waiting
            self.rounds += 1
            self._fitted = kinds
            for endpoint, delays in found.delays.items():
                self._board.tallies.labelled(endpoint, delays)
            self._recover(found.unreadable)
            self.counts = await self._with_store(lambda store: store.counts())
            for react in self._after_round:
                react()
        elif self.failure is not None:
            self._recover([])
        await self._hear_all()
        await self._prune()
        return done

    def react(self, call: Callable[[], None]) -> None:
        """Have `call` called after every round that found something out."""
        self._after_round.append(call)

    async def _take(self, kinds: dict[str, Kind], done: Round) -> int:
        """Let the store have what the database has and it has not; how many that was."""
        count = 0
        while count < MOST_AT_ONCE:
            cursor = await self._with_store(lambda store: store.cursor)
            page, last = await self._keeper.run(
                lambda database, cursor=cursor: database.read(  # type: ignore[misc]
                    lambda on: (kept.after(on, cursor, PAGE), kept.last(on))
                )
            )
            if last < cursor:
                # Another database, or one that has been to an older release and back: numbers begin anew.
                await self._with_store(lambda store: store.begin_anew())
                if last:
                    continue
            self.behind = max(0, last - (page[-1].number if page else last))
            if not page:
                break
            found = await self._with_store(lambda store, page=page: taken(store, page, kinds))  # type: ignore[misc]
            _add(done, found)
            count += len(page)
        if not self.rounds:
            # What an earlier life left may be fresh still, and waits.
            fresh, waiting, counts = await self._with_store(
                lambda store: (len(store.fresh()), store.count_waiting(), store.counts())
            )
            count, self.waiting, self.counts = max(count, fresh), waiting, counts
        return count

    async def _aside(self, order: Order) -> Round:
        """A round in a process of its own. Raises StateUnavailable."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "monitoring.labels.joining",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                answer, told = await process.communicate(msgspec.json.encode(order))
        except TimeoutError as error:
            raise StateUnavailable(f"joining labels took longer than {PATIENCE:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            reason = told.decode(errors="replace").strip().rpartition("\n")[2]
            raise StateUnavailable(f"joining labels failed: {reason or f'exit {process.returncode}'}")
        return msgspec.json.decode(answer, type=Round)

    # Labels are heard.

    async def _hear_all(self) -> None:
        """Have all evidence heard that was not, in the order of its numbers. Raises StateUnavailable."""
        if self._board.unreadable is not None:
            return  # heard when it is known what was heard before
        async with self._turn:
            while True:
                some = await self._in_store(lambda store: store.evidence(self._heard_to, HEARD_AT_ONCE))
                for endpoint, group in groupby(some, key=lambda one: one.endpoint):
                    await self._hear_group(endpoint, list(group))
                if len(some) < HEARD_AT_ONCE:
                    return

    async def _hear_group(self, endpoint: str, group: Sequence[Numbered]) -> None:
        """Evidence of one endpoint, in order; what is of another trial is passed over."""
        judge = self._board.trial(endpoint)
        self._heard_to = group[-1].number
        pairs: list[LabelledPair] = []
        if judge is not None:
            out = self._board.tripped(endpoint)
            mine = [
                one.testimony
                for one in group
                if (one.request, one.endpoint) not in self._unwritten and _counts(one, judge, out)
            ]
            pairs = [_pair(one, _cohorts(one, judge)) for one in mine]
        heard = {self._session: self._heard_to}
        if pairs:
            await self._hearing.hear_labels(endpoint, pairs, heard)
        else:
            self._hearing.note_heard(self._session, self._heard_to)

    # The store.

    async def _with_store(self, work: Callable[[LabelStore], T]) -> T:
        """What `work` does with the store, in a thread, one at a time. Raises StateUnavailable."""
        async with self._turn:
            return await self._in_store(work)

    async def _in_store(self, work: Callable[[LabelStore], T]) -> T:
        folder = self.folder
        if self._store is None or self._folder != str(folder):
            await self._open(folder)
        store = self._store
        assert store is not None  # noqa: S101 - `_open` raises otherwise
        try:
            return await self._in_thread(work, store)
        except StateUnavailable:
            self._store = None  # opened afresh: after a failed fsync nobody knows what it holds
            await self._in_thread(store.close)
            raise

    async def _in_thread(self, work: Callable[..., T], *given: object) -> T:
        # Whoever is cancelled here leaves work behind; with one thread the store is not closed under it.
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)

    async def _open(self, folder: Path) -> None:
        if self._store is not None:
            before, self._store = self._store, None
            await self._in_thread(before.close)
        store, made = await self._in_thread(_opened, folder, self._clock.wall())
        self._store, self._folder, self.rounds = store, str(folder), 0
        if self._session != f"labels:{made}":
            self._session = f"labels:{made}"
            self._heard_to = self._hearing.kept_to(self._session)

    async def close(self) -> None:
        """Give the store back."""
        async with self._turn:
            store, self._store = self._store, None
            if store is not None:
                await self._in_thread(store.close)
            self._thread.shutdown(wait=False)

    async def _prune(self) -> None:
        now = self._clock.wall()
        if 0 <= now - self._pruned_at < PRUNE:
            return
        self._pruned_at = now
        before = now - self._board.settings.log.keep
        while await self._with_store(lambda store: store.prune(before, now)):  # noqa: ASYNC110 - it is the work
            await asyncio.sleep(0)

    # What is told.

    async def read(self, work: Callable[[LabelStore], T]) -> T:
        """What `work` reads, in a thread, from one that is opened for it. Raises StateUnavailable."""
        await self._with_store(lambda store: None)
        return await asyncio.to_thread(_read, self.folder, work)

    async def status(self) -> dict[str, object]:
        """How labels stand. Raises StateUnavailable."""
        now = self._clock.wall()
        counts, unfit, (unknown, requests), waiting = await self._with_store(
            lambda store: (
                store.counts(), store.unfit(), store.unknown(now - UNKNOWN), store.count_waiting()
            )
        )  # fmt: skip
        last = await self._keeper.run(lambda database: database.read(kept.last))
        cursor = await self._with_store(lambda store: store.cursor)
        return {
            "failure": self.failure,
            "behind": max(0, last - cursor),
            "waiting": waiting,
            "unknown": {"count": unknown, "newest": requests},
            "endpoints": [
                {
                    "endpoint": endpoint, "joined": one.joined, "unfit": one.unfit,
                    "corrected": one.corrected, "newest_at": iso(micros(one.newest)),
                    "age_seconds": max(0.0, now - one.newest),
                }
                for endpoint, one in sorted(counts.items())
            ],
            "unfit": [
                {"request_id": request, "endpoint": endpoint, "detail": detail}
                for request, endpoint, detail in unfit
            ],
        }  # fmt: skip

    def _fail(self, reason: str) -> None:
        if self.failure != reason:
            note(log, logging.ERROR, "labels are not joined", reason=reason)
        self.failure = reason

    def _recover(self, unreadable: Sequence[str]) -> None:
        if unreadable:
            self._fail(f"{len(unreadable)} files of the log are passed over: {unreadable[0]}")
        elif self.failure is not None:
            note(log, logging.INFO, "labels are joined again")
            self.failure = None


class _Intake:
    """One request's labels, as they are held against what is remembered."""

    def __init__(self, board: Switchboard, now: float, logged: bool) -> None:
        self.now = now
        self.joined = self.repeated = 0
        self.unknown: list[str] = []
        self.refused: list[dict[str, str]] = []
        self.delays: dict[str, list[float]] = {}
        self.testimonies: list[tuple[str, str, Testimony]] = []
        self.kept: list[KeptLabel] = []
        self._judges = {name: one for name, one in board.trials.items() if one.memory is not None}
        self._logged = logged

    def take(self, given: Given) -> None:
        known = self.now if given.at is None else given.at.timestamp()
        if not 0 <= known <= self.now + AHEAD:
            wrong = "is long past" if known < 0 else "has not come yet"
            self._refuse(given, f"at: {given.at} {wrong}; it is {iso(micros(self.now))}")
            return
        for name, judge in self._judges.items():
            if judge.memory is None or judge.memory.find(given.request_id) is None:
                continue
            self._join(given, name, judge, known)
            return
        self.unknown.append(given.request_id)
        if self._logged:
            self.kept.append(KeptLabel(given.request_id, ANY, given.label, known))

    def _join(self, given: Given, name: str, judge: Judge, known: float) -> None:
        memory = judge.memory
        remembered = None if memory is None else memory.find(given.request_id)
        if memory is None or remembered is None:
            return
        try:
            found = memory.join(given.request_id, given.label)
        except Unfit as error:
            self._refuse(given, str(error))
            return
        self.kept.append(KeptLabel(given.request_id, name, given.label, known))
        if found is None:
            self.repeated += 1
            return
        self.joined += 1
        self.delays.setdefault(name, []).append(known - remembered.at)
        testimony = Testimony(
            found.unit, found.at, judge.evidence_since, judge.settings.incumbent.name, judge.candidate,
            list(found.rows), [], list(found.cohorts),
        )  # fmt: skip
        self.testimonies.append((given.request_id, name, testimony))

    def _refuse(self, given: Given, detail: str) -> None:
        self.refused.append({"request_id": given.request_id, "detail": detail})


def _opened(folder: Path, now: float) -> tuple[LabelStore, str]:
    store = LabelStore(folder, now)
    try:
        return store, store.made[0]
    except BaseException:
        store.close()
        raise


def _read(folder: Path, work: Callable[[LabelStore], T]) -> T:
    store = LabelStore(folder, 0.0, read_only=True)
    try:
        return work(store)
    finally:
        store.close()


def _written(store: LabelStore, said: Sequence[tuple[str, str, float, Testimony]]) -> None:
    with store.writing():
        store.testify(said)


def _counts(numbered: Numbered, judge: Judge, out: bool) -> bool:
    """Whether it is of this trial, and was not heard when it could not be written down.

    While the candidate is `out` labels are no evidence, and those of its last trial are still shown.
    """
    one, memory = numbered.testimony, judge.memory
    versions = one.incumbent == judge.settings.incumbent.name and one.candidate == judge.candidate
    if not versions or (one.generation < judge.evidence_since and not out):
        return False
    remembered = None if memory is None else memory.find(numbered.request)
    return one.cohorts is not None or remembered is None or bool(remembered.rows)


def _pair(one: Testimony, cohorts: Sequence[str]) -> LabelledPair:
    return LabelledPair(one.unit, tuple(cohorts), tuple(one.rows), one.at)


def _cohorts(one: Testimony, judge: Judge) -> Sequence[str]:
    """Their names; of a record's values as the trial cuts its ranges."""
    return judge.cohorts.named(one.values) if one.cohorts is None else one.cohorts


def _add(done: Round, more: Round) -> None:
    for mine, theirs in (
        (done.joined, more.joined), (done.unfit, more.unfit), (done.corrected, more.corrected),
    ):  # fmt: skip
        for endpoint, count in theirs.items():
            mine[endpoint] = mine.get(endpoint, 0) + count
    done.evidence += more.evidence
    done.waiting = more.waiting
