"""One suite for every implementation of `domain.ports.StateStore`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from domain.errors import StateUnavailable
from domain.kill import Clearance, Kill
from domain.ports import StateStore
from killswitch.stores.database import DatabaseStore
from tests.support.databases import PostgresProcess


class Memory:
    """What outlives a `MemoryStore`, as a file outlives a process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kills: dict[str, Kill] = {}
        self.clearances: dict[Clearance, None] = {}
        self.next = 1
        self.states: dict[str, bytes] = {}
        self.sequences: dict[str, int] = {}


class MemoryStore:
    """The port in its simplest form: the reference that the others are held to."""

    def __init__(self, memory: Memory) -> None:
        self._held: Memory | None = memory

    def kills(self) -> tuple[Kill, ...]:
        return tuple(self._memory.kills.values())

    def clearances(self) -> tuple[Clearance, ...]:
        return tuple(self._memory.clearances)

    def add_kill(self, kill: Kill) -> None:
        self._memory.kills.setdefault(kill.id, kill)

    def add_clearance(self, clearance: Clearance) -> None:
        self._memory.clearances.setdefault(clearance)

    def reserve_generations(self, count: int) -> int:
        if count < 1:
            raise ValueError(f"count {count!r} must be 1 or more")
        memory = self._memory
        with memory.lock:
            first = memory.next
            memory.next += count
        return first

    def checkpoint(self, states: Mapping[str, bytes], sequences: Mapping[str, int]) -> None:
        with self._memory.lock:
            self._memory.states.update(states)
            self._memory.sequences.update(sequences)

    def states(self) -> dict[str, bytes]:
        return dict(self._memory.states)

    def sequences(self) -> dict[str, int]:
        return dict(self._memory.sequences)

    def close(self) -> None:
        self._held = None

    @property
    def _memory(self) -> Memory:
        if self._held is None:
            raise StateUnavailable("closed")
        return self._held


Opener = Callable[[], StateStore]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same durable state again, as a restarted process does."""
    memory = Memory()
    url = f"sqlite:///{tmp_path / 'var' / 'pointsman.db'}"
    if request.param == "postgresql":
        server: PostgresProcess = request.getfixturevalue("postgres_server")
        url = server.fresh()
    opened: list[StateStore] = []

    def open_once_more() -> StateStore:
        store: StateStore
        if request.param == "memory":
            store = MemoryStore(memory)
        else:
            store = DatabaseStore.open(url)
        opened.append(store)
        return store

    yield open_once_more
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Opener) -> StateStore:
    return reopen()


def kill(number: int, reason: str = "flips 23 %") -> Kill:
    return Kill(f"kill-{number}", "rain", "guard:flips", reason, 1763776800.123456 + number, "rain-2")


def clearance(*numbers: int, actor: str = "ada") -> Clearance:
    ids = frozenset(f"kill-{number}" for number in numbers)
    return Clearance("rain", ids, actor, "model fixed", 1763776801.654321)


def test_a_new_store_is_empty(store: StateStore) -> None:
    assert store.kills() == ()
    assert store.clearances() == ()
    assert store.states() == {}
    assert store.sequences() == {}


def test_kills_and_clearances_come_back_as_they_were_in_the_order_they_came(reopen: Opener) -> None:
    store = reopen()
    kills = (kill(3), kill(1), kill(2, "Überschreitung: 漢字 🚦\nzwei Zeilen\x00NUL"))
    for one in kills:
        store.add_kill(one)
    clearances = (clearance(1, 3), clearance(2), clearance(2, actor="grace"))
    for other in clearances:
        store.add_clearance(other)
    store.close()
    again = reopen()
    assert again.kills() == kills
    assert again.clearances() == clearances


def test_adding_again_changes_nothing(store: StateStore) -> None:
    store.add_kill(kill(1))
    store.add_kill(kill(1))
    store.add_kill(kill(1, reason="rewritten history"))
    assert store.kills() == (kill(1),)
    store.add_clearance(clearance(1))
    store.add_clearance(clearance(1))
    assert store.clearances() == (clearance(1),)


def test_every_spelling_of_a_name_comes_back(store: StateStore) -> None:
    spellings = (
        "",
        "\\",
        "\\0",
        "\x00",
        "\\\x00\\",
        "a\\\\0b",
        "%s $1 ?",
        "\u202e'\"; DROP TABLE kills; --",
    )
    for number, spelling in enumerate(spellings):
        store.add_kill(Kill(f"{number}{spelling}", spelling, spelling, spelling, 1.0, spelling))
        store.add_clearance(Clearance(spelling, frozenset({spelling, "x"}), spelling, spelling, 1.0))
    for one, spelling in zip(store.kills(), spellings, strict=True):
        assert (one.endpoint, one.actor, one.reason, one.version) == (spelling,) * 4
        assert one.id.endswith(spelling)
    for other, spelling in zip(store.clearances(), spellings, strict=True):
        assert other == Clearance(spelling, frozenset({spelling, "x"}), spelling, spelling, 1.0)


def test_a_long_reason_is_kept_whole(store: StateStore) -> None:
    reason = "because " * 20_000
    store.add_kill(kill(1, reason))
    store.add_clearance(Clearance("rain", frozenset({"kill-1"}), "ada", reason, 1.0))
    store.add_clearance(Clearance("rain", frozenset({"kill-1"}), "ada", reason, 1.0))
    assert store.kills()[0].reason == reason
    assert [one.reason for one in store.clearances()] == [reason]


def test_generations_are_never_handed_out_twice(reopen: Opener) -> None:
    handed_out: list[int] = []
    for _ in range(3):
        store = reopen()
        for count in (1, 100, 7):
            first = store.reserve_generations(count)
            handed_out.extend(range(first, first + count))
        store.close()
    assert handed_out == sorted(set(handed_out))
    assert handed_out[0] >= 1


@pytest.mark.parametrize("count", [0, -5])
def test_no_generations_cannot_be_reserved(store: StateStore, count: int) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        store.reserve_generations(count)
    assert store.reserve_generations(1) == 1


def test_a_checkpoint_replaces_what_it_names_and_keeps_the_rest(reopen: Opener) -> None:
    store = reopen()
    store.checkpoint({"rain": b"\x00\xff", "wind": b""}, {"worker-0": 1, "worker-1": 2**53})
    store.checkpoint({"rain": b"newer"}, {"worker-0": 9})
    store.checkpoint({}, {})
    store.close()
    again = reopen()
    assert again.states() == {"rain": b"newer", "wind": b""}
    assert again.sequences() == {"worker-0": 9, "worker-1": 2**53}


def test_threads_take_turns(store: StateStore) -> None:
    firsts: list[int] = []
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(10):
                store.add_kill(kill(100 * worker + number))
                firsts.append(store.reserve_generations(5))
                store.checkpoint({"rain": bytes([worker])}, {f"worker-{worker}": number})
                store.kills()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(firsts) == list(range(1, 201, 5))
    assert len(store.kills()) == 40
    assert store.sequences() == {f"worker-{worker}": 9 for worker in range(4)}


def test_a_closed_store_is_unavailable(store: StateStore) -> None:
    store.close()
    store.close()
    for call in (store.kills, store.clearances, store.states, store.sequences):
        with pytest.raises(StateUnavailable):
            call()
    with pytest.raises(StateUnavailable):
        store.add_kill(kill(1))
    with pytest.raises(StateUnavailable):
        store.reserve_generations(1)
