"""Predictions made elsewhere score as scikit-learn's metrics say they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from comparators.prediction import Prediction
from domain.errors import GateError
from gates import scoring
from settings.schema import CompareSettings

CLASSES = CompareSettings("classification")
NAMED = CompareSettings("classification", labels=("dry", "rain"))
NUMBERS = CompareSettings("regression")
EVERY = np.arange(4)


def table(*rows: tuple[float, ...]) -> list[Prediction]:
    return [Prediction("p", len(rows), len(rows[0]), tuple(value for row in rows for value in row))]


def score(
    metric: str, truths: list[Any], said: list[Prediction], settings: CompareSettings = CLASSES
) -> float:
    known = scoring.truth(truths, "column 'y'", settings)
    return scoring.scorer(metric, known, scoring.predicted(said, settings), settings.kind)(
        EVERY[: len(truths)]
    )


PROBABILITIES = table((0.9, 0.1), (0.4, 0.6), (0.3, 0.7), (0.2, 0.8))


def test_probabilities_are_classes_and_scores() -> None:
    assert score("accuracy", [0, 0, 1, 1], PROBABILITIES) == 0.75
    assert score("roc_auc", [0, 0, 1, 1], PROBABILITIES) == 1.0
    assert score("f1", [0, 0, 1, 1], PROBABILITIES) == pytest.approx(0.8)
    expected = -sklearn.metrics.log_loss([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.8])
    assert score("neg_log_loss", [0, 0, 1, 1], PROBABILITIES) == pytest.approx(expected)


def test_one_probability_is_that_of_class_1() -> None:
    assert score("accuracy", [0, 0, 1, 1], table((0.1,), (0.6,), (0.7,), (0.8,))) == 0.75


def test_labels_and_named_classes_mean_the_same() -> None:
    words = [Prediction("p", 4, 1, None, ("dry", "rain", "rain", "rain"))]
    digits = [Prediction("p", 4, 1, (0.0, 1.0, 1.0, 1.0), ("0", "1", "1", "1"))]
    for truths in (["dry", "dry", "rain", "rain"], [0, 0, 1, 1], [0.0, 0.0, 1.0, 1.0]):
        assert score("f1", truths, words, NAMED) == pytest.approx(0.8)
        assert score("f1", truths, digits, NAMED) == pytest.approx(0.8)
        assert score("f1", truths, PROBABILITIES, NAMED) == pytest.approx(0.8)


def test_numbers_are_a_regression() -> None:
    said = [Prediction("p", 3, 1, (1.0, 2.0, 4.0))]
    assert score("neg_mean_absolute_error", [1, 2, 3], said, NUMBERS) == pytest.approx(-1 / 3)


def test_a_misspelt_metric_is_refused_with_what_was_meant() -> None:
    with pytest.raises(GateError, match="'acuracy' is unknown to scikit-learn; did you mean accuracy"):
        scoring.demand("acuracy")


def test_a_metric_of_probabilities_is_refused_where_there_are_labels_only() -> None:
    with pytest.raises(GateError, match=r"roc_auc cannot be worked out.*compare\.output"):
        score("roc_auc", [0, 1], [Prediction("p", 2, 1, (0.0, 1.0), ("0", "1"))])


def test_words_are_never_held_against_indices() -> None:
    with pytest.raises(GateError, match=r"a label is 'dry' and a prediction is '0'.*compare\.labels"):
        score("accuracy", ["dry", "dry", "rain", "rain"], PROBABILITIES)


def test_a_row_without_a_label_is_named() -> None:
    with pytest.raises(GateError, match="column 'y' has no label in row 2"):
        scoring.truth([1, None], "column 'y'", CLASSES)
    with pytest.raises(GateError, match="no numbers"):
        scoring.truth(["much"], "column 'y'", NUMBERS)


def test_a_metric_without_a_value_is_refused() -> None:
    with pytest.raises(GateError, match="roc_auc"):
        score("roc_auc", [1, 1, 1, 1], PROBABILITIES)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_neither_a_class_nor_a_regression(odd: float) -> None:
    for said, settings in (
        (table((0.1,), (odd,), (odd,)), CLASSES),
        (table((0.9, 0.1), (odd, 0.6), (0.3, odd)), CLASSES),
        (table((1.0,), (odd,), (odd,)), NUMBERS),
    ):
        with pytest.raises(GateError, match=r"2 predicted values are no numbers .*no score on the rest"):
            score("accuracy" if settings is CLASSES else "r2", [0, 0, 1], said, settings)


def test_labels_and_answers_in_other_words_are_no_score() -> None:
    letters = [Prediction("p", 4, 1, None, ("Y", "N", "Y", "Y"))]
    with pytest.raises(GateError, match=r"a label is 'approve'.*classes 'N', 'Y'.*compare\.labels"):
        score("accuracy", ["approve", "decline", "approve", "approve"], letters)


def test_probabilities_name_every_class_that_a_label_may_be() -> None:
    with pytest.raises(GateError, match=r"a label is '2'.*classes '0', '1'.*compare\.labels"):
        score("accuracy", [0, 1, 2, 1], PROBABILITIES)


def test_a_class_that_is_never_predicted_is_a_miss_where_there_are_labels_only() -> None:
    digits = [Prediction("p", 4, 1, (0.0, 1.0, 1.0, 1.0), ("0", "1", "1", "1"))]
    assert score("accuracy", [0, 1, 1, 2], digits) == 0.75
