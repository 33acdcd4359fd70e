"""Where the features stand in a request's body, by its protocol; reading them is left to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from comparators.prediction import Prediction, Unreadable
from comparators.readers.body import inflated
from comparators.readers.document import decode
from comparators.readers.scalars import noun
from comparators.readers.seldon import matrix
from comparators.readers.tensors import prediction
from comparators.readers.v2 import read_tensors
from comparators.wording import quoted
from domain.media import Media

MAX_NAME = 128
"""Characters of a column's name; a path repeats every key above it, so long keys would multiply."""


class Table(NamedTuple):
    """What should be rows of features, and what their columns are called, None where nothing says so.

    `inputs`: columns by name, in place of rows.
    """

    rows: object = None
    names: object = None
    inputs: Mapping[str, object] | None = None

    def some(self) -> list[object]:
        """The rows. Raises Unreadable when they are none."""
        if not isinstance(self.rows, list):
            raise Unreadable(f"the features are {noun(self.rows)}, not an array of rows")
        if not self.rows:
            raise Unreadable("there are no rows of features")
        return self.rows


def named_tensors(body: bytes, media: Media) -> tuple[int, Iterator[tuple[str, Prediction]]]:
    """How many inputs a V2 request has, and each by its name. Raises Unreadable, also while they are read."""
    inputs, payloads = read_tensors(body, media, "inputs")

    def read() -> Iterator[tuple[str, Prediction]]:
        for at, tensor in enumerate(inputs):
            name = tensor.get("name") if isinstance(tensor, dict) else None
            if not isinstance(tensor, dict) or not isinstance(name, str):
                raise Unreadable(f"input {at} has no name")
            payload = None if payloads is None else payloads.get(at)
            yield name, prediction(tensor, f"input {quoted(name)}", payload)

    return len(inputs), read()


def table(protocol: str, body: bytes, media: Media) -> Table:
    """Where the features stand in a request of any protocol but V2. Raises Unreadable."""
    if protocol == "openai":
        raise Unreadable("a request for a text has no columns of features")
    return _TABLES[protocol](decode(inflated(body, media)))


def demand_short(name: str) -> None:
    """Raises Unreadable for a name of a feature over MAX_NAME."""
    if len(name) > MAX_NAME:
        raise Unreadable(f"the name of a feature has {len(name)} characters; up to {MAX_NAME} are looked at")


def _mlflow(document: object) -> Table:
    request = _object(document)
    if "dataframe_split" in request:
        frame = _object(request["dataframe_split"])
        return Table(frame.get("data"), frame.get("columns"))
    if "dataframe_records" in request:
        return Table(request["dataframe_records"])
    return _tfserving(request)


def _tfserving(document: object) -> Table:
    """`instances` in rows, or `inputs` in columns."""
    request = _object(document)
    if "instances" in request:
        return Table(request["instances"])
    if "inputs" not in request:
        raise Unreadable("the request has none of the fields that hold features")
    inputs = request["inputs"]
    return Table(inputs=inputs) if isinstance(inputs, dict) else Table(inputs)


def _seldon(document: object) -> Table:
    request = _object(document)
    if "data" in request:
        values, names = matrix(request["data"])
        return Table(values, names or None)
    if "jsonData" in request:
        return _json(request["jsonData"])
    raise Unreadable("the request has neither data nor jsonData")


def _json(document: object) -> Table:
    """An array of rows, an object that holds nothing else, or one object, whose leaves are one row."""
    if isinstance(document, dict) and len(document) == 1:
        (only,) = document.values()
        if isinstance(only, list) and only and isinstance(only[0], dict | list):
            return Table(only)
    return Table(document if isinstance(document, list) else [document])


def _object(document: object) -> dict[str, object]:
    if not isinstance(document, dict):
        raise Unreadable(f"the request holds {noun(document)} where an object is needed")
    return document


_TABLES: dict[str, Callable[[object], Table]] = {
    "mlflow": _mlflow,
    "tfserving": _tfserving,
    "seldon": _seldon,
    "json": _json,
}
