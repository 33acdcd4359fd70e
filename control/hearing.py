"""Where the batches are heard: in slices, so that the loop is never held for long, each exactly once.

Between two batches, and only there, the evidence is kept together with the sequence of the last batch that
it holds, in one transaction. A batch is acknowledged to its worker after that, so a control process that is
killed at any moment goes on with all that was acknowledged, and is sent the rest again.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from control.aside import Aside
from control.clock import Clock
from control.compared import Compared
from control.inbox import MOST_SESSIONS, Inbox, Waiting
from control.judge import Judge
from control.keeper import Keeper
from control.link import Link
from control.log import note
from control.shared_evidence import SharedEvidence
from control.switchboard import Switchboard
from domain.errors import StateUnavailable
from domain.observation import Pair
from killswitch.cohorts import LabelledPair
from killswitch.evidence_log import Evidence, Moved
from killswitch.guards import GuardReport
from shadow.tasks import Tasks
from shadow.wire import Batch, BreakerOpened, RequestCounts

SLICE_PAIRS = 256
"""Pairs that are judged at once. NumPy's fixed costs are shared by them, and the loop is held for as long."""

SLICE_BYTES = 128 * 1024
SLICE_ROWS = 4096
"""Labelled rows that are judged at once."""

LONGEST_TURN = 0.005
"""Seconds of judging after which others get the loop."""

SHARED_READY = 1.0
"""Seconds that hearing waits at its start for what earlier lives of this process have shared."""

SHARED_PERIOD = 0.025
"""Seconds from one hearing to the next, at least, where evidence is shared. Reading one pair costs nearly as
much as reading ten, and every entry costs every replica: entries at leisure leave the loop to kills."""

PERIOD = 0.2
"""Seconds between two checkpoints."""

IDLE = 0.1

log = logging.getLogger("pointsman.hearing")


class Hearing:
    """Feeds the judges from the inbox and acts on what they find. Also what the link reports to."""

    def __init__(
        self,
        switchboard: Switchboard,
        inbox: Inbox,
        *,
        link: Link,
        keeper: Keeper,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        self.inbox = inbox
        self._switchboard = switchboard
        self._link = link
        self._keeper = keeper
        self._clock = clock
        self._tasks = tasks
        self.shared: SharedEvidence | None = None
        self._collected: dict[str, Evidence] = {}
        self._aside = Aside()
        self._heard: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._keeping = False
        self._kept_at = 0.0
        self._stopping = False

    def restore(self, sequences: Mapping[str, int]) -> None:
        """Every batch up to these sequences, by session, is kept: it is neither heard nor counted again."""
        self.inbox.restore(sequences)
        for session, sequence in sequences.items():
            self._remember(session, sequence)

    def _remember(self, session: str, sequence: int) -> None:
        self._kept[session] = sequence
        while len(self._kept) > MOST_SESSIONS:
            del self._kept[next(iter(self._kept))]

    # From the link.

    def received(self, batch: Batch) -> None:
        """Queue a batch and add its deltas; one that is kept already is only acknowledged, once more."""
        if self.inbox.put(batch):
            self._switchboard.tallies.batch(batch)
        elif (kept := self._kept.get(batch.session, 0)) >= batch.sequence:
            self._link.acknowledge(batch.session, kept)

    def breaker_opened(self, worker: int, message: BreakerOpened) -> None:
        """Latch a worker's breaker for the fleet, unless it opened in an earlier trial."""
        board = self._switchboard
        judge = board.judges.get(message.endpoint)
        fresh = judge is not None and judge.counts_breaker(message)
        rehearsal = board.rehearsals.get(message.endpoint)
        if rehearsal is not None and not fresh and rehearsal.real.counts_breaker(message):
            # It opened before the drill began: nothing was staged about it.
            actor, made = f"breaker:worker-{worker}", (str(uuid.uuid4()), self._clock.wall())
            fallen = board.trip(message.endpoint, actor, "breaker", message.reason, made=made)
            self._tasks.spawn(board.settle(fallen), f"trip of {message.endpoint}")
            return
        if judge is None or not fresh:
            note(
                log,
                logging.INFO,
                "late breaker",
                worker=worker,
                endpoint=message.endpoint,
                reason=message.reason,
            )
            return
        judge.breakers[worker] = message.reason
        if not board.tripped(message.endpoint):
            actor = f"breaker:worker-{worker}"
            fallen = board.trip(message.endpoint, actor, "breaker", message.reason)
            self._tasks.spawn(board.settle(fallen), f"trip of {message.endpoint}")

    # The hearing itself.

    async def run(self) -> None:
        """Hear until `stop`."""
        if self.shared is not None:
            await self.shared.ready(SHARED_READY)
        while not self._stopping:
            began = self._clock.monotonic()
            waiting = self.inbox.take_many(SLICE_PAIRS)
            if waiting:
                await self._hear(waiting)
                for one in waiting:
                    self._heard[one.session] = one.sequence
                if self.shared is not None and not self.inbox:
                    await asyncio.sleep(began + SHARED_PERIOD - self._clock.monotonic())
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.inbox.filled(), IDLE)
            if self.shared is not None:
                self.shared.watch()
            self._move_releases()
            self._checkpoint_if_due()

    def stop(self) -> None:
        """End `run` after the batch that is being heard."""
        self._stopping = True

    def now(self) -> float:
        """The wall time of the clock that evidence is dated by."""
        return self._clock.wall()

    async def close(self) -> None:
        """Let go of the other process."""
        await self._aside.close()

    async def checkpoint(self) -> None:
        """Keep what was heard, and acknowledge it. Only between two batches. Raises StateUnavailable."""
        await self._keep(self._switchboard.kept_states(), self._take_heard())

    async def _hear(self, waiting: Sequence[Waiting]) -> None:
        turn = self._clock.monotonic()
        for part in slices(self._unheard(waiting)):
            by_endpoint: dict[str, list[Pair]] = {}
            for pair in part:
                by_endpoint.setdefault(pair.endpoint, []).append(pair)
            tripped = [await self._judge(name, mine) for name, mine in by_endpoint.items()]
            if any(tripped) or self._clock.monotonic() - turn > LONGEST_TURN:
                await asyncio.sleep(0)
                turn = self._clock.monotonic()
        self._count([counts for one in waiting for counts in one.requests])
        self._hand_in({one.session: one.sequence for one in waiting})

    def _unheard(self, waiting: Sequence[Waiting]) -> Sequence[Pair]:
        """The pairs that are not in the shared evidence by way of an earlier life of this process."""
        if len(waiting) == 1 and self.shared is None:
            return waiting[0].pairs
        shared = self.shared
        return [
            pair
            for one in waiting
            for pair in one.pairs
            if shared is None or not shared.holds(pair.endpoint, one.session, one.sequence)
        ]

    def _hand_in(self, heard: Mapping[str, int]) -> None:
        """Give what was read to the log that all replicas share, as one batch an endpoint."""
        collected, self._collected = self._collected, {}
        for name, evidence in collected.items():
            if self.shared is not None and not self._switchboard.tripped(name):
                self.shared.offer(name, replace(evidence, heard=heard))

    def _take(self, name: str, judge: Judge, evidence: Evidence | None) -> bool:
        """Take what was read as evidence; whether that tripped the switch. What is shared is collected."""
        if evidence is None:
            return False
        shared = None if name in self._switchboard.rehearsals else self.shared
        if shared is not None and not evidence.counted:
            shared.offer(name, evidence)
            return False
        if shared is not None:
            before = self._collected.get(name)
            self._collected[name] = evidence if before is None else before.with_more(evidence)
            return False
        stage = judge.progress.stage
        breach = judge.take(evidence)
        if breach is None:
            judge.step()
        return self._acted(name, judge, stage, breach)

    def applied(self, name: str, entry: Evidence | Moved, made: tuple[str, float] | None) -> None:
        """See `control.shared_evidence.Listener`."""
        board = self._switchboard
        judge = board.trial(name)
        if judge is None:
            return
        board.touch(name)
        if isinstance(entry, Moved):
            if judge.move(entry):
                board.moved(name)
            return
        breach = judge.take(entry)
        if breach is not None and not board.tripped(name):
            if made is None and name in board.rehearsals:
                made = str(uuid.uuid4()), self._clock.wall()  # evidence of the real trial: no drill's doing
            board.breached(name, breach, made)

    async def _judge(self, name: str, pairs: Sequence[Pair]) -> bool:
        """Judge `pairs`; whether that tripped the switch."""
        board = self._switchboard
        judge = board.judges.get(name)
        if judge is None:
            board.tallies.dropped["unknown endpoint"] += len(pairs)
            return False
        board.touch(name)
        if board.tripped(name):
            judge.ignore(pairs)
            return False
        admitted = judge.admit(pairs)
        if judge.heavy(admitted):
            found = await self._compare_aside(judge, admitted)
            if found is None:
                return False
            compared = found
        else:
            compared = judge.compare(admitted)
        return self._take(name, judge, judge.read(compared))

    async def _compare_aside(self, judge: Judge, pairs: Sequence[Pair]) -> Compared | None:
        """Compare in the other process; None when what `pairs` are evidence of came to an end meanwhile."""
        board, settings, since = self._switchboard, judge.settings, judge.evidence_since
        compared = await self._aside.compare(settings.protocol, settings.compare, judge.wanted, pairs)
        current = board.judges.get(settings.name)
        if current is judge and judge.evidence_since == since and not board.tripped(settings.name):
            return compared
        if current is not None:
            current.ignore(pairs)
        return None

    def _acted(self, name: str, judge: Judge, stage: int, breach: GuardReport | None) -> bool:
        """Do what follows from what was heard; whether that tripped the switch."""
        board = self._switchboard
        if breach is not None:
            board.breached(name, breach)
        elif judge.progress.stage != stage:
            board.moved(name)
        return breach is not None

    def _count(self, counts: Sequence[RequestCounts]) -> None:
        """Requests that reached one arm each, where that is what errors are judged by."""
        board = self._switchboard
        for name in {one.endpoint for one in counts}:
            judge = board.judges.get(name)
            if judge is None or judge.settings.guards.mirrored or board.tripped(name):
                continue
            board.touch(name)
            mine = [one for one in counts if one.endpoint == name]
            self._take(name, judge, judge.read_counts(mine))

    def kept_to(self, session: str) -> int:
        """Up to which of its numbers what `session` hands in is kept with the evidence."""
        return max(self._kept.get(session, 0), self._heard.get(session, 0))

    def note_heard(self, session: str, number: int) -> None:
        """Up to `number` what `session` hands in is in the evidence: to be kept together with it."""
        self._heard[session] = number

    async def hear_labels(
        self, name: str, labelled: Sequence[LabelledPair], heard: Mapping[str, int] | None = None
    ) -> None:
        """Take labelled pairs of the endpoint `name` as evidence; while the candidate is out, count them.

        `heard` is what they are numbered by, where they must not count again after a restart: with it they
        are one slice, and are noted as heard in the turn in which they are taken.
        """
        board = self._switchboard
        for part in (labelled,) if heard else labelled_slices(labelled):
            for session, number in (heard or {}).items():
                self.note_heard(session, number)
            judge = board.trial(name)
            if judge is None:
                return
            judge.accuracy.take(part)
            rehearsed = self.shared is None and name in board.rehearsals
            if rehearsed or not board.tripped(name):
                board.touch(name)
                evidence = judge.read_labels(part)
                if rehearsed:
                    if evidence is not None:
                        judge.take(evidence)  # a breach is acted upon when the drill is over
                elif self.shared is None:
                    self._take(name, judge, evidence)
                elif evidence is not None and not self._shared_already(name, heard or {}):
                    self.shared.offer(name, replace(evidence, heard=heard or {}))
            await asyncio.sleep(0)

    def _shared_already(self, name: str, heard: Mapping[str, int]) -> bool:
        """Whether the evidence that all replicas share has it, by way of an earlier life of this process."""
        shared = self.shared
        return shared is not None and any(shared.holds(name, *one) for one in heard.items())

    def _move_releases(self) -> None:
        for name, judge in self._switchboard.judges.items():
            if not judge.candidate or self._switchboard.tripped(name):
                continue
            if self.shared is None:
                if judge.step():
                    self._switchboard.moved(name)
            elif self.shared.leads(name) and (due := judge.due()) is not None:
                self.shared.move(name, due.stage, due.since)

    # Keeping.

    def _checkpoint_if_due(self) -> None:
        board = self._switchboard
        due = self._clock.monotonic() - self._kept_at >= PERIOD and (self._heard or board.changed)
        if due and not self._keeping and board.unreadable is None:
            self._keeping = True
            self._kept_at = self._clock.monotonic()
            self._tasks.spawn(self._keep_quietly(board.kept_states(), self._take_heard()), "checkpoint")

    def _take_heard(self) -> dict[str, int]:
        heard, self._heard = self._heard, {}
        return heard

    async def _keep_quietly(self, states: Mapping[str, bytes], heard: Mapping[str, int]) -> None:
        try:
            await self._keep(states, heard)
        except StateUnavailable:
            # Counted and logged by the keeper; nothing is acknowledged, and the next checkpoint holds it too.
            self._heard = {**heard, **self._heard}
            self._switchboard.touch_again(states)
        finally:
            self._keeping = False

    async def _keep(self, states: Mapping[str, bytes], heard: Mapping[str, int]) -> None:
        if states or heard:
            await self._keeper.checkpoint(states, heard)
        for session, sequence in heard.items():
            self._remember(session, sequence)
            self._link.acknowledge(session, sequence)


def slices(pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    """`pairs` in order, in parts of at most SLICE_PAIRS pairs and, from the second pair on, SLICE_BYTES."""
    start = size = 0
    for at, pair in enumerate(pairs):
        weight = pair.size
        if at > start and (at - start == SLICE_PAIRS or size + weight > SLICE_BYTES):
            yield pairs[start:at]
            start, size = at, 0
        size += weight
    if start < len(pairs):
        yield pairs[start:]


def labelled_slices(labelled: Sequence[LabelledPair]) -> Iterator[Sequence[LabelledPair]]:
    """`labelled` in order, in parts of at most SLICE_PAIRS pairs and, from the second pair on, SLICE_ROWS."""
    start = rows = 0
    for at, one in enumerate(labelled):
        if at > start and (at - start == SLICE_PAIRS or rows + len(one.rows) > SLICE_ROWS):
            yield labelled[start:at]
            start, rows = at, 0
        rows += len(one.rows)
    if start < len(labelled):
        yield labelled[start:]
