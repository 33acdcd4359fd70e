"""`python -m examples.rain.platforms flag|models`: what a team has in Unleash and MLflow before its release.

    flag     in Unleash: rain-v2-canary, a gradual rollout to 25 % (UNLEASH_URL, UNLEASH_ADMIN_TOKEN)
    models   in MLflow: rain 1 and rain 2, each with the run that made it (MLFLOW_URL)

What is there already stays as it is, so a person's change outlives a restart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

FLAG = "rain-v2-canary"
PERCENT = 25
MODEL = "rain"
PATIENCE = 30.0
"""Seconds for one answer."""
TRAINED = ({"days": "11635", "C": "1.0"}, {"days": "12000", "C": "2.0"})
"""The hyperparameters of the versions, oldest first (`examples.rain.models`, which takes scikit-learn)."""


class Service:
    """A server's JSON API under `base`."""

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        self._base = base.rstrip("/")
        self._headers = {"content-type": "application/json", **headers}

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer. Raises urllib.error.HTTPError and OSError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._base}{path}", data, self._headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - where the operator says
            text = answer.read()
        return json.loads(text) if text else None

    def finds(self, path: str) -> bool:
        """Whether there is something at `path`. Raises as `ask` does, but for 404."""
        try:
            self.ask("GET", path)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
            return False
        return True


def make_flag(unleash: Service, flag: str = FLAG, environment: str = "development") -> bool:
    """A flag in project `default`, on in `environment`; False: it was there."""
    features = "/admin/projects/default/features"
    if unleash.finds(f"{features}/{flag}"):
        return False
    unleash.ask("POST", features, {"name": flag, "type": "release"})
    at = f"{features}/{flag}/environments/{environment}"
    parameters = {"rollout": str(PERCENT), "stickiness": "userId", "groupId": flag}
    strategy = {"name": "flexibleRollout", "constraints": [], "parameters": parameters}
    unleash.ask("POST", f"{at}/strategies", strategy)
    unleash.ask("POST", f"{at}/on")
    return True


def register_models(mlflow: Service, model: str = MODEL) -> bool:
    """Two versions of a model, each with its run; False: the model was there."""
    if mlflow.finds(f"/registered-models/get?name={model}"):
        return False
    digest = hashlib.sha256(files("examples.rain").joinpath("rainfall.csv.gz").read_bytes()).hexdigest()
    experiment = mlflow.ask("POST", "/experiments/create", {"name": model})["experiment_id"]
    mlflow.ask("POST", "/registered-models/create", {"name": model})
    for number, parameters in enumerate(TRAINED, 1):
        started = mlflow.ask(
            "POST", "/runs/create", {"experiment_id": experiment, "run_name": f"{model}-{number}"}
        )
        run = started["run"]["info"]["run_id"]
        logged = [{"key": key, "value": value} for key, value in parameters.items()]
        mlflow.ask("POST", "/runs/log-batch", {"run_id": run, "params": logged})
        data = {
            "name": "rainfall", "digest": digest[:36], "source_type": "local",
            "source": json.dumps({"path": "examples/rain/rainfall.csv.gz"}),
        }  # fmt: skip
        training = [{"key": "mlflow.data.context", "value": "training"}]
        mlflow.ask(
            "POST", "/runs/log-inputs", {"run_id": run, "datasets": [{"dataset": data, "tags": training}]}
        )
        version = {"name": model, "source": f"runs:/{run}/model", "run_id": run}
        mlflow.ask("POST", "/model-versions/create", version)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="examples.rain.platforms", description="Prepare Unleash or MLflow.")
    parser.add_argument("what", choices=("flag", "models"))
    try:
        if parser.parse_args().what == "flag":
            token = {"authorization": os.environ["UNLEASH_ADMIN_TOKEN"]}
            made = make_flag(Service(os.environ["UNLEASH_URL"], token))
        else:
            made = register_models(Service(f"{os.environ['MLFLOW_URL'].rstrip('/')}/api/2.0/mlflow", {}))
    except KeyError as error:
        sys.stderr.write(f"the environment has no {error.args[0]}\n")
        return 2
    except urllib.error.HTTPError as error:
        with error:
            sys.stderr.write(f"{error.url}: {error.code} {error.read(2000).decode(errors='replace')}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"not to be reached: {error}\n")
        return 1
    sys.stdout.write("made\n" if made else "there already\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
