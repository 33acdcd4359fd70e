"""One tensor of the Open Inference Protocol (V2): from its JSON, or its bytes, to a Prediction.

Shape: [] and [1] are one row of one value, [n] and [n, 1] are n rows of one, [..., k] are rows of k. Bytes
are little-endian, row-major, without padding; a BYTES element has its length before it, in 4 bytes
(Open Inference Protocol, "Tensor Data" and "Binary Tensor Data Extension"). BF16, which NumPy has not, is
the upper half of an FP32. Floats of a large tensor stay where they are: NumPy looks at the body's own bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from comparators.prediction import SMALL, Prediction, Unreadable
from comparators.readers.document import MAX_BODY, MAX_PARTS
from comparators.readers.scalars import flattened, noun, of_booleans, of_integers, of_reals, of_texts
from comparators.wording import counted, quoted

Tensor = dict[str, object]


class EmptyTensor(Unreadable):
    """A tensor without any value, which is an answer where lists are compared: nothing was found."""


MAX_DIMENSIONS = 32
"""Of a tensor. NumPy knows 64, Triton's clients fewer; the product of millions would stall us."""

_FLOATS = frozenset(("FP64", "FP32", "FP16", "BF16"))
_RANGES = {f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
_RANGES |= {f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)}

_DTYPES: dict[str, np.dtype[Any]] = {
    "FP64": np.dtype("<f8"),
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
}
_BRAIN_FLOAT = np.dtype("<u2")
_DTYPES |= {f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)}
_DTYPES |= {f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)}
_DTYPES |= {"BF16": np.dtype("<u2"), "BOOL": np.dtype("u1")}
_LENGTH_SIZE = 4


def prediction(tensor: Tensor, where: str, payload: memoryview | None = None) -> Prediction:
    """The tensor's values; `payload` are its bytes when they stand behind the JSON. Raises Unreadable."""
    shape = _shape(tensor, where)
    datatype = tensor.get("datatype")
    if payload is not None:
        return _from_bytes(where, shape, datatype, payload)
    data = _data(tensor, where)
    rows, width = _rows_and_width(shape, len(data), where)
    if not isinstance(datatype, str):
        raise Unreadable(f"{where} has {noun(datatype)} for a datatype, where text is needed")
    if datatype in _FLOATS:
        return of_reals(where, rows, width, data)
    if datatype in _RANGES:
        return of_integers(where, rows, width, data, *_RANGES[datatype])
    if datatype == "BYTES":
        return of_texts(where, rows, width, data)
    if datatype == "BOOL":
        return of_booleans(where, rows, width, data)
    raise Unreadable(f"{where} has the datatype {quoted(datatype)}, which V2 does not know")


def numeric(tensor: Tensor, where: str) -> tuple[int, Callable[[list[object]], Prediction]] | None:
    """How many numbers the tensor holds, and what `prediction` makes of as many; None for other values.

    Raises Unreadable as `prediction` does.
    """
    shape, datatype = _shape(tensor, where), tensor.get("datatype")
    data = _data(tensor, where)
    rows, width = _rows_and_width(shape, len(data), where)
    if datatype in _FLOATS:
        return len(data), lambda numbers: of_reals(where, rows, width, numbers)
    if isinstance(datatype, str) and datatype in _RANGES:
        low, high = _RANGES[datatype]
        return len(data), lambda numbers: of_integers(where, rows, width, numbers, low, high)
    return None


def nested(tensor: Tensor, found: Prediction) -> object:
    """The values of `found`, which was read from `tensor`, nested by its shape as JSON would have them."""
    values = _json_values(found)
    shape = cast("list[int]", tensor["shape"])
    return _nested(values, shape) if shape else values[0]


def without_values(tensor: Tensor, where: str) -> list[object]:
    """Empty arrays nested by the shape of an EmptyTensor. Raises Unreadable when they are too many."""
    shape = cast("list[int]", tensor["shape"])
    before = shape[: shape.index(0)]
    if math.prod(before) > MAX_PARTS:
        raise Unreadable(f"{where} has more than {MAX_PARTS} empty rows")
    value: list[object] = []
    for size in reversed(before):
        value = [value] * size
    return value


def nested_by_shape(values: list[object], tensor: Tensor, where: str) -> list[object]:
    """Flat `values` as nested arrays by the shape in `tensor`. Raises Unreadable when they do not fit."""
    shape = _shape(tensor, where)
    _rows_and_width(shape, len(values), where)
    return _nested(values, shape)


def _nested(values: list[object], shape: list[int]) -> list[object]:
    for size in reversed(shape[1:]):
        values = [values[at : at + size] for at in range(0, len(values), size)]
    return values


def row_values(tensor: Tensor, found: Prediction) -> object:
    """The value of the one row of `found`, or a list of one value a row."""
    values: list[object] = _json_values(found)
    if len(cast("list[int]", tensor["shape"])) > 1:
        values = [values[at : at + found.width] for at in range(0, len(values), found.width)]
    return values[0] if found.rows == 1 else values


def _json_values(found: Prediction) -> list[object]:
    if found.labels is None:
        return list(found.real())
    if found.numbers is None:
        return list(found.labels)
    if found.labels[0] in ("true", "false"):
        return [label == "true" for label in found.labels]
    return [int(label) for label in found.labels]


def _shape(tensor: Tensor, where: str) -> list[int]:
    shape = tensor.get("shape")
    if type(shape) is not list:
        raise Unreadable(f"{where} has {noun(shape)} for a shape, where an array is needed")
    if len(shape) > MAX_DIMENSIONS:
        raise Unreadable(f"{where} has {len(shape)} dimensions; up to {MAX_DIMENSIONS} are compared")
    for size in shape:
        if type(size) is not int or size < 0:
            raise Unreadable(f"the shape of {where} has {quoted(size)} where a size is needed")
    return cast("list[int]", shape)


def _rows_and_width(shape: list[int], count: int, where: str) -> tuple[int, int]:
    """How `count` values lie in `shape`. Raises Unreadable when they do not, or are none."""
    size = math.prod(shape)
    if size != count:
        asked = size if size <= MAX_BODY else f"more than {MAX_BODY}"
        raise Unreadable(f"{where} holds {counted(count, 'value')}; its shape asks for {asked}")
    if not size:
        raise EmptyTensor(f"{where} is empty")
    width = shape[-1] if len(shape) > 1 else 1
    return size // width, width


def _data(tensor: Tensor, where: str) -> list[object]:
    data = tensor.get("data")
    if type(data) is list:
        return flattened(data, where) if data and type(data[0]) is list else data
    if data is not None:
        raise Unreadable(f"the data of {where} is {noun(data)}, not an array")
    parameters = tensor.get("parameters")
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        raise Unreadable(f"{where} is said to be binary, but no Inference-Header-Content-Length came with it")
    raise Unreadable(f"{where} has no data")


def _from_bytes(where: str, shape: list[int], datatype: object, payload: memoryview) -> Prediction:
    if not isinstance(datatype, str):
        raise Unreadable(f"{where} has {noun(datatype)} for a datatype, where text is needed")
    if datatype == "BYTES":
        texts = _texts(where, payload)
        return of_texts(where, *_rows_and_width(shape, len(texts), where), cast("list[object]", texts))
    values = _array(where, datatype, payload)
    rows, width = _rows_and_width(shape, len(values), where)
    if datatype in _FLOATS:
        if len(values) <= SMALL:
            return Prediction(where, rows, width, tuple(values.tolist()))
        return Prediction(where, rows, width, array=values.reshape(rows, width))
    if datatype == "BOOL":
        return of_booleans(where, rows, width, values.tolist())
    return of_integers(where, rows, width, values.tolist())


def _array(where: str, datatype: str, payload: memoryview) -> NDArray[Any]:
    dtype = _DTYPES.get(datatype)
    if dtype is None:
        raise Unreadable(f"{where} has the datatype {quoted(datatype)}, which V2 does not know")
    size = len(payload)
    if size % dtype.itemsize:
        raise Unreadable(f"{where} has {size} bytes, which no number of {datatype} values take")
    if size // dtype.itemsize > MAX_PARTS:
        raise Unreadable(f"{where} has {size // dtype.itemsize} values; up to {MAX_PARTS} are compared")
    values = np.frombuffer(payload, dtype)
    if datatype == "BF16":
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values


def _texts(where: str, payload: memoryview) -> list[str]:
    texts: list[str] = []
    at, size = 0, len(payload)
    while at < size:
        start = at + _LENGTH_SIZE
        at = start + int.from_bytes(payload[at:start], "little")
        if start > size or at > size:
            raise Unreadable(f"the bytes of {where} end inside element {len(texts)}")
        if len(texts) == MAX_PARTS:
            raise Unreadable(f"{where} has more than {MAX_PARTS} values")
        try:
            texts.append(str(payload[start:at], "utf-8"))
        except UnicodeDecodeError:
            raise Unreadable(f"{where} holds bytes at {len(texts)} that are not UTF-8 text") from None
    return texts
