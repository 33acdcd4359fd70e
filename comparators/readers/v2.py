"""The Open Inference Protocol (V2) in JSON, as KServe, MLServer, Triton and OpenVINO answer.

    {"outputs": [{"name": ..., "shape": [n, k], "datatype": "FP64", "data": [...]}]}

Source: Open Inference Protocol, "Inference Response JSON Object" and "Tensor Data". `data` may be flat or
nested, row-major either way; the shape decides: [] and [1] are one row of one value, [n] and [n, 1] are n
rows of one, [..., k] are rows of k.
"""

from __future__ import annotations

import math
from typing import cast

from comparators.prediction import Prediction, Unreadable
from comparators.readers.document import MAX_BODY, decode
from comparators.readers.scalars import flattened, noun, of_booleans, of_integers, of_reals, of_texts
from comparators.wording import counted, quoted

MAX_DIMENSIONS = 32
"""Of a tensor. NumPy knows 64, Triton's clients fewer; the product of millions would stall us."""

_FLOATS = frozenset(("FP64", "FP32", "FP16"))
_RANGES = {f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
_RANGES |= {f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)}

_Output = dict[str, object]


class V2Reader:
    """Reads the output tensor called `output`, or the first one."""

    def __init__(self, output: str | None = None) -> None:
        self._output = output
        self._where = "the first output" if output is None else f"output {quoted(output)}"

    def read(self, body: bytes) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        output = self._pick(_outputs(decode(body)))
        where = self._where
        shape = _shape(output, where)
        data = _data(output, where)
        size = math.prod(shape)
        if size != len(data):
            asked = size if size <= MAX_BODY else f"more than {MAX_BODY}"
            raise Unreadable(f"{where} holds {counted(len(data), 'value')}; its shape asks for {asked}")
        if not size:
            raise Unreadable(f"{where} is empty")
        width = shape[-1] if len(shape) > 1 else 1
        return _prediction(where, size // width, width, output.get("datatype"), data)

    def _pick(self, outputs: list[object]) -> _Output:
        wanted = self._output
        if wanted is None:
            if isinstance(outputs[0], dict):
                return outputs[0]
            raise Unreadable(f"the first output is {noun(outputs[0])}, not an object")
        found = [output for output in outputs if isinstance(output, dict) and output.get("name") == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            raise Unreadable(f"{len(found)} outputs are called {quoted(wanted)}")
        names = [quoted(output.get("name")) for output in outputs if isinstance(output, dict)]
        there = ", ".join(names[:5]) or "none that is an object"
        raise Unreadable(f"there is no output {quoted(wanted)}; the answer has {there}")


def _outputs(document: object) -> list[object]:
    if not isinstance(document, dict):
        raise Unreadable(f"the answer is {noun(document)}, not an object with outputs")
    outputs = document.get("outputs")
    if isinstance(outputs, list) and outputs:
        return outputs
    if "error" in document:
        raise Unreadable(f"the answer is an error: {quoted(document['error'])}")
    if "outputs" not in document:
        raise Unreadable("the answer has no outputs")
    if isinstance(outputs, list):
        raise Unreadable("the list of outputs is empty")
    raise Unreadable(f"outputs is {noun(outputs)}, not an array")


def _shape(output: _Output, where: str) -> list[int]:
    shape = output.get("shape")
    if not isinstance(shape, list):
        raise Unreadable(f"{where} has {noun(shape)} for a shape, where an array is needed")
    if len(shape) > MAX_DIMENSIONS:
        raise Unreadable(f"{where} has {len(shape)} dimensions; up to {MAX_DIMENSIONS} are compared")
    for size in shape:
        if type(size) is not int or size < 0:
            raise Unreadable(f"the shape of {where} has {quoted(size)} where a size is needed")
    return cast("list[int]", shape)


def _data(output: _Output, where: str) -> list[object]:
    data = output.get("data")
    if isinstance(data, list):
        return flattened(data, where) if data and type(data[0]) is list else data
    if data is not None:
        raise Unreadable(f"the data of {where} is {noun(data)}, not an array")
    parameters = output.get("parameters")
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        raise Unreadable(f"{where} comes in the binary extension; ask the model server for JSON")
    raise Unreadable(f"{where} has no data")


def _prediction(where: str, rows: int, width: int, datatype: object, data: list[object]) -> Prediction:
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
    raise Unreadable(f"{where} has the datatype {quoted(datatype)}, which V2 in JSON does not know")
