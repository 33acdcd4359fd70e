"""How far two structured predictions are apart: JSON documents, path by path (`comparators.trees`)."""

from __future__ import annotations

from collections.abc import Sequence

from comparators.kind import Finding, PredictionPair, RowDistance, compare_rows
from comparators.prediction import Prediction, Unreadable
from comparators.readers.document import decode
from comparators.trees import TreeDistance
from comparators.wording import clipped, presentable, shortened
from settings.schema import CompareSettings

_ITEMS_SHOWN = 50
_LEVELS_SHOWN = 8
_TEXT_SHOWN = 500


class Tree:
    """Compares predictions as JSON documents."""

    def __init__(self, settings: CompareSettings) -> None:
        """Raises ValueError for a pattern that is no JSON pointer."""
        tolerance = 0.0 if settings.tolerance is None else settings.tolerance
        self._distance = TreeDistance(settings.ignore, settings.tolerances, tolerance)

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """There is no fault: whatever was read is a document."""
        return [compare_rows(pair, "document", documents, self._between) for pair in pairs]

    def describe(self, prediction: Prediction) -> object:
        """The document, long lists, texts and deep levels cut, or a list of documents."""
        found = [_presented(document, 0) for document in documents(prediction)]
        return found[0] if len(found) == 1 else shortened(found, _ITEMS_SHOWN)

    def _between(self, incumbent: object, candidate: object) -> RowDistance:
        return self._distance.between(incumbent, candidate)


def documents(prediction: Prediction) -> list[object]:
    """One document a row. A text that holds a JSON object or array, as models write them, is read."""
    rows, width = prediction.rows, prediction.width
    if prediction.structure is not None:
        structure = prediction.structure
        if rows > 1 and isinstance(structure, list) and len(structure) == rows:
            return structure
        return [structure]
    values: Sequence[object]
    if prediction.labels is not None and prediction.numbers is None:
        values = [_of_text(label) for label in prediction.labels]
    else:
        values = prediction.real() if prediction.has_numbers else [None]
    if width == 1:
        return list(values)
    return [list(values[at : at + width]) for at in range(0, len(values), width)]


def _of_text(text: str) -> object:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return decode(text.encode())
    except (Unreadable, UnicodeEncodeError):
        return text


def _presented(value: object, level: int) -> object:
    if type(value) is float:
        return presentable(value)
    if type(value) is str:
        return clipped(value, _TEXT_SHOWN)
    if type(value) is list:
        if level == _LEVELS_SHOWN and value:
            return "[…]"
        return shortened(
            [_presented(one, level + 1) for one in value[:_ITEMS_SHOWN]] + value[_ITEMS_SHOWN:], _ITEMS_SHOWN
        )
    if type(value) is dict:
        if level == _LEVELS_SHOWN and value:
            return "{…}"
        shown = {clipped(key): _presented(value[key], level + 1) for key in list(value)[:_ITEMS_SHOWN]}
        if len(value) > _ITEMS_SHOWN:
            shown["…"] = f"{len(value) - _ITEMS_SHOWN} more"
        return shown
    return value
