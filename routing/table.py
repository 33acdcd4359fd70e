"""The routing table: a Snapshot compiled for the hot path.

Everything that the unit cannot change is decided once, here. A request costs at most the flag's closures and
one hash, and gets a Decision that was built beforehand. `tests/unit/routing/test_table.py` holds every route
equal to the pure table in `routing.decision`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from domain.routing import FULL_WEIGHT, Decision, Mode
from domain.snapshot import Endpoint, Snapshot
from routing.answers import Answers
from routing.context import NOTHING_KNOWN, FlagContext
from routing.decision import decide
from routing.exposure import NOT_EXPOSED, Exposure, compile_flags, placed
from routing.hashing import bucket

NO_UNIT_BUCKET = FULL_WEIGHT - 1
"""Where a request without a unit stands: it cannot stick to an arm, so it joins last, at full weight."""

_KNOWN_WITHOUT_HEADERS = frozenset({"remoteAddress", "currentTime"})


class Route:
    """One endpoint, ready to decide. `breaker_open` belongs to the worker; all else is fixed, but for
    `take_out`.

    Attributes:
        needs_context: whether the flag may ask for a field that a request to this endpoint can carry. Where
            it is false, `decide` may be given None.
    """

    __slots__ = (
        "_always",
        "_generation",
        "_inside",
        "_not_exposed",
        "_open",
        "_outside",
        "_release",
        "_rule",
        "_weight",
        "breaker_open",
        "endpoint",
        "needs_context",
    )

    def __init__(self, endpoint: Endpoint, exposure: Exposure | None, generation: int) -> None:
        """`exposure` of None exposes every unit."""

        def built(exposed: bool, place: int, breaker_open: bool = False) -> Decision:
            return decide(
                endpoint, exposed=exposed, bucket=place, generation=generation, breaker_open=breaker_open
            )

        self.endpoint = endpoint
        self._generation = generation
        self.breaker_open = False
        self._weight = endpoint.weight
        self._release = endpoint.release
        self._open = built(True, 0, breaker_open=True)
        self._not_exposed = built(False, 0)
        self._outside = built(True, FULL_WEIGHT)
        self._inside = built(True, 0)
        armed = endpoint.candidate is not None and not endpoint.tripped
        undecided = armed and endpoint.mode is not Mode.SHADOW
        self._always: Decision | None = None if undecided else self._outside
        # The rule itself, not the Exposure around it: one call less for every request.
        self._rule = None if exposure is None else exposure.rule
        fields = frozenset[str]() if exposure is None or not undecided else exposure.fields
        carried = _KNOWN_WITHOUT_HEADERS.union(field for field, _ in endpoint.context)
        self.needs_context = not fields.isdisjoint(carried - {"userId"})

    def __repr__(self) -> str:
        state = "breaker open" if self.breaker_open else str((self._always or self._inside).reason)
        return f"<Route {self.endpoint.path} {self.endpoint.name} {self._weight}/{FULL_WEIGHT} {state}>"

    def take_out(self) -> None:
        """From now on, what a snapshot says in which the candidate is out."""
        endpoint = replace(self.endpoint, tripped=True)
        self._always = decide(endpoint, exposed=True, bucket=FULL_WEIGHT, generation=self._generation)

    def decide(self, unit: str | None, context: FlagContext | None) -> Decision:
        """Where this request goes: one of the decisions built beforehand."""
        if self.breaker_open:
            return self._open
        if self._always is not None:
            return self._always
        rule = self._rule
        if rule is not None and not rule(unit, NOTHING_KNOWN if context is None else context):
            return self._not_exposed
        place = NO_UNIT_BUCKET if unit is None else bucket(self._release, unit)
        return self._inside if place < self._weight else self._outside


class RoutingTable:
    """Every route of one snapshot.

    Raises:
        ConfigError: a flag that an endpoint names does not compile. `routing.exposure.check` refuses such a
            document before it is published.
    """

    def __init__(self, snapshot: Snapshot, draw: Callable[[], float], answers: Answers | None = None) -> None:
        """`draw` gives uniform numbers in [0, 1), for rollouts that stick to nothing.

        `answers` are those of the worker, where `snapshot` looks units up; without them nobody is exposed.
        """
        named = {endpoint.flag for endpoint in snapshot.endpoints if endpoint.flag is not None}
        looks_up = snapshot.lookup is not None
        exposures = compile_flags(snapshot.flags, draw, named) if named and not looks_up else {}
        if answers is not None:
            answers.follow(snapshot.lookup)
        self.generation = snapshot.generation
        self.by_path: dict[bytes, Route] = {}
        self.by_name: dict[str, Route] = {}
        for endpoint in snapshot.endpoints:
            exposure: Exposure | None = None
            if endpoint.flag is not None and looks_up:
                exposure = _looked_up(endpoint, endpoint.flag, answers)
            elif endpoint.flag is not None:
                found = exposures.get(endpoint.flag, NOT_EXPOSED)
                exposure = placed(found, snapshot.environment, snapshot.app_name)
            route = Route(endpoint, exposure, snapshot.generation)
            self.by_path[endpoint.path.encode()] = route
            self.by_name[endpoint.name] = route

    def __repr__(self) -> str:
        return f"<RoutingTable generation {self.generation}: {', '.join(map(repr, self.by_name.values()))}>"


def _looked_up(endpoint: Endpoint, flag: str, answers: Answers | None) -> Exposure:
    if answers is None:
        return NOT_EXPOSED
    names = [field for field, _ in endpoint.context]
    return Exposure(answers.rule(flag, names), frozenset({"userId", *names}))
