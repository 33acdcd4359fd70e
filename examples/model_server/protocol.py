"""V2 (Open Inference Protocol) requests and answers as JSON. Pure.

One input tensor of shape [rows, features], flat or nested data, as the protocol's JSON representation has it.
Source: https://github.com/kserve/open-inference-protocol, `specification/protocol/inference_rest.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import orjson
from numpy.typing import NDArray

NUMERIC = frozenset(
    {"FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
)
PREDICT = "predict"
PREDICT_PROBA = "predict_proba"
OUTPUTS = (PREDICT, PREDICT_PROBA)


class BadRequestError(Exception):
    """The request breaks the protocol; the text names what stood where, and what is allowed."""


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """`rows` has shape [rows, features]; `outputs` names the tensors that the client wants."""

    id: str | None
    rows: NDArray[numpy.float64]
    outputs: tuple[str, ...]


def read_request(body: bytes, features: Sequence[str]) -> InferenceRequest:
    """Raises BadRequestError, with the field, the value and what is allowed."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequestError(f"the body is a JSON {type(document).__name__}; send an object with 'inputs'")
    identifier = document.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise BadRequestError(f"id is {identifier!r}; send a string or leave it out")
    return InferenceRequest(
        identifier, _rows(document.get("inputs"), features), _outputs(document.get("outputs"))
    )


def _rows(inputs: object, features: Sequence[str]) -> NDArray[numpy.float64]:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadRequestError(f"inputs must be a list of exactly one tensor of shape [rows, {len(features)}]")
    tensor = inputs[0]
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(datatype, str) or datatype not in NUMERIC:
        raise BadRequestError(f"inputs[0].datatype is {datatype!r}; one of {', '.join(sorted(NUMERIC))}")
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or not all(type(size) is int and size > 0 for size in shape)
        or shape[1] != len(features)
    ):
        raise BadRequestError(
            f"inputs[0].shape is {shape!r}; [rows, {len(features)}] with the features {', '.join(features)}"
        )
    try:
        rows = numpy.array(tensor.get("data"), dtype=numpy.float64)
    except (TypeError, ValueError) as error:
        raise BadRequestError(f"inputs[0].data is not an array of numbers: {error}") from None
    if rows.size != shape[0] * shape[1]:
        raise BadRequestError(
            f"inputs[0].data holds {rows.size} numbers; shape {shape} needs {shape[0] * shape[1]}"
        )
    if not numpy.isfinite(rows).all():
        raise BadRequestError("inputs[0].data holds a null, NaN or infinite number; send finite numbers")
    return rows.reshape(shape[0], shape[1])


def _outputs(wanted: object) -> tuple[str, ...]:
    if wanted is None or wanted == []:
        return OUTPUTS
    if not isinstance(wanted, list):
        raise BadRequestError(f"outputs is {wanted!r}; a list of objects with a 'name'")
    names: list[str] = []
    for at, output in enumerate(wanted):
        name = output.get("name") if isinstance(output, dict) else None
        if name not in OUTPUTS:
            raise BadRequestError(f"outputs[{at}].name is {name!r}; one of {', '.join(OUTPUTS)}")
        names.append(name)
    return tuple(names)


def write_answer(
    request: InferenceRequest,
    name: str,
    version: str,
    probabilities: NDArray[numpy.float64],
    classes: NDArray[numpy.int64],
) -> bytes:
    """The answer's body: `predict` INT64 [rows] and `predict_proba` FP64 [rows, classes], as asked for."""
    tensors = {
        PREDICT: lambda: _tensor(PREDICT, "INT64", classes[probabilities.argmax(axis=1)]),
        PREDICT_PROBA: lambda: _tensor(PREDICT_PROBA, "FP64", probabilities),
    }
    document: dict[str, object] = {
        "model_name": name,
        "model_version": version,
        "outputs": [tensors[output]() for output in request.outputs],
    }
    if request.id is not None:
        document["id"] = request.id
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _tensor(
    name: str, datatype: str, values: NDArray[numpy.float64] | NDArray[numpy.int64]
) -> dict[str, object]:
    flat = numpy.ascontiguousarray(values.reshape(-1))
    return {"name": name, "datatype": datatype, "shape": list(values.shape), "data": flat}


def write_error(reason: str) -> bytes:
    """The protocol's error object."""
    return orjson.dumps({"error": reason})
