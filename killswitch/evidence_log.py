"""One order of all evidence for several replicas, so that they judge one candidate and not each its own
share.

The problem. Four gateways see a quarter of the pairs each. Four separate judges would need four times as
long to see that a candidate is bad, and would raise four false alarms where one is allowed.

The idea. Each replica reads its own pairs into `Increments` and appends them to a log in the shared state.
All replicas, the sender too, apply all entries in the log's order. Evidence is a function of the entries and
their order, so replicas that have applied the same entries hold the same evidence to the last bit, and a
breach is found by all of them at the same entry. It is one e-process: the false-alarm rate holds for the
whole fleet. (What a pair counts for may depend on evidence up to some earlier entry, never on later ones;
that is all it needs.) The steps of the release stand in the same log, so that pairs are counted for the same
stage everywhere.

Out of reach. When the log does not take an entry in time the replica applies its own at once and goes on
alone: an island continues its own copy of the process from the common past, each with the false-alarm rate
of one. It is `ahead` then. Once the log answers again it begins from the log's checkpoint, replays what the
others wrote, and hands in what it applied alone. Nothing counts twice: senders number their entries, the log
takes each number once and in turn, and a checkpoint says up to which number of whom it holds.

Epochs. A log that lost entries that somebody has applied (emptied, rolled back by a failover) cannot be
healed. The leader then begins a new epoch with its own evidence, and the others begin from that; what it
lacks of theirs they hand in again, for they remember the latest of it.

All of it is a state machine without I/O: what happened goes in, and what is to be done comes out.

Source: state machine replication, Schneider, ACM Computing Surveys 1990; version vectors, Parker et al.,
1983.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from killswitch.combined import combined
from killswitch.increments import Increments

MOST_WAITING = 16
"""Entries that wait one by one; beyond, the newest are combined into one."""

MOST_REMEMBERED = 256
"""Own entries that are remembered after the log has shown them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One batch.

    Attributes:
        at: wall clock of the sender, seconds since the epoch.
        parts: what it does to the guards.
        pairs, flips, faults: as a `Tally` counts them; `pairs` counts for the stage of the release.
        heard: the worker sessions whose batches, up to these sequences, it holds.
        counted: whether a `Tally` counts it; counts of requests are no pairs.
    """

    at: float
    parts: tuple[Increments, ...]
    pairs: int = 0
    flips: int = 0
    faults: int = 0
    heard: Mapping[str, int] = field(default_factory=dict)
    counted: bool = True

    def with_more(self, other: Evidence) -> Evidence:
        """Both as one batch, of which they are parts."""
        return Evidence(
            self.at,
            (*self.parts, *other.parts),
            self.pairs + other.pairs,
            self.flips + other.flips,
            self.faults + other.faults,
            {**self.heard, **other.heard},
            self.counted,
        )


@dataclass(frozen=True, slots=True)
class Moved:
    """A step of the release, by the leader with `token`: from `before` to `stage`, `since` wall time."""

    token: int
    before: int
    stage: int
    since: float


Entry = Evidence | Moved


@dataclass(frozen=True, slots=True)
class Sent:
    """An entry, and who sent it as which of its own."""

    sender: str
    number: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a log stands after entry `index`: up to which number of whom it holds, and the evidence."""

    index: int
    sent: Mapping[str, int]
    heard: Mapping[str, int]
    state: bytes


@dataclass(frozen=True, slots=True)
class Apply:
    """To do: take `entry` as evidence. `place` names it for ever; None when the log does not show it."""

    entry: Entry
    place: tuple[str, int] | None


class LogCopy:
    """One replica's side of one log.

    Attributes:
        epoch: of the log it follows; None while it follows none.
        index: the last entry applied in order.
        last: its sender and number, None when that is not known: a checkpoint does not say.
        sent: up to which number of whom the evidence holds entries.
        heard: the sessions whose batches, up to these sequences, the evidence holds.
        ahead: the evidence holds entries that the log has not shown.
    """

    def __init__(self, sender: str) -> None:
        """`sender` is unique for this process and log."""
        self.epoch: str | None = None
        self.index = 0
        self.last: tuple[str, int] | None = None
        self.sent: dict[str, int] = {}
        self.heard: dict[str, int] = {}
        self.ahead = False
        self._name = sender
        self._renamed = 0
        self._sender = sender
        self._number = 0
        self._sealed = 0
        self._waiting: deque[Sent] = deque()
        self._taken = 0
        self._shown: deque[Sent] = deque(maxlen=MOST_REMEMBERED)

    def __repr__(self) -> str:
        return (
            f"<LogCopy {self._sender} epoch={self.epoch} index={self.index} ahead={self.ahead} "
            f"waiting={len(self._waiting)}>"
        )

    @property
    def waiting(self) -> tuple[Sent, ...]:
        """Own entries that the log has not shown: what has to survive a restart."""
        return tuple(self._waiting)

    @property
    def following(self) -> bool:
        """Whether the evidence is exactly what the log says."""
        return self.epoch is not None and not self.ahead

    @property
    def next(self) -> Sent | None:
        """The entry to append now; None when all are taken, or there is no log."""
        if self.epoch is None or self.ahead or self._taken >= len(self._waiting):
            return None
        return self._waiting[self._taken]

    # What happens.

    def offer(self, evidence: Evidence) -> list[Apply]:
        """Own evidence. Without a log it is applied at once."""
        alone = self.epoch is None or self.ahead
        if len(self._waiting) >= max(MOST_WAITING, self._taken + 2):
            last = self._waiting[-1]
            own = last.sender == self._sender and last.number > self._sealed
            if own and isinstance(last.entry, Evidence) and last.entry.counted == evidence.counted:
                self._waiting[-1] = Sent(last.sender, last.number, _together(last.entry, evidence))
                return [self._alone(last.sender, last.number, evidence)] if alone else []
        self._number += 1
        self._waiting.append(Sent(self._sender, self._number, evidence))
        return [self._alone(self._sender, self._number, evidence)] if alone else []

    def inherit(
        self, sent: Mapping[str, int], heard: Mapping[str, int], waiting: Iterable[Sent]
    ) -> list[Apply]:
        """Go on from an earlier life: what its evidence held, and what waited. Before anything else."""
        self.sent, self.heard = dict(sent), dict(heard)
        self._waiting = deque(waiting)
        unapplied = [one for one in self._waiting if one.number > self.sent.get(one.sender, 0)]
        return [self._alone(one.sender, one.number, one.entry) for one in unapplied]

    def part(self) -> list[Apply]:
        """The log does not answer in time: go on alone."""
        if self.ahead or self.epoch is None:
            return []
        self.ahead = True
        self._taken = 0
        return [
            self._alone(one.sender, one.number, one.entry)
            for one in self._waiting
            if one.number > self.sent.get(one.sender, 0)
        ]

    def differs(self, index: int, last: tuple[str, int] | None) -> bool:
        """Whether a log that ends with entry `index`, sent as `last`, is another one than was followed."""
        behind = index < self.index
        return behind or (index == self.index and self.last is not None and last != self.last)

    def taken(self, sent: Sent) -> None:
        """The log has `sent`, or had it already; it will be shown."""
        if self._taken < len(self._waiting) and self._waiting[self._taken] == sent:
            self._taken += 1

    def read_to_its_end(self) -> None:
        """The log was followed to its end. What it took and did not show is lost, or just on its way: it is
        sent again, and the log knows which."""
        self._taken = 0

    def shown(
        self, epoch: str, index: int, sent: Sent, previous: tuple[str, int] | None
    ) -> list[Apply] | None:
        """The log shows an entry, whose predecessor has the sender and number `previous` (None: it has none).

        Answers what to do, or None when the log has to be looked at.
        """
        if epoch != self.epoch or self.ahead:
            return None
        before = self.sent.get(sent.sender, 0)
        if index <= self.index and sent.number <= before:
            return []
        if index != self.index + 1 or sent.number > before + 1:
            return None
        if self.last is not None and previous != self.last:
            return None  # the log lost the entry before, and has another one in its place
        self.index, self.last = index, (sent.sender, sent.number)
        if sent.number <= before:
            return []
        self._hold(sent)
        while self._waiting and self._waiting[0].number <= self.sent.get(self._waiting[0].sender, 0):
            self._shown.append(self._waiting.popleft())
            self._taken = max(0, self._taken - 1)
        return [Apply(sent.entry, (epoch, index))]

    def lost(self) -> list[Apply]:
        """The log is not what it was: go on alone until it is joined again."""
        todo = self.part()
        self.epoch, self.ahead, self._taken = None, False, 0
        return todo

    def joined(self, epoch: str, standing: Standing) -> None:
        """The evidence was replaced by that of a checkpoint. Own entries that it lacks wait again.

        Entries after the checkpoint are to be given to `shown` next, and then `renumber` to be called.
        """
        self.epoch, self.index, self.ahead, self._taken = epoch, standing.index, False, 0
        self.last = None
        self.sent, self.heard = dict(standing.sent), dict(standing.heard)
        known = (*self._shown, *self._waiting)
        self._waiting = deque(one for one in known if one.number > self.sent.get(one.sender, 0))
        self._shown = deque(
            (one for one in known if one.number <= self.sent.get(one.sender, 0)), maxlen=MOST_REMEMBERED
        )

    def renumber(self) -> None:
        """After `joined`: where the log lacks more of a sender than is remembered, the rest is renamed."""
        first: dict[str, int] = {}
        for one in self._waiting:
            first.setdefault(one.sender, one.number)
        if all(number <= self.sent.get(sender, 0) + 1 for sender, number in first.items()):
            return
        rest, self._waiting = self._waiting, deque()
        self._renamed += 1
        self._sender, self._number, self._sealed = f"{self._name}.{self._renamed}", 0, 0
        for one in rest:
            self._number += 1
            self._waiting.append(Sent(self._sender, self._number, one.entry))

    def standing(self, state: bytes) -> Standing:
        """Where this copy stands, with the evidence as `state`. What is offered from now on is not in it."""
        self._sealed = self._number
        return Standing(self.index, dict(self.sent), dict(self.heard), state)

    def holds(self, session: str, sequence: int) -> bool:
        """Whether the evidence holds the batch `sequence` of a worker's `session` already."""
        return sequence <= self.heard.get(session, 0)

    def _alone(self, sender: str, number: int, entry: Entry) -> Apply:
        self._hold(Sent(sender, number, entry))
        return Apply(entry, None)

    def _hold(self, sent: Sent) -> None:
        self.sent[sent.sender] = max(sent.number, self.sent.get(sent.sender, 0))
        if isinstance(sent.entry, Evidence):
            for session, sequence in sent.entry.heard.items():
                self.heard[session] = max(sequence, self.heard.get(session, 0))


def _together(first: Evidence, second: Evidence) -> Evidence:
    """Both as one batch, no longer than one."""
    both = first.with_more(second)
    return replace(both, parts=(combined(both.parts),))


# As bytes.


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    sender: str
    number: int
    at: float = 0.0
    parts: list[bytes] = []
    counts: tuple[int, int, int] = (0, 0, 0)
    heard: dict[str, int] = {}
    moved: tuple[int, int, int, float] | None = None
    counted: bool = True


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    index: int
    sent: dict[str, int]
    heard: dict[str, int]
    state: bytes


_encoder = msgspec.msgpack.Encoder()
_wire = msgspec.msgpack.Decoder(_Wire)
_wires = msgspec.msgpack.Decoder(list[bytes])
_kept = msgspec.msgpack.Decoder(_Kept)


def dump(sent: Sent) -> bytes:
    """An entry as bytes."""
    entry = sent.entry
    if isinstance(entry, Moved):
        moved = (entry.token, entry.before, entry.stage, entry.since)
        return _encoder.encode(_Wire(sent.sender, sent.number, moved=moved))
    return _encoder.encode(
        _Wire(
            sent.sender,
            sent.number,
            entry.at,
            [part.dump() for part in entry.parts],
            (entry.pairs, entry.flips, entry.faults),
            dict(entry.heard),
            None,
            entry.counted,
        )
    )


def load(dumped: bytes) -> Sent:
    """What `dump` gave. Raises ValueError when it is nothing of the kind."""
    try:
        wire = _wire.decode(dumped)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not an entry of an evidence log: {error}") from error
    if wire.moved is not None:
        return Sent(wire.sender, wire.number, Moved(*wire.moved))
    parts = tuple(Increments.load(part) for part in wire.parts)
    return Sent(wire.sender, wire.number, Evidence(wire.at, parts, *wire.counts, wire.heard, wire.counted))


def dump_all(waiting: Sequence[Sent]) -> bytes:
    """Entries that wait, as bytes."""
    return _encoder.encode([dump(one) for one in waiting])


def load_all(dumped: bytes) -> list[Sent]:
    """What `dump_all` gave. Raises ValueError when it is nothing of the kind."""
    try:
        return [load(one) for one in _wires.decode(dumped)]
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not entries of an evidence log: {error}") from error


def dump_standing(standing: Standing) -> bytes:
    """A checkpoint as bytes."""
    return _encoder.encode(_Kept(standing.index, dict(standing.sent), dict(standing.heard), standing.state))


def load_standing(dumped: bytes) -> Standing:
    """What `dump_standing` gave. Raises ValueError when it is nothing of the kind."""
    try:
        kept = _kept.decode(dumped)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a checkpoint of an evidence log: {error}") from error
    return Standing(kept.index, kept.sent, kept.heard, kept.state)
