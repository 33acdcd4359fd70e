"""One round of joining: labels that came, held against what the log has predicted, and counted.

A round is two steps. `taken` lets labels in: those of requests that were joined before correct what was
counted, all others wait. `joined` looks for their records: labels that are new in the whole log, labels that
have waited since earlier in what was logged since. So a round costs what is new, not what is there.

Both arms are judged by every label: the answer that was served and the one that was mirrored. A round may be
stopped at any moment and is gone on with by the next one; nothing is counted twice, for each part is one
transaction with the labels that it takes from those that wait.

A small round runs in a thread of the control process; a large one, which would take the interpreter from
trips for as long as it lasts, in a process of its own: `python -m monitoring.labels.joining`, an Order as
JSON on its standard input, a Round as JSON on its output.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import orjson

from domain.errors import PointsmanError, StateUnavailable
from monitoring.labels import matching
from monitoring.labels.cohorts import Cohorts
from monitoring.labels.figures import Tally
from monitoring.labels.kept import ANY, Entry
from monitoring.labels.matching import Match, Predicted, Reached
from monitoring.labels.store import DAY, HOUR, Facts, Joined, Key, LabelStore, Testimony, Waiting
from monitoring.labels.truths import Kind, Rows, Unfit, held, right

EVERYBODY = ""
MOST_DELAYS = 10_000
REFITTED = 1_000
"""Labels that did not fit, of one transaction."""
Fitting = list[tuple[Predicted, Rows]]
"""Answers that a label could be held against, and the rows it speaks of."""

NICENESS = 5
"""Added to the control process's: kills go first."""


class Order(msgspec.Struct, frozen=True):
    """What to join: the log in `folder`, the labels that wait in the store beside it, as `kinds` says.

    `now` is in seconds since the epoch. `all_waiting`: look for labels that have waited, too.
    """

    folder: str
    kinds: dict[str, Kind]
    now: float
    all_waiting: bool = True


class Round(msgspec.Struct):
    """What came of it: labels by endpoint; `delays` are seconds from request to label, of
    some of those that were no evidence before.

    `evidence`: requests that speak to a guard for the first time. `unreadable`: why segments were passed
    over.
    """

    joined: dict[str, int] = msgspec.field(default_factory=dict)
    unfit: dict[str, int] = msgspec.field(default_factory=dict)
    corrected: dict[str, int] = msgspec.field(default_factory=dict)
    delays: dict[str, list[float]] = msgspec.field(default_factory=dict)
    evidence: int = 0
    waiting: int = 0
    unreadable: list[str] = msgspec.field(default_factory=list)


def taken(store: LabelStore, entries: Sequence[Entry], kinds: dict[str, Kind]) -> Round:
    """Let labels in, which are those after the store's cursor. Raises StateUnavailable with nothing done."""
    done = Round()
    with store.writing():
        again = store.take(entries)
        if again:
            part = _Part(_known(store, kinds), store.cohorts)
            latest: dict[tuple[str, str], Joined] = {}
            for entry, before in again:
                key = before.request, before.endpoint
                latest[key] = part.correct(latest.get(key, before), entry.label, entry.at, entry.kept)
            store.settle(list(latest.values()), ())
            part.write(store)
            _count(done, part)
    return done


def _known(store: LabelStore, kinds: dict[str, Kind]) -> dict[str, Kind]:
    """What is predicted, also by endpoints that are not configured any more: their labels come late, too."""
    return {name: kind._replace(guarded=False) for name, kind in store.kinds.items()} | kinds


def joined(order: Order) -> Round:
    """Look for the records of the labels that wait. Raises StateUnavailable, and ConfigError without pyarrow
    where it is needed."""
    folder = Path(order.folder)
    store = LabelStore(folder, order.now)
    try:
        return _round(store, folder, order)
    finally:
        store.close()


def _round(store: LabelStore, folder: Path, order: Order) -> Round:
    done = Round()
    kinds = _refit(store, order.kinds, done)
    fresh = matching.wanted(store.fresh())
    waiting = matching.wanted(store.waiting() if order.all_waiting else ())
    _, made = store.made
    reached = store.reached()
    there = matching.listed(folder)
    now_reached: dict[int, Reached] = {}
    passed_over: set[int] = set()
    if len(fresh.hashes) or len(waiting.hashes):
        cohorts = store.cohorts
        for number in there:
            try:
                for found in matching.matches(folder, number, fresh, waiting, reached.get(number)):
                    if isinstance(found, Reached):
                        if order.all_waiting:
                            now_reached[number] = found
                    elif found:
                        _settle(store, found, _Part(kinds, cohorts, made), done)
            except StateUnavailable as error:
                done.unreadable.append(str(error))
                passed_over.add(number)
    with store.writing():
        store.looked()
        # Nothing was held against a segment that was passed over: it is looked through from its start again.
        readable = {number: one for number, one in now_reached.items() if number not in passed_over}
        store.reach(readable, [number for number in there if number not in passed_over])
    done.waiting = store.count_waiting()
    return done


def _refit(store: LabelStore, kinds: dict[str, Kind], done: Round) -> dict[str, Kind]:
    """What is predicted; where that is something new, labels that did not fit are held against it again."""
    before = store.kinds
    known = _known(store, kinds)
    if known == before:
        return known
    for name, kind in kinds.items():
        was = before.get(name)
        if was is not None and (was.kind, was.names) == (kind.kind, kind.names):
            continue
        last = ""
        while True:
            with store.writing():
                some = store.unfit_after(name, last, REFITTED)
                part = _Part(known, store.cohorts)
                store.settle([part.refit(one) for one in some], ())
                part.write(store)
            _count(done, part)
            if len(some) < REFITTED:
                break
            last = some[-1].request
    with store.writing():
        store.learn_kinds(known)
    return known


def _settle(store: LabelStore, matches: Sequence[Match], part: _Part, done: Round) -> None:
    """One transaction: these records, and the labels that wait for them."""
    newest: dict[tuple[str, str], Match] = {}
    for one in matches:
        before = newest.get((one.request, one.endpoint))
        if before is None or before.at <= one.at:
            newest[one.request, one.endpoint] = one
    with store.writing():
        requests = list(dict.fromkeys(request for request, _ in newest))
        labels = store.of(requests)
        if not labels:
            return
        known = store.joined(list(labels))
        settled: list[Waiting] = []
        found: dict[tuple[str, str], Joined] = {}
        spent: set[tuple[str, str]] = set()
        spoken = store.spoken(list(labels)) if part.guards else frozenset()
        for (request, endpoint), match in sorted(newest.items(), key=lambda one: -one[1].at):
            for label in labels.get(request, ()):
                if label.endpoint not in (ANY, endpoint) or (request, label.endpoint) in spent:
                    continue
                spent.add((request, label.endpoint))
                earlier = found.get((request, endpoint)) or known.get((request, endpoint))
                if earlier is None:
                    fresh = (request, endpoint) not in spoken
                    found[request, endpoint] = part.join(label, match, fresh)
                else:
                    found[request, endpoint] = part.correct(earlier, label.label, label.at, label.came)
                settled.append(label)
        store.settle(list(found.values()), settled)
        part.write(store)
    done.evidence += part.spoken
    _count(done, part)


class _Part:
    """What one transaction adds up to."""

    def __init__(
        self, kinds: dict[str, Kind], cohorts: dict[str, Cohorts], made: float | None = None
    ) -> None:
        """`made`: labels that came later may be evidence; None: none is."""
        self.joined: Counter[str] = Counter()
        self.unfit: Counter[str] = Counter()
        self.corrected: Counter[str] = Counter()
        self.delays: dict[str, list[float]] = {}
        self.spoken = 0
        self._kinds = kinds
        self._cohorts = cohorts
        self._made = made
        self._newest: dict[str, float] = {}
        self._read: dict[bytes, object] = {}
        self._added = _Columns()
        self._taken = _Columns()
        self._testimonies: list[tuple[str, str, float, Testimony]] = []

    @property
    def guards(self) -> bool:
        """Whether any endpoint's accuracy is guarded."""
        return any(kind.guarded for kind in self._kinds.values())

    def join(self, label: Waiting, match: Match, fresh: bool) -> Joined:
        """Hold a label against its record for the first time; `fresh`: its request has not been evidence."""
        kind = self._kinds.get(match.endpoint)
        endpoint = match.endpoint
        names: list[str] = []
        if kind is not None:
            names = self._cohorts.setdefault(endpoint, Cohorts()).named(kind.cohorts, match.cohorts)
        answers = [one for one in (match.incumbent, match.candidate) if one is not None and one.predictions]
        facts = Facts(match.at, answers, names)
        fitting = self._count(endpoint, facts, label.label, self._added)
        unfit = fitting if isinstance(fitting, str) else None
        if not isinstance(fitting, str):
            self.joined[endpoint] += 1
            # One that names its endpoint was held against the remembered pair, and was heard when it came.
            if fresh and label.endpoint == ANY:
                self._testify(label, match, kind, fitting)
        else:
            self.unfit[endpoint] += 1
        delays = self.delays.setdefault(endpoint, [])
        if fresh and len(delays) < MOST_DELAYS:
            delays.append(max(0.0, label.at - match.at))
        self._newest[endpoint] = max(label.came, self._newest.get(endpoint, 0.0))
        return Joined(label.request, endpoint, label.label, label.at, label.came, facts, unfit)

    def correct(self, before: Joined, label: bytes, at: float, came: float) -> Joined:
        """Another label for a request that is joined: the one that became known last holds."""
        if at < before.at or label == before.label:
            return before
        endpoint = before.endpoint
        if before.unfit is None:
            self._count(endpoint, before.facts, before.label, self._taken)
        fitting = self._count(endpoint, before.facts, label, self._added)
        unfit = fitting if isinstance(fitting, str) else None
        self.joined[endpoint] += (unfit is None) - (before.unfit is None)
        self.unfit[endpoint] += (unfit is not None) - (before.unfit is not None)
        self.corrected[endpoint] += 1
        self._newest[endpoint] = max(came, self._newest.get(endpoint, 0.0))
        return before._replace(label=label, at=at, came=came, unfit=unfit)

    def refit(self, before: Joined) -> Joined:
        """Hold a label that did not fit against its record again: its endpoint predicts something else."""
        endpoint = before.endpoint
        fitting = self._count(endpoint, before.facts, before.label, self._added)
        if isinstance(fitting, str):
            return before._replace(unfit=fitting)
        self.joined[endpoint] += 1
        self.unfit[endpoint] -= 1
        self._newest[endpoint] = max(before.came, self._newest.get(endpoint, 0.0))
        return before._replace(unfit=None)

    def write(self, store: LabelStore) -> None:
        """Everything into the store, inside `writing`."""
        cells: dict[Key, Tally] = {}
        for columns, sign in ((self._taken, -1), (self._added, 1)):
            for key, rows in columns.by_cell():
                cells.setdefault(key, Tally()).add(rows, sign)
        store.add(cells)
        if self._testimonies:
            self.spoken = store.testify(self._testimonies)
        if any(one.changed for one in self._cohorts.values()):
            store.learn(self._cohorts)
        for endpoint in self._newest:
            store.count(
                endpoint, self.joined[endpoint], self.unfit[endpoint], self.corrected[endpoint],
                self._newest[endpoint],
            )  # fmt: skip

    def _count(self, endpoint: str, facts: Facts, label: bytes, into: _Columns) -> Fitting | str:
        """Put the rows of every answer where they are counted; those rows, or why there are none."""
        kind = self._kinds.get(endpoint)
        if kind is None:
            return "its endpoint is not configured"
        if not facts.answers:
            return "neither arm gave an answer that could be read, so that no label can be held against it"
        truth = self._read.get(label, self)  # nothing that a label could be
        if truth is self:
            try:
                truth = self._read[label] = orjson.loads(label)
            except orjson.JSONDecodeError as error:
                return f"the label cannot be read: {error}"
        reason = ""
        fitting: Fitting = []
        for answer in facts.answers:
            try:
                rows = held(truth, answer.predictions, answer.confidence, kind)
            except Unfit as error:
                reason = reason or str(error)
            else:
                fitting.append((answer, rows))
        cohorts, hour = tuple(facts.cohorts), facts.at // HOUR
        for answer, rows in fitting:
            into.add(endpoint, answer.version, cohorts, hour, rows)
        return fitting or reason

    def _testify(self, label: Waiting, match: Match, kind: Kind | None, fitting: Fitting) -> None:
        """What the label says of both arms, where a guard wants to know and no drill was under way."""
        mine, theirs = match.incumbent, match.candidate
        if kind is None or not kind.guarded or match.drill or mine is None or theirs is None:
            return
        if self._made is None or label.came < self._made or len(fitting) != 2:
            return  # of one arm: it counts for that arm's accuracy, and compares nothing
        columns = [right(rows) for _, rows in fitting]
        if len(columns[0]) != len(columns[1]):
            return
        said = Testimony(
            match.unit, match.at, match.generation, mine.version, theirs.version,
            list(zip(*columns, strict=True)), list(match.cohorts),
        )  # fmt: skip
        self._testimonies.append((label.request, match.endpoint, label.came, said))


class _Columns:
    """Rows in columns, and which of them are in which cells: those of one cell each are put together once."""

    def __init__(self) -> None:
        self._rows = Rows([], [], [])
        self._places: dict[tuple[str, str, tuple[str, ...], float], list[int]] = {}

    def add(self, endpoint: str, version: str, cohorts: tuple[str, ...], hour: float, rows: Rows) -> None:
        """Rows of one answer: everybody's of that hour, and each cohort's of its day."""
        truths, predictions, confidences = self._rows
        places = self._places.setdefault((endpoint, version, cohorts, hour), [])
        places += range(len(truths), len(truths) + len(rows.truths))
        truths += rows.truths
        predictions += rows.predictions
        confidences += rows.confidences

    def by_cell(self) -> Iterator[tuple[Key, Rows]]:
        """The rows of each cell."""
        cells: dict[Key, list[int]] = {}
        for (endpoint, version, cohorts, hour), places in self._places.items():
            begins = int(hour) * HOUR
            cells.setdefault((endpoint, version, EVERYBODY, begins), []).extend(places)
            for cohort in cohorts:
                cells.setdefault((endpoint, version, cohort, begins // DAY * DAY), []).extend(places)
        truths, predictions, confidences = self._rows
        for key, places in cells.items():
            yield (
                key,
                Rows(
                    [truths[one] for one in places],
                    [predictions[one] for one in places],
                    [confidences[one] for one in places],
                ),
            )


def _count(done: Round, part: _Part) -> None:
    for mine, more in (
        (done.joined, part.joined), (done.unfit, part.unfit), (done.corrected, part.corrected),
    ):  # fmt: skip
        for endpoint, count in more.items():
            mine[endpoint] = mine.get(endpoint, 0) + count
    for endpoint, delays in part.delays.items():
        held_already = done.delays.setdefault(endpoint, [])
        held_already += delays[: MOST_DELAYS - len(held_already)]


def main() -> int:
    """The process of a large round."""
    os.nice(NICENESS)
    gc.disable()  # nothing here refers to itself, and looking for what does costs a third of the time
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        done = joined(order)
    except PointsmanError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
