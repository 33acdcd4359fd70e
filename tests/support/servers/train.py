"""Trains the models that the real model servers serve. Runs in a server's own environment.

    python train.py FOLDER [mlflow]

Every model comes twice. `iris-1`/`iris-2` classify, `diabetes-1`/`diabetes-2` predict a number; the second of
each is the same kind of model, trained on other rows and regularised more: near to the first, but not equal.
All data are scikit-learn's own, so nothing is fetched. With `mlflow` the models are saved in its format too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge

FLOWERS = load_iris(return_X_y=True)
PATIENTS = load_diabetes(return_X_y=True)
MODELS = {
    "iris-1": LogisticRegression(C=1.0, max_iter=1000).fit(FLOWERS[0], FLOWERS[1]),
    "iris-2": LogisticRegression(C=0.02, max_iter=1000).fit(FLOWERS[0][::3], FLOWERS[1][::3]),
    "diabetes-1": Ridge(alpha=0.1).fit(PATIENTS[0], PATIENTS[1]),
    "diabetes-2": Ridge(alpha=0.5).fit(PATIENTS[0][::2], PATIENTS[1][::2]),
}


def main(folder: Path, *, mlflow: bool) -> None:
    for name, model in MODELS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        joblib.dump(model, folder / name / "model.joblib")
        if mlflow:
            from mlflow.models import infer_signature
            from mlflow.sklearn import save_model

            rows = (FLOWERS if name.startswith("iris") else PATIENTS)[0][:2]
            save_model(
                model,
                str(folder / name / "mlflow"),
                serialization_format="cloudpickle",
                pip_requirements=["scikit-learn"],
                signature=infer_signature(rows, model.predict(rows)),
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), mlflow="mlflow" in sys.argv[2:])
