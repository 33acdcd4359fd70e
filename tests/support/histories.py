"""Events, chains and random histories that the tests of the audit chain share."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from audit import event as kinds
from audit.event import ORIGIN, Event, Record, seal

ENDPOINTS = ("rain", "wind")
REPLICAS = ("a", "b")


def chain(events: Sequence[Event]) -> list[Record]:
    """`events` as the records of a chain."""
    records: list[Record] = []
    previous = ORIGIN
    for number, one in enumerate(events, 1):
        records.append(seal(one, number, previous))
        previous = records[-1].hash
    return records


def endpoint(name: str, at: int, weight: int, replica: str = "a", **more: object) -> Event:
    """A change of an endpoint's state."""
    after = {"incumbent": "one", "candidate": "two", "weight": weight}
    return Event("stage.moved", kinds.ENDPOINT, name, at, after=after, replica=replica, **more)  # type: ignore[arg-type]


def tripped(name: str, at: int, kill: str, **more: object) -> Event:
    return Event(kinds.TRIPPED, "switch", name, at, after={"kill": kill}, **more)  # type: ignore[arg-type]


def rearmed(name: str, at: int, *cleared: str) -> Event:
    return Event(kinds.REARMED, "switch", name, at, after={"cleared": list(cleared)})


def some(count: int) -> list[Event]:
    """A history of `count` events, one a second."""
    return [endpoint(ENDPOINTS[number % 2], number * 1_000_000, number % 10_000) for number in range(count)]


def histories(most: int = 30, latest: int = 40) -> st.SearchStrategy[list[Event]]:
    """Random histories of two endpoints on two replicas, on a clock of few instants.

    Times run back and stand still, kills are late, cleared before they are known, or known twice, replicas
    stop and start again.
    """
    at = st.integers(0, latest)
    replica, name = st.sampled_from(REPLICAS), st.sampled_from(ENDPOINTS)
    kill = st.integers(0, 5).map("k{}".format)
    process = st.builds(
        lambda action, at, replica: Event(
            action, kinds.GATEWAY, "", at, replica=replica,
            after={"version": "1"} if action == kinds.STARTED else None,
        ),
        st.sampled_from([kinds.STARTED, kinds.STOPPED]), at, replica,
    )  # fmt: skip
    state = st.none() | st.integers(0, 3).map(lambda weight: {"weight": weight})
    moved = st.builds(
        lambda name, at, replica, state: Event(
            "stage.moved", kinds.ENDPOINT, name, at, replica=replica, after=state
        ),
        name, at, replica, state,
    )  # fmt: skip
    lineage = st.builds(
        lambda at, replica, state: Event(
            "lineage.changed", kinds.VERSION, "two", at, replica=replica, after=state
        ),
        at, replica, state,
    )  # fmt: skip
    # A kill belongs to one endpoint.
    trips = st.builds(lambda kill, at: tripped(_owner(kill), at, kill, late=True), kill, at)
    clears = st.builds(
        lambda name, at, ids: rearmed(name, at, *(one for one in sorted(ids) if _owner(one) == name)),
        name, at, st.sets(kill, min_size=1, max_size=4),
    )  # fmt: skip
    other = st.builds(lambda at: Event("gate.run", "gate", "rain", at, after={"verdict": "pass"}), at)
    return st.lists(process | moved | moved | lineage | trips | trips | clears | other, max_size=most)


def _owner(kill: str) -> str:
    return ENDPOINTS[int(kill[1:]) % 2]
