"""An endpoint's comparison: which reader, which distance, whose fault.

Bytes in, a Divergence out. Equal bytes are the common case of a healthy candidate and are recognised before
anything of the second answer is decoded. The incumbent is read first: when its answer cannot be read there
is nothing to hold the candidate against, whatever the candidate said.
"""

from __future__ import annotations

import math
from typing import Protocol

from comparators.classification import Classification
from comparators.prediction import Prediction, Reader, Unreadable
from comparators.readers.plain import PlainReader
from comparators.readers.v2 import V2Reader
from comparators.regression import Regression
from domain.errors import ComparatorFault, ConfigError
from domain.observation import Divergence
from domain.routing import Arm
from settings.schema import CompareSettings


class _Kind(Protocol):
    def alone(self, incumbent: Prediction) -> Divergence: ...

    def compare(self, incumbent: Prediction, candidate: Prediction) -> Divergence: ...

    def describe(self, prediction: Prediction) -> object: ...


class Comparison:
    """Compares answers of one endpoint. Holds no state: one object may serve all threads."""

    def __init__(self, protocol: str, settings: CompareSettings, path: str = "") -> None:
        """`path` is where `settings` stand in the configuration (`endpoints.rain.compare`).

        Raises ConfigError for a protocol, kind, pointer, scale, tolerance, threshold or labels that
        cannot be.
        """
        self._reader = _reader(protocol, settings.output, path)
        self._kind = _kind(settings, path)

    def compare(self, incumbent: bytes, candidate: bytes) -> Divergence:
        """How far apart two answers are. Raises ComparatorFault; its arm is whose answer cannot be read."""
        trusted = self._read(incumbent, Arm.INCUMBENT)
        if incumbent == candidate:
            return self._kind.alone(trusted)
        return self._kind.compare(trusted, self._read(candidate, Arm.CANDIDATE))

    def describe(self, body: bytes) -> object:
        """The prediction in `body` as a JSON-able value for people; a text saying why when there is none."""
        try:
            return self._kind.describe(self._reader.read(body))
        except (Unreadable, ComparatorFault) as error:
            return f"unreadable: {error.reason}"

    def _read(self, body: bytes, arm: Arm) -> Prediction:
        try:
            return self._reader.read(body)
        except Unreadable as error:
            raise ComparatorFault(error.reason, arm) from None


def _reader(protocol: str, output: str | None, path: str) -> Reader:
    if protocol == "v2":
        _demand(output != "", path, "output", output, "name an output tensor; without it the first is taken")
        return V2Reader(output)
    if protocol == "json":
        try:
            return PlainReader(output)
        except ValueError as error:
            raise ConfigError(_key(path, "output"), output, str(error)) from None
    parent = path.removesuffix("compare").rstrip(".")
    raise ConfigError(_key(parent, "protocol"), protocol, "v2 or json")


def _kind(settings: CompareSettings, path: str) -> _Kind:
    _demand(0 < settings.scale < math.inf, path, "scale", settings.scale, "a number above 0")
    _demand(0 <= settings.tolerance < math.inf, path, "tolerance", settings.tolerance, "a number, 0 or more")
    _demand(0 < settings.threshold < 1, path, "threshold", settings.threshold, "a number between 0 and 1")
    labels = settings.labels
    _demand(len(labels) != 1, path, "labels", labels, "name every class, two at least, or none")
    distinct = all(labels) and len(set(labels)) == len(labels)
    _demand(distinct, path, "labels", labels, "give each class a name of its own")
    if settings.kind == "regression":
        return Regression(settings)
    if settings.kind == "classification":
        return Classification(settings)
    raise ConfigError(_key(path, "kind"), settings.kind, "regression or classification")


def _demand(holds: bool, path: str, key: str, value: object, allowed: str) -> None:
    if not holds:
        raise ConfigError(_key(path, key), value, allowed)


def _key(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
