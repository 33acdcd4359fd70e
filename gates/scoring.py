"""Scores of predictions that were made elsewhere, by scikit-learn's own scorers.

A scorer asks an estimator; ours, `_Recorded`, answers with what a model server said. Its X is the rows'
places, so that drawing rows for a bootstrap is drawing places. A scorer of scikit-learn is always better when
it is greater ("neg_mean_absolute_error"), so a difference has one direction for every metric.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
import sklearn.metrics
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from comparators.prediction import Prediction
from domain.errors import GateError
from gates.confidence import Indices
from gates.files import Cell, number
from settings.schema import CompareSettings

REGRESSION = "regression"

_SHOWN = 10  # classes in a message


@dataclass(frozen=True, slots=True)
class Predicted:
    """What one version said of every row.

    `values` are classes or numbers, shape (rows,); `probabilities` of shape (rows, classes), where there are
    any; `classes` in the order of its columns.
    """

    values: NDArray[Any]
    probabilities: NDArray[np.float64] | None
    classes: NDArray[Any]


class _Recorded(BaseEstimator):  # type: ignore[misc]
    def __init__(self, predicted: Predicted) -> None:
        self.predicted = predicted
        self.classes_ = predicted.classes

    def predict(self, places: Indices) -> NDArray[Any]:
        found: NDArray[Any] = self.predicted.values[places[:, 0]]
        return found

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _RecordedNumbers(RegressorMixin, _Recorded):  # type: ignore[misc]
    pass


class _RecordedClasses(ClassifierMixin, _Recorded):  # type: ignore[misc]
    pass


class _RecordedProbabilities(_RecordedClasses):
    def predict_proba(self, places: Indices) -> NDArray[np.float64]:
        found = self.predicted.probabilities
        if found is None:
            raise AttributeError("no probabilities")
        chosen: NDArray[np.float64] = found[places[:, 0]]
        return chosen


def demand(metric: str) -> None:
    """Raises GateError when scikit-learn has no scorer called `metric`."""
    known = sklearn.metrics.get_scorer_names()
    if metric not in known:
        near = difflib.get_close_matches(metric, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see sklearn.metrics.get_scorer_names()"
        raise GateError(f"the metric {metric!r} is unknown to scikit-learn; {hint}")


def truth(cells: Sequence[Cell], where: str, settings: CompareSettings) -> NDArray[Any]:
    """The labels of a column, classes or numbers as the endpoint predicts them. Raises GateError."""
    missing = next((at for at, cell in enumerate(cells) if cell is None), None)
    if missing is not None:
        raise GateError(f"{where} has no label in row {missing + 1}")
    if settings.kind == REGRESSION:
        numbers = np.array([number(cell) for cell in cells])
        if not np.isfinite(numbers).all():
            raise GateError(f"{where} holds labels that are no numbers")
        return numbers
    return _classes([_class(cell, settings.labels) for cell in cells])


def predicted(parts: Sequence[Prediction], settings: CompareSettings) -> Predicted:
    """The predictions of all rows, from answers in the rows' order. Raises GateError."""
    if settings.kind == REGRESSION:
        if any(not part.has_numbers or part.width != 1 for part in parts):
            raise GateError("a regression is scored on one number a row; name it with compare.output")
        numbers = np.concatenate([part.values[:, 0] for part in parts])
        _demand_finite(numbers)
        return Predicted(numbers, None, np.array([]))
    if all(_is_named(part) for part in parts):
        values = _classes([_class(label, settings.labels) for part in parts for label in part.labels or ()])
        return Predicted(values, None, np.unique(values))
    if not all(part.has_numbers for part in parts):
        raise GateError("some answers are labels and some are probabilities")
    width = parts[0].width
    if any(part.width != width for part in parts):
        raise GateError("answers have different numbers of classes")
    table = np.concatenate([part.values for part in parts])
    _demand_finite(table)
    if width == 1:
        table = np.concatenate([1.0 - table, table], axis=1)
        decided = (table[:, 1] >= settings.threshold).astype(np.int64)
    else:
        decided = table.argmax(axis=1)
    return Predicted(decided, table, np.arange(table.shape[1]))


def scorer(metric: str, truths: NDArray[Any], said: Predicted, kind: str) -> Callable[[Indices], float]:
    """The score of the rows at some places; NaN where they have none. Raises GateError at once when the
    metric cannot be worked out of these predictions.
    """
    estimator: _Recorded
    if kind != REGRESSION:
        _demand_known(truths, said)
    if kind == REGRESSION:
        estimator = _RecordedNumbers(said)
    elif said.probabilities is None:
        estimator = _RecordedClasses(said)
    else:
        estimator = _RecordedProbabilities(said)
    score = sklearn.metrics.get_scorer(metric)

    def of(places: Indices) -> float:
        with (
            sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # a resample without a class has no score, which is NaN
            return float(score(estimator, places.reshape(-1, 1), truths[places]))

    try:
        whole = of(np.arange(len(truths)))
    except (AttributeError, TypeError, ValueError) as error:
        needs = "; name the output with the probabilities in compare.output" if _wants_more(error) else ""
        raise GateError(f"the metric {metric} cannot be worked out: {error}{needs}") from error
    if math.isnan(whole):
        raise GateError(f"the metric {metric} has no value on these rows: are there labels of every class?")
    return of


def _demand_finite(values: NDArray[np.float64]) -> None:
    """Raises GateError when something is no number: NaN compares as False, which would make it a class."""
    wrong = int((~np.isfinite(values)).sum())
    if wrong:
        raise GateError(
            f"{wrong} predicted values are no numbers (null, NaN, infinite): no score on the rest"
        )


def _demand_known(truths: NDArray[Any], said: Predicted) -> None:
    """Raises GateError when labels and predictions are not of the same classes.

    Probabilities name every class that there is, so each label must be one. Predicted labels need not show
    all classes, but where none of them is ever a label, they are written in another way.
    """
    if truths.dtype.kind != said.classes.dtype.kind:
        known = np.zeros(len(truths), dtype=bool)
    else:
        known = np.isin(truths, said.classes)
    if known.all() or (said.probabilities is None and known.any()):
        return
    label, answer = truths[~known][0], said.values[0]
    classes = ", ".join(repr(str(one)) for one in said.classes[:_SHOWN])
    raise GateError(
        f"a label is {str(label)!r} and a prediction is {str(answer)!r}, one of the classes {classes}: name "
        "the classes, by their index, in compare.labels"
    )


def _wants_more(error: Exception) -> bool:
    return "predict_proba" in str(error) or "decision_function" in str(error)


def _is_named(part: Prediction) -> bool:
    """Whether each row is one class by its name or number."""
    return part.labels is not None and part.width == 1


def _class(value: Cell, names: Sequence[str]) -> str:
    """A class as its index where classes are named, else as its text; 1.0 is 1, true is 1 of two."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    if text in names:
        return str(list(names).index(text))
    if text in ("true", "True", "false", "False"):
        return str(int(text in ("true", "True")))
    return text


def _classes(texts: Sequence[str]) -> NDArray[Any]:
    """Whole numbers where all are, so that a scorer finds its positive class 1."""
    if all(text.removeprefix("-").isdecimal() for text in texts):
        return np.array([int(text) for text in texts])
    return np.array(texts)
