"""Answers spoilt on purpose: another prediction in the same form, for a drill.

What is altered stays an answer that its server could have given: the same document, with other numbers or
labels where the prediction stands. Only JSON without a content coding is altered; what is anything else, or
holds no prediction where one should be, is left as it is, and the caller is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

Leaf = Callable[[Any], Any]

_MEMBERS = {
    "mlflow": ("predictions",),
    "tfserving": ("predictions", "outputs"),
    "seldon": ("data", "jsonData", "strData"),
}
_SELDON = ("ndarray", "tensor")
OTHER_LABEL = "another-label"
"""What a flip makes of a label that is text."""
UNSURE = 0.1
"""A probability nearer to a half than this is flipped to a certain answer, for one minus it would be none."""


def altered(body: bytes, protocol: str, kind: str, output: str | None, change: Leaf) -> bytes | None:
    """`body` with `change` made to the values of its prediction; None where nothing could be altered."""
    try:
        document = msgspec.json.decode(body)
        made = _in_document(document, protocol, kind, output, change)
        return None if made == document else msgspec.json.encode(made)
    except (msgspec.MsgspecError, KeyError, IndexError, TypeError, ValueError, RecursionError):
        return None


def flip(kind: str) -> Leaf:
    """The change that makes every prediction of comparison `kind` another one."""
    return _negated if kind == "embedding" else _label if kind == "classification" else _far


def noise(amount: float, draw: Callable[[], float]) -> Leaf:
    """Gaussian noise on every number, its standard deviation `amount` times the number, or `amount` near 0.

    `draw` gives uniform numbers in [0, 1).
    """

    def change(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        # Box and Muller (1958); 1 - draw is never 0.
        gauss = math.sqrt(-2.0 * math.log(1.0 - draw())) * math.cos(2.0 * math.pi * draw())
        return value + amount * max(abs(value), 1.0) * gauss

    return change


def _label(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 1 - value if value in (0, 1) else value - 1
    if isinstance(value, float):
        if 0.0 <= value <= 1.0:
            return 1.0 - value if abs(value - 0.5) > UNSURE else float(value < 0.5)
        return -value
    return OTHER_LABEL if isinstance(value, str) and value != OTHER_LABEL else value


def _far(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 10 * (abs(value) + 1)
    return value[::-1] + " " + OTHER_LABEL if isinstance(value, str) else value


def _negated(value: Any) -> Any:
    return -value if isinstance(value, int | float) and not isinstance(value, bool) else value


def _in_document(document: Any, protocol: str, kind: str, output: str | None, change: Leaf) -> Any:
    if protocol == "v2":
        return _in_tensors(document, kind, output, change)
    if protocol == "openai":
        return _in_choices(document, change)
    if output is not None and output.startswith("/"):
        return _at_pointer(document, output, kind, change)
    for member in _MEMBERS.get(protocol, ()):
        if isinstance(document, dict) and member in document:
            inner = _in_seldon if member == "data" else _in_value
            return {**document, member: inner(document[member], kind, output, change)}
    return _in_value(document, kind, output, change)


def _in_tensors(document: Any, kind: str, output: str | None, change: Leaf) -> Any:
    outputs = list(document["outputs"])
    at = 0 if output is None else [one["name"] for one in outputs].index(output)
    tensor = outputs[at]
    shape, data = tensor.get("shape") or [], tensor["data"]
    if len(shape) > 1 and shape[-1] > 1 and not isinstance(data[0], list):
        wide = shape[-1]
        rows = [data[start : start + wide] for start in range(0, len(data), wide)]
        made = [value for row in rows for value in _in_value(row, kind, None, change, row=True)]
    else:
        made = [
            _in_value(one, kind, None, change, row=True) if isinstance(one, list) else change(one)
            for one in data
        ]
    outputs[at] = {**tensor, "data": made}
    return {**document, "outputs": outputs}


def _in_choices(document: Any, change: Leaf) -> Any:
    choices = []
    for choice in document["choices"]:
        if isinstance(choice.get("text"), str):
            choices.append({**choice, "text": change(choice["text"])})
        else:
            message = choice["message"]
            choices.append({**choice, "message": {**message, "content": change(message["content"])}})
    return {**document, "choices": choices}


def _in_seldon(data: Any, kind: str, output: str | None, change: Leaf) -> Any:
    if "tensor" in data:
        tensor = data["tensor"]
        shaped = {"outputs": [{"name": "", "shape": tensor.get("shape"), "data": tensor["values"]}]}
        values = _in_tensors(shaped, kind, None, change)["outputs"][0]["data"]
        return {**data, "tensor": {**tensor, "values": values}}
    return {**data, "ndarray": _in_value(data["ndarray"], kind, None, change)}


def _at_pointer(document: Any, pointer: str, kind: str, change: Leaf) -> Any:
    first, _, rest = pointer[1:].partition("/")
    key: Any = first.replace("~1", "/").replace("~0", "~")
    below = f"/{rest}" if rest or pointer.endswith("/") else ""
    if isinstance(document, list):
        key = int(key)
        return [
            _below(one, below, kind, change) if place == key else one for place, one in enumerate(document)
        ]
    return {**document, key: _below(document[key], below, kind, change)}


def _below(value: Any, pointer: str, kind: str, change: Leaf) -> Any:
    return _at_pointer(value, pointer, kind, change) if pointer else _in_value(value, kind, None, change)


def _in_value(value: Any, kind: str, output: str | None, change: Leaf, *, row: bool = False) -> Any:
    if isinstance(value, dict):
        if output in value:
            return {**value, output: _in_value(value[output], kind, None, change)}
        return {name: _in_value(one, kind, None, change) for name, one in value.items()}
    if not isinstance(value, list):
        return change(value)
    inner = any(isinstance(one, list) for one in value)
    if (row or not inner) and change is _label and _is_distribution(value):
        # Its largest share goes to the next class, and it stays a distribution.
        return [*value[1:], value[0]]
    return [_in_value(one, kind, output, change, row=isinstance(one, list)) for one in value]


def _is_distribution(value: list[Any]) -> bool:
    floats = all(isinstance(one, float) for one in value)
    return len(value) > 1 and floats and min(value) >= 0 and abs(sum(value) - 1.0) < 0.01
