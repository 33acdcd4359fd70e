"""Records as columns: what Parquet files and record batches hold. Needs pyarrow; nothing else here does.

A value that is a number or a text has two columns, one of each, because a column has one type for everybody
who reads it: a feature stands in `features` or in `categories`, predictions in `predictions` or in `labels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from domain.routing import Arm
from monitoring.log.record import Mirrored, PredictionRecord, Value

_NUMBERS = pa.list_(pa.float64())
_TEXTS = pa.list_(pa.string())
_ARMS = {arm: arm.value for arm in Arm}

SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("endpoint", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("unit", pa.string()),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("status", pa.int32(), nullable=False),
        pa.field("latency", pa.float64(), nullable=False),
        pa.field("generation", pa.int64(), nullable=False),
        pa.field("configuration", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("drill", pa.string()),
        pa.field("features", pa.map_(pa.string(), pa.float64())),
        pa.field("categories", pa.map_(pa.string(), pa.string())),
        pa.field("predictions", _NUMBERS),
        pa.field("labels", _TEXTS),
        pa.field("confidence", pa.float64()),
        pa.field("cohorts", _TEXTS),
        pa.field("input_digest", pa.string()),
        pa.field("input", pa.binary()),
        pa.field("mirrored_version", pa.string()),
        pa.field("mirrored_status", pa.int32()),
        pa.field("mirrored_latency", pa.float64()),
        pa.field("mirrored_predictions", _NUMBERS),
        pa.field("mirrored_labels", _TEXTS),
        pa.field("mirrored_confidence", pa.float64()),
    ]
)
"""See docs/prediction-log.md."""


def batch(records: Sequence[PredictionRecord]) -> pa.RecordBatch:
    """A batch of SCHEMA with a row a record, in their order."""
    columns = dict(zip(PredictionRecord._fields, zip(*records, strict=True), strict=True)) if records else {}
    found: dict[str, Any] = {name: columns.get(name, ()) for name in SCHEMA.names}
    found["at"] = [round(at * 1e6) for at in found["at"]]
    found["unit"] = [f"{unit:016x}" if unit else None for unit in found["unit"]]
    found["arm"] = [_ARMS[arm] for arm in found["arm"]]
    for name in ("drill", "input_digest", "input"):
        found[name] = [value or None for value in found[name]]
    found["features"], found["categories"] = _maps(columns.get("features", ()))
    found["predictions"], found["labels"] = _split(columns.get("predictions", ()))
    mirrored: Sequence[Mirrored | None] = columns.get("mirrored", ())
    for name in ("version", "status", "latency", "confidence"):
        found[f"mirrored_{name}"] = [None if one is None else getattr(one, name) for one in mirrored]
    found["mirrored_predictions"], found["mirrored_labels"] = _split(
        [() if one is None else one.predictions for one in mirrored]
    )
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, field.type)
        for field, values in zip(SCHEMA, (found[name] for name in SCHEMA.names), strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def records(found: pa.RecordBatch | pa.Table) -> list[PredictionRecord]:
    """The records in rows of SCHEMA; the inverse of `batch`, to the microsecond."""
    return [_record(row) for row in found.to_pylist(maps_as_pydicts="lossy")]


def _record(row: dict[str, Any]) -> PredictionRecord:
    mirrored = None
    if row["mirrored_version"] is not None:
        mirrored = Mirrored(
            row["mirrored_version"], row["mirrored_status"], row["mirrored_latency"],
            _joined(row["mirrored_predictions"], row["mirrored_labels"]), row["mirrored_confidence"],
        )  # fmt: skip
    return PredictionRecord(
        row["request_id"], row["endpoint"], row["at"].timestamp(), int(row["unit"] or "0", 16),
        Arm(row["arm"]), row["version"], row["status"], row["latency"], row["generation"],
        row["configuration"], row["reason"], row["drill"] or "",
        {**(row["features"] or {}), **(row["categories"] or {})},
        _joined(row["predictions"], row["labels"]), row["confidence"], tuple(row["cohorts"] or ()),
        row["input_digest"] or "", row["input"] or b"", mirrored,
    )  # fmt: skip


def _maps(rows: Sequence[Mapping[str, Value]]) -> tuple[pa.Array, pa.Array]:
    """Of each row the entries that are numbers or nothing, and those that are texts."""
    numbers, texts = _Entries(), _Entries()
    for row in rows:
        if str in map(type, row.values()):
            for key, value in row.items():
                entries = texts if isinstance(value, str) else numbers
                entries.keys.append(key)
                entries.values.append(value)
        else:
            numbers.keys += row
            numbers.values += row.values()
        numbers.offsets.append(len(numbers.keys))
        texts.offsets.append(len(texts.keys))
    return numbers.array(pa.float64()), texts.array(pa.string())


class _Entries:
    """The entries of one map a row, flat."""

    def __init__(self) -> None:
        self.offsets = [0]
        self.keys: list[str] = []
        self.values: list[Value] = []

    def array(self, kind: pa.DataType) -> pa.Array:
        keys, values = pa.array(self.keys, pa.string()), pa.array(self.values, kind)
        return pa.MapArray.from_arrays(pa.array(self.offsets, pa.int32()), keys, values)


def _split(rows: Iterable[tuple[Value, ...]]) -> tuple[pa.Array, pa.Array]:
    """Numbers and labels: a row that has a text among its values is one of labels."""
    numbers: list[tuple[Value, ...] | None] = []
    labels: list[tuple[Value, ...] | None] = []
    for row in rows:
        named = str in map(type, row)
        labels.append(tuple(None if one is None else str(one) for one in row) if named else None)
        numbers.append(row if row and not named else None)
    return _list(numbers, _NUMBERS), _list(labels, _TEXTS)


def _list(rows: list[tuple[Value, ...] | None], kind: pa.DataType) -> pa.Array:
    flat = list(chain.from_iterable(row for row in rows if row is not None))
    offsets: list[int | None] = []
    at = 0
    for row in rows:
        offsets.append(None if row is None else at)
        at += 0 if row is None else len(row)
    return pa.ListArray.from_arrays(
        pa.array([*offsets, at], pa.int32()), pa.array(flat, kind.value_type), type=kind
    )


def _joined(numbers: list[float | None] | None, labels: list[str | None] | None) -> tuple[Value, ...]:
    if labels is not None:
        return tuple(labels)
    return () if numbers is None else tuple(numbers)
