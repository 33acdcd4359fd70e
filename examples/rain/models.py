"""The two versions: rain-1, and rain-2, trained a year later on more days and with less regularisation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from examples.model_server.pipeline import Pipeline
from examples.rain.data import FEATURES, Series

REPLAY_FROM = 12_000
"""Days before this one train the models, days from it on are replayed as traffic: nobody saw them before."""

RECENT_DAYS = 14
"""How many of the latest days the refactored pipeline takes its statistics from."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a version is made: the number of days it learns from, and scikit-learn's C (1 / regularisation)."""

    version: str
    days: int
    inverse_regularisation: float


INCUMBENT = Recipe("rain-1", REPLAY_FROM - 365, 1.0)
CANDIDATE = Recipe("rain-2", REPLAY_FROM, 2.0)


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted classifier and the feature pipeline that it was fitted behind."""

    recipe: Recipe
    classifier: Any
    pipeline: Pipeline

    def probabilities(self, rows: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
        """The probability of rain for `rows` of shape [n, 8]; shape [n]."""
        answers: NDArray[numpy.float64] = self.classifier.predict_proba(self.pipeline.transform(rows))
        return answers[:, 1]

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Put the model and its pipeline into `folder`; their paths."""
        model = folder / f"{self.recipe.version}.joblib"
        pipeline = folder / f"{self.recipe.version}-pipeline.json"
        joblib.dump(self.classifier, model)
        self.pipeline.write(pipeline)
        return model, pipeline


def train(series: Series, recipe: Recipe) -> Trained:
    """A logistic regression on the features, their squares and products."""
    rows = series.rows[: recipe.days]
    pipeline = Pipeline.fit(FEATURES, rows, f"standard scores over the {recipe.days} training days")
    classifier = LogisticRegression(C=recipe.inverse_regularisation, max_iter=3000)
    classifier.fit(pipeline.transform(rows), series.rained[: recipe.days])
    return Trained(recipe, classifier, pipeline)


def refactored(series: Series, today: int) -> Pipeline:
    """The silent change: statistics of the latest fortnight in place of the training years'.

    What a job does that was moved from training to serving and fits the scaler on "the data at hand": same
    file, same fields, plausible numbers, and a model that now sees every winter as an average season.
    """
    recent = series.rows[max(0, today - RECENT_DAYS) : today]
    return Pipeline.fit(FEATURES, recent, f"standard scores over the latest {RECENT_DAYS} days")
