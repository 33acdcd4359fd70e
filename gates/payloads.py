"""Rows of named features as request bodies, in the words of each payload protocol.

| protocol | a batch of rows |
|---|---|
| v2 | one matrix tensor, or one tensor a feature, as the model's metadata ask for |
| mlflow | `dataframe_split` with the columns' names |
| tfserving | `instances`, one array a row |
| seldon | `data.ndarray` with the columns' names |
| json | one object of the features by name; a batch is an array of them |

Sources: Open Inference Protocol, "Inference Request JSON Object"; MLflow, "Accepted Input Formats";
TensorFlow Serving, "RESTful API"; Seldon Core 1, "SeldonMessage".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from domain.errors import GateError

TENSOR = "features"
"""What the one tensor is called where a model says nothing of its inputs."""

Value = bool | int | float | str | None
Row = Sequence[Value]

_FLOATS = ("FP64", "FP32", "FP16", "BF16")


@dataclass(frozen=True, slots=True)
class Input:
    """One input tensor as V2 metadata describe it; a negative size in `shape` is any."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def inputs_of(metadata: object) -> tuple[Input, ...]:
    """The inputs that V2 model metadata name; empty when they name none. Raises GateError."""
    listed = metadata.get("inputs") if isinstance(metadata, dict) else None
    found: list[Input] = []
    for at, one in enumerate(listed if isinstance(listed, list) else []):
        name = one.get("name") if isinstance(one, dict) else None
        datatype = one.get("datatype") if isinstance(one, dict) else None
        shape = one.get("shape") if isinstance(one, dict) else None
        sizes = shape if isinstance(shape, list) and all(type(size) is int for size in shape) else None
        if not isinstance(name, str) or not isinstance(datatype, str) or sizes is None:
            raise GateError(f"the model's metadata describe input {at} without name, datatype and shape")
        found.append(Input(name, datatype, tuple(sizes)))
    return tuple(found)


def bodies(
    protocol: str, names: Sequence[str], rows: Sequence[Row], batch: int, inputs: Sequence[Input] = ()
) -> list[bytes]:
    """Request bodies with up to `batch` rows each, in order. Raises GateError where they cannot be written.

    `inputs` is what a V2 model asks for; without, all features are one tensor.
    """
    if protocol == "v2":
        write = _v2(names, inputs)
    else:
        if protocol not in _WRITERS:
            raise GateError(f"requests of protocol {protocol} cannot be made of columns: give whole requests")
        writer = _WRITERS[protocol]

        def write(part: Sequence[Row]) -> object:
            return writer(names, part)

    return [orjson.dumps(write(rows[at : at + batch])) for at in range(0, len(rows), batch)]


def example(inputs: Sequence[Input]) -> bytes:
    """A V2 request with one row of zeros (or empty texts) for each input."""
    tensors: list[dict[str, object]] = []
    for one in inputs:
        shape = [size if size > 0 else 1 for size in one.shape]
        count = 1
        for size in shape:
            count *= size
        if count > 1_000_000:
            raise GateError(f"input {one.name!r} asks for {count} values a row")
        empty: Value = "" if one.datatype == "BYTES" else False if one.datatype == "BOOL" else 0
        data = [empty] * count
        tensors.append({"name": one.name, "datatype": one.datatype, "shape": shape, "data": data})
    return orjson.dumps({"inputs": tensors})


def _v2(names: Sequence[str], inputs: Sequence[Input]) -> Callable[[Sequence[Row]], object]:
    if len(inputs) > 1:
        return _columns(names, inputs)
    tensor = inputs[0] if inputs else Input(TENSOR, "FP64", (-1, len(names)))
    width = tensor.shape[-1] if len(tensor.shape) > 1 else 1
    if width not in (-1, len(names)):
        raise GateError(
            f"the model's input {tensor.name!r} takes {width} features; {len(names)} columns are sent "
            f"({', '.join(names[:20])}): name them with gates.evaluation.features"
        )

    def write(part: Sequence[Row]) -> object:
        data = [_fit(tensor, name, value) for row in part for name, value in zip(names, row, strict=True)]
        shape = [len(part), len(names)] if len(tensor.shape) > 1 or not inputs else [len(part)]
        return {"inputs": [_tensor(tensor, shape, data)]}

    return write


def _columns(names: Sequence[str], inputs: Sequence[Input]) -> Callable[[Sequence[Row]], object]:
    place = {name: at for at, name in enumerate(names)}
    missing = [one.name for one in inputs if one.name not in place]
    if missing or len(names) != len(inputs):
        asked, there = ", ".join(one.name for one in inputs[:20]), ", ".join(names[:20])
        raise GateError(f"the model takes {asked}; the columns sent are {there}")

    def write(part: Sequence[Row]) -> object:
        tensors = []
        for one in inputs:
            data = [_fit(one, one.name, row[place[one.name]]) for row in part]
            tensors.append(_tensor(one, [len(part), *[1] * (len(one.shape) - 1)], data))
        return {"inputs": tensors}

    return write


def _tensor(tensor: Input, shape: list[int], data: list[Value]) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": data}


def _fit(tensor: Input, column: str, value: Value) -> Value:
    """The value as the tensor's datatype has it. Raises GateError."""
    if tensor.datatype == "BYTES":
        return "" if value is None else str(value)
    if isinstance(value, int | float):
        return float(value) if tensor.datatype in _FLOATS else value
    if value is None and tensor.datatype in _FLOATS:
        return None
    raise GateError(f"column {column!r} holds {value!r}; the model's {tensor.name!r} is {tensor.datatype}")


def _mlflow(names: Sequence[str], rows: Sequence[Row]) -> object:
    return {"dataframe_split": {"columns": list(names), "data": [list(row) for row in rows]}}


def _tfserving(names: Sequence[str], rows: Sequence[Row]) -> object:
    return {"instances": [list(row) for row in rows]}


def _seldon(names: Sequence[str], rows: Sequence[Row]) -> object:
    return {"data": {"names": list(names), "ndarray": [list(row) for row in rows]}}


def _json(names: Sequence[str], rows: Sequence[Row]) -> object:
    objects = [dict(zip(names, row, strict=True)) for row in rows]
    return objects[0] if len(objects) == 1 else objects


_WRITERS: Mapping[str, Callable[[Sequence[str], Sequence[Row]], object]] = {
    "mlflow": _mlflow,
    "tfserving": _tfserving,
    "seldon": _seldon,
    "json": _json,
}
