"""Joining the observations of one request, in bounds.

The problem: a candidate that hangs, floods or dies must cost the gateway a bounded amount of memory and
the client nothing. The guarantee: at most `max_in_flight` pairs are open and at most `max_bytes` of bodies
are held for them per endpoint and worker; what does not fit is dropped and counted, never queued. Each open
pair ends, because each of its sides ends by the endpoint's timeout.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol, TypeVar

from domain.members import INCUMBENT
from domain.observation import Observation, Outcome, Pair
from domain.routing import Arm
from domain.snapshot import ShadowLimits

try:
    from shadow import _mirrored
except ImportError:  # as everywhere but in an accelerated worker
    _mirrored = None  # type: ignore[assignment]

T = TypeVar("T")


class _New(Protocol):
    def __call__(self, form: type[T], values: tuple[object, ...], /) -> T: ...


_new: Final[_New] = tuple.__new__ if _mirrored is None else _mirrored.named
"""A named tuple, made as tuples are: its own constructor takes twice the time."""


class Budget:
    """What one endpoint's open pairs hold in this worker. `limits` and `most_bytes` are set by `bound`."""

    __slots__ = ("_most_pairs", "held", "limits", "most_bytes", "pairs")

    def __init__(self, limits: ShadowLimits) -> None:
        self.bound(limits)
        self.pairs = 0
        self.held = 0

    def bound(self, limits: ShadowLimits) -> None:
        """From now on `limits` hold."""
        self.limits = limits
        self._most_pairs = limits.max_in_flight
        self.most_bytes = limits.max_bytes

    def open(self, size: int) -> bool:
        """Room for one more pair whose request is `size` bytes? Then it is taken."""
        if self.pairs >= self._most_pairs or self.held + size > self.most_bytes:
            return False
        self.pairs += 1
        self.held += size
        return True

    def hold(self, size: int) -> bool:
        """Room for `size` more bytes? Then they are taken."""
        if self.held + size > self.most_bytes:
            return False
        self.held += size
        return True

    def release(self, size: int) -> None:
        """`size` bytes are not held any more."""
        self.held -= size

    def close(self, size: int) -> None:
        """A pair that held `size` bytes ended."""
        self.pairs -= 1
        self.held -= size


FLOOD_FACTOR = 8
"""A candidate's mirrored answer so many times the incumbent's length is not read to its end …"""
FLOOD_FLOOR = 64 * 1024
"""… unless it has at most so many bytes."""


class Capture:
    """One side's body as it passes, kept until it is over `limit` bytes or the budget."""

    __slots__ = ("_pieces", "held", "overflowed", "pending")

    def __init__(self, pending: PendingPair) -> None:
        self.pending = pending
        self.overflowed = False
        self.held = 0
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> bool:
        """Keep `piece`; False once the body does not fit, and nothing of it is kept then."""
        if self.overflowed:
            return False
        size = len(piece)
        if self.held + size > self.pending.limit or not self.pending.hold(size):
            self.overflowed = True
            self._pieces.clear()
            return False
        self.held += size
        self._pieces.append(piece)
        return True

    def body(self) -> bytes:
        """The whole body, or nothing when it overflowed."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class Asked(NamedTuple):
    """What was asked: the first fields of a Pair."""

    request_id: str
    endpoint: str
    unit: int
    generation: int
    served: Arm
    at: float


class Kept(NamedTuple):
    """What is kept of the request: the last fields of a Pair."""

    request: bytes = b""
    request_media: str = ""
    cohorts: tuple[str | None, ...] = ()


NOTHING_KEPT = Kept()
_ASKED: Final = Asked
_OBSERVATION: Final = Observation
_PAIR: Final = Pair


def asked(request_id: str, endpoint: str, unit: int, generation: int, served: Arm, at: float) -> Asked:
    """An Asked."""
    return _new(_ASKED, (request_id, endpoint, unit, generation, served, at))


def observed(
    version: str, outcome: Outcome, status: int, latency: float, body: bytes, media: str
) -> Observation:
    """An Observation."""
    return _new(_OBSERVATION, (version, outcome, status, latency, body, media))


class Recorded(Protocol):
    """Whatever waits for a pair to be whole."""

    def paired(self, pending: PendingPair) -> None:
        """Both arms of `pending` have ended."""
        ...


class PendingPair:
    """A mirrored request of which at least one side has not ended.

    `limit` bounds one side's body in bytes; `size` is what the request itself holds; with `repeats` the
    incumbent is asked a second time, and the pair waits for that too. `record` is told when it is whole.
    """

    __slots__ = (
        "_asked", "_budget", "_candidate", "_held", "_incumbent", "_repeat", "kept", "limit",
        "record", "repeats",
    )  # fmt: skip

    def __init__(
        self, budget: Budget, size: int, limit: int, asked: Asked, kept: Kept = NOTHING_KEPT,
        *, repeats: bool = False,
    ) -> None:  # fmt: skip
        self._budget = budget
        self._held = size
        self._asked = asked
        self._incumbent: Observation | None = None
        self._candidate: Observation | None = None
        self._repeat: Observation | None = None
        self.kept = kept
        self.limit = limit
        self.record: Recorded | None = None
        self.repeats = repeats

    def hold(self, size: int) -> bool:
        """Take `size` more bytes of the budget for this pair, if they are there."""
        if not self._budget.hold(size):
            return False
        self._held += size
        return True

    def keeps(self, body: bytes) -> bool:
        """Whether an answer's whole `body` has room in this pair; then it is taken."""
        size = len(body)
        budget = self._budget
        if size > self.limit or budget.held + size > budget.most_bytes:  # as `hold`, without a call
            return False
        budget.held += size
        self._held += size
        return True

    def floods(self, arm: Arm, size: int) -> bool:
        """Whether `size` bytes from the candidate are far too many, seen against the incumbent's answer.

        Reading a flood to its end would cost clients the time of the worker, to learn what is known already:
        the predictions differ.
        """
        if size <= FLOOD_FLOOR or arm is INCUMBENT or self._incumbent is None or not self._incumbent.ok:
            return False
        return size > FLOOD_FACTOR * len(self._incumbent.body)

    def serve(self, arm: Arm) -> None:
        """It is `arm` after all whose answer the client got. Before the pair is whole."""
        self._asked = self._asked._replace(served=arm)

    def seen(self, arm: Arm) -> Observation | None:
        """What was observed of `arm`; None while it has not ended."""
        return self._incumbent if arm is INCUMBENT else self._candidate

    def observe(self, arm: Arm, observation: Observation) -> Pair | None:
        """One side ended; the Pair once all have. An arm's first observation stands."""
        if arm is INCUMBENT:
            if self._incumbent is not None:
                return None
            self._incumbent = observation
            return None if self._candidate is None else self._whole()
        if self._candidate is not None:
            return None
        self._candidate = observation
        return None if self._incumbent is None else self._whole()

    def repeated(self, observation: Observation) -> Pair | None:
        """The incumbent's second answer came, or failed; the Pair when it was what was missing."""
        if self._repeat is not None:
            return None
        self._repeat = observation
        return self._whole()

    def _whole(self) -> Pair | None:
        incumbent, candidate, repeat = self._incumbent, self._candidate, self._repeat
        if incumbent is None or candidate is None or (self.repeats and repeat is None):
            return None
        self._budget.close(self._held)
        # As tuples of anything: compiled, those of known length are taken apart and made anew at each step.
        asked: tuple[object, ...] = self._asked
        sides: tuple[object, ...] = (incumbent, candidate, repeat)
        kept: tuple[object, ...] = self.kept
        return _new(_PAIR, asked + sides + kept)
