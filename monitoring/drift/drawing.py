"""What drift sees of the prediction log: a bounded, fair part of its records.

Records come by the ten thousand a second, and a distribution is known from some hundreds. So between two
looks at most MOST_ROWS of an endpoint's are kept, spread evenly over them: every one at first, and whenever
there are too many, every other one of those, and of what follows. Which ones depends on their order alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain.routing import Arm
from monitoring.log.record import PredictionRecord, Value

MOST_ROWS = 512
"""Of one endpoint, between two looks."""
MOST_VALUES = 2**15
"""Values of all rows of one endpoint, between two looks."""
MOST_ENDPOINTS = 256
LONGEST_TEXT = 100


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """One request that was answered.

    Attributes:
        at: seconds since 1970, when it came; `latency` in seconds.
        unit: as in the record; 0 for none.
        features: of its first row.
        told: whether the incumbent answered it, be it unseen by the client.
        prediction, confidence: what the incumbent said of the first row.
        cohorts: a value for each configured cohort, in order.
    """

    at: float
    unit: int
    latency: float
    features: dict[str, Value]
    told: bool
    prediction: Value
    confidence: float | None
    cohorts: tuple[str | None, ...]


class Drawn(msgspec.Struct, frozen=True, array_like=True):
    """What was drawn of one endpoint, and of how many records."""

    endpoint: str
    records: int
    rows: list[Seen]


class _Part:
    """The part of one endpoint."""

    def __init__(self) -> None:
        self.records = 0
        self.stride = 1
        self.rows: list[Seen] = []
        self.values = 0

    def take(self, record: PredictionRecord) -> None:
        if self.records % self.stride == 0:
            row = seen(record)
            self.rows.append(row)
            self.values += _size(row)
            while len(self.rows) > MOST_ROWS or (self.values > MOST_VALUES and len(self.rows) > 1):
                self.stride *= 2
                self.rows = self.rows[::2]
                self.values = sum(map(_size, self.rows))
        self.records += 1


class Draw:
    """Draws from records as they are written. A drill's are left out: they were made to be wrong."""

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}

    def take(self, records: Iterable[PredictionRecord]) -> None:
        """Records, in the order in which they were written."""
        for record in records:
            if record.drill:
                continue
            part = self._parts.get(record.endpoint)
            if part is None:
                if len(self._parts) >= MOST_ENDPOINTS:
                    continue
                part = self._parts[record.endpoint] = _Part()
            part.take(record)

    def drawn(self) -> list[Drawn]:
        """What was drawn since this was last asked."""
        parts, self._parts = self._parts, {}
        return [Drawn(name, part.records, part.rows) for name, part in parts.items()]


def encode(drawn: list[Drawn]) -> bytes:
    """For `decode`, on the other side of a socket."""
    return msgspec.msgpack.encode(drawn)


def decode(data: bytes) -> list[Drawn]:
    """Raises msgspec.DecodeError for anything else."""
    return msgspec.msgpack.decode(data, type=list[Drawn])


def seen(record: PredictionRecord) -> Seen:
    """What drift needs to know of `record`."""
    mirrored = record.mirrored
    if record.arm is Arm.INCUMBENT:
        told, predictions, confidence = _fine(record.status), record.predictions, record.confidence
    elif mirrored is not None:
        told, predictions, confidence = _fine(mirrored.status), mirrored.predictions, mirrored.confidence
    else:
        told, predictions, confidence = False, (), None
    return Seen(
        record.at, record.unit, record.latency,
        {name: _short(value) for name, value in record.features.items()},
        told, _short(predictions[0]) if predictions else None, confidence, record.cohorts,
    )  # fmt: skip


def _fine(status: int) -> bool:
    return 200 <= status < 300


def _short(value: Value) -> Value:
    return value[:LONGEST_TEXT] if isinstance(value, str) else value


def _size(row: Seen) -> int:
    return 6 + len(row.features) + len(row.cohorts)
