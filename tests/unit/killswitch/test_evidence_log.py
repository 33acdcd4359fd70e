"""The evidence log: every replica holds the same evidence, and nothing counts twice, whatever goes wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch import evidence_log
from killswitch.evidence_log import Apply, Evidence, LogCopy, Moved, Sent, Standing
from killswitch.increments import Increments


def evidence(number: int) -> Evidence:
    """One batch that can be told from all others by the bucket it counts in."""
    return Evidence(float(number), (Increments(latencies={number: 1}),), 1, heard={f"s{number}": 1})


@dataclass(frozen=True)
class MemoryLog:
    """What the scripts do, as values."""

    epoch: str | None = None
    entries: tuple[Sent, ...] = ()
    sent: tuple[tuple[str, int], ...] = ()
    checkpoint: Standing | None = None

    def append(self, epoch: str, sent: Sent) -> tuple[MemoryLog, str, int]:
        known = dict(self.sent)
        have = known.get(sent.sender, 0)
        if epoch != self.epoch:
            return self, "epoch", 0
        if sent.number <= have:
            return self, "known", have
        if sent.number > have + 1:
            return self, "gap", have
        known[sent.sender] = sent.number
        entries = (*self.entries, sent)
        return replace(self, entries=entries, sent=tuple(known.items())), "ok", len(entries)


@dataclass
class Replica:
    name: str
    lives: int = 1
    copy: LogCopy = field(init=False)
    counted: Counter[int] = field(default_factory=Counter)
    heard_of: int = 0

    def __post_init__(self) -> None:
        self.copy = LogCopy(f"{self.name}1")

    def apply(self, todo: list[Apply]) -> None:
        for one in todo:
            assert isinstance(one.entry, Evidence)
            for part in one.entry.parts:
                self.counted.update(part.latencies)

    def state(self) -> bytes:
        return repr(sorted(self.counted.items())).encode()

    def load(self, state: bytes) -> None:
        self.counted = Counter(dict(eval(state)))

    def restart(self) -> None:
        """What is kept on disk is all that is left."""
        copy, self.lives = self.copy, self.lives + 1
        waiting = evidence_log.load_all(evidence_log.dump_all(copy.waiting))
        self.copy = LogCopy(f"{self.name}{self.lives}")
        self.apply(self.copy.inherit(copy.sent, copy.heard, waiting))


@dataclass
class World:
    replicas: list[Replica] = field(default_factory=lambda: [Replica("a"), Replica("b"), Replica("c")])
    log: MemoryLog = field(default_factory=MemoryLog)
    saved: MemoryLog = field(default_factory=MemoryLog)
    epochs: int = 0
    offered: int = 0

    def offer(self, replica: Replica) -> None:
        self.offered += 1
        replica.apply(replica.copy.offer(evidence(self.offered)))

    def send(self, replica: Replica, answered: bool) -> None:
        copy = replica.copy
        sent, epoch = copy.next, copy.epoch
        if sent is None or epoch is None:
            return
        self.log, answer, index = self.log.append(epoch, sent)
        if not answered:
            replica.apply(copy.part())
        elif answer in ("epoch", "gap"):
            replica.apply(copy.lost())
        else:
            copy.taken(sent)
            if answer == "ok" and index == copy.index + 1:
                replica.apply(copy.shown(epoch, index, sent, self.before(index)) or [])

    def before(self, index: int) -> tuple[str, int] | None:
        """Who sent the entry before the one at `index`, as which of its own."""
        return _name(self.log.entries[index - 2]) if index > 1 else None

    def message(self, replica: Replica, which: int) -> None:
        if self.log.entries and self.log.epoch is not None:
            at = which % len(self.log.entries)
            todo = replica.copy.shown(self.log.epoch, at + 1, self.log.entries[at], self.before(at + 1))
            replica.apply(todo or [])

    def look(self, replica: Replica, leads: bool) -> None:
        copy, log = replica.copy, self.log
        index = len(log.entries)
        last = (log.entries[-1].sender, log.entries[-1].number) if log.entries else None
        if log.epoch is None or (log.epoch == copy.epoch and copy.differs(index, last)):
            if leads:
                self.open(replica)
            elif log.epoch is None:
                replica.apply(copy.lost())
            else:
                self.join(replica)
        elif not copy.following or log.epoch != copy.epoch:
            self.join(replica)
        else:
            at = copy.index
            same = copy.last is None or at == 0 or _name(log.entries[at - 1]) == copy.last
            if not same or not self.catch_up(replica):
                self.join(replica)
            else:
                copy.read_to_its_end()

    def open(self, replica: Replica) -> None:
        self.epochs += 1
        replica.apply(replica.copy.part())
        now = replica.copy.standing(replica.state())
        standing = Standing(0, now.sent, now.heard, now.state)
        self.log = MemoryLog(f"e{self.epochs}", (), tuple(now.sent.items()), standing)
        self.join(replica)

    def join(self, replica: Replica) -> None:
        standing, epoch = self.log.checkpoint, self.log.epoch
        assert standing is not None
        assert epoch is not None
        dumped = evidence_log.dump_standing(standing)
        standing = evidence_log.load_standing(dumped)
        replica.load(standing.state)
        replica.copy.joined(epoch, standing)
        if self.catch_up(replica):
            replica.copy.renumber()
        else:
            replica.apply(replica.copy.lost())

    def catch_up(self, replica: Replica) -> bool:
        copy, epoch = replica.copy, self.log.epoch
        assert epoch is not None
        for index, sent in enumerate(self.log.entries[copy.index :], copy.index + 1):
            todo = copy.shown(epoch, index, evidence_log.load(evidence_log.dump(sent)), self.before(index))
            if todo is None:
                return False
            replica.apply(todo)
        return True

    def checkpoint(self, replica: Replica) -> None:
        copy, log = replica.copy, self.log
        if copy.following and copy.epoch == log.epoch and copy.index <= len(log.entries):
            self.log = replace(log, checkpoint=copy.standing(replica.state()))

    def do(self, step: tuple[str, int, int]) -> None:
        what, who, which = step
        replica = self.replicas[who]
        if what == "offer":
            self.offer(replica)
        elif what == "flow":
            self.offer(replica)
            self.send(replica, answered=True)
        elif what == "look round":
            for at, one in enumerate(self.replicas):
                self.look(one, leads=at == 0)
        elif what == "send":
            self.send(replica, answered=which != 0)
        elif what == "message":
            self.message(replica, which)
        elif what == "look":
            self.look(replica, leads=who == 0)
        elif what == "alone":
            replica.apply(replica.copy.part())
        elif what == "checkpoint" and who == 0:
            self.checkpoint(replica)
        elif what == "restart":
            replica.restart()
        elif what == "save":
            self.saved = self.log
        elif what == "roll back":
            self.log = self.saved
        elif what == "lose all":
            self.log = MemoryLog()

    def heal(self) -> None:
        for _ in range(6):
            for at, replica in enumerate(self.replicas):
                self.look(replica, leads=at == 0)
                while replica.copy.next is not None:
                    self.send(replica, answered=True)
                    if not replica.copy.following:
                        break


def _name(sent: Sent) -> tuple[str, int]:
    return sent.sender, sent.number


def steps(*faults: str) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    often = ["flow", "flow", "flow", "offer", "send", "look", "look round", "message", "checkpoint"]
    what = st.one_of(st.sampled_from(often), st.sampled_from([*often, "alone", *faults]))
    return st.lists(st.tuples(what, st.integers(0, 2), st.integers(0, 9)), min_size=5, max_size=60)


def healed(history: list[tuple[str, int, int]]) -> World:
    world = World()
    world.heal()
    for step in history:
        world.do(step)
        for replica in world.replicas:
            assert all(count == 1 for count in replica.counted.values()), "something counts twice"
    world.heal()
    first = world.replicas[0]
    for replica in world.replicas:
        assert replica.copy.following
        assert not replica.copy.waiting
        assert replica.counted == first.counted
        assert replica.copy.sent == first.copy.sent
        assert replica.copy.heard == first.copy.heard
    return world


@settings(deadline=None, max_examples=400)
@given(steps("restart"))
def test_every_batch_counts_exactly_once_everywhere_whoever_is_cut_off_or_restarted(
    history: list[tuple[str, int, int]],
) -> None:
    world = healed(history)
    assert world.replicas[0].counted == Counter(range(1, world.offered + 1))


@settings(deadline=None, max_examples=400)
@given(steps("save", "roll back", "lose all"))
def test_every_batch_counts_exactly_once_everywhere_though_the_log_loses_entries(
    history: list[tuple[str, int, int]],
) -> None:
    world = healed(history)
    assert world.replicas[0].counted == Counter(range(1, world.offered + 1))


@settings(deadline=None, max_examples=300)
@given(steps("restart", "save", "roll back", "lose all"))
def test_nothing_counts_twice_though_replicas_and_the_log_forget_together(
    history: list[tuple[str, int, int]],
) -> None:
    world = healed(history)
    assert world.replicas[0].counted <= Counter(range(1, world.offered + 1))


def test_a_long_time_alone_takes_no_more_room_than_a_short_one() -> None:
    world = World()
    world.look(world.replicas[0], leads=True)
    alone = world.replicas[1]
    for _ in range(500):
        world.offer(alone)
    assert len(alone.copy.waiting) <= evidence_log.MOST_WAITING
    world.heal()
    assert world.replicas[0].counted == Counter(range(1, 501))


def test_a_sender_that_remembers_too_little_goes_on_under_another_name() -> None:
    copy = LogCopy("a")
    copy.inherit({"a": 300}, {}, [Sent("a", 301, evidence(1)), Sent("a", 302, evidence(2))])
    copy.joined("e", Standing(0, {"a": 5}, {}, b""))
    copy.renumber()
    assert [(one.sender, one.number) for one in copy.waiting] == [("a.1", 1), ("a.1", 2)]


@pytest.mark.parametrize("entry", [evidence(7), Moved(3, 0, 1, 12.5)])
def test_entries_travel(entry: Evidence | Moved) -> None:
    sent = Sent("a", 4, entry)
    assert evidence_log.load(evidence_log.dump(sent)) == sent


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"{}", b"\x93\xa1a\x01\xa1b"])
def test_garbage_is_refused(garbage: bytes) -> None:
    for read in (evidence_log.load, evidence_log.load_all, evidence_log.load_standing):
        if read is evidence_log.load_all and garbage == b"\x93\xa1a\x01\xa1b":
            continue
        with pytest.raises(ValueError, match="not"):
            read(garbage)


def test_a_log_that_lost_entries_and_has_grown_to_the_same_length_is_noticed() -> None:
    world = World()
    world.heal()
    first, second, third = world.replicas
    world.saved = world.log
    world.offer(second)
    world.send(second, answered=True)
    world.log = world.saved
    world.offer(third)
    world.send(third, answered=True)
    assert (second.copy.index, second.copy.last) == (1, ("b1", 1))
    assert second.copy.differs(1, ("c1", 1))
    world.heal()
    assert first.counted == second.counted == third.counted == Counter([1, 2])
