"""Registries with something in them, for tests: real ones where there are any."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.ports import LineageSource
from domain.reference import Reference, Registry, reference
from registry.rest import Rest
from registry.sources.delta import DeltaTables
from registry.sources.dvc import Dvc
from registry.sources.file import LineageFile
from registry.sources.huggingface import HuggingFace
from registry.sources.mlflow import Mlflow
from registry.sources.runs import WandbRuns
from settings.registries import RegistryServer as Address
from tests.support.registry_server import RegistryServer, hub, wandb

COMMIT = "4f1a" * 10
CARD = {
    "id": "acme/rain",
    "author": "acme",
    "sha": COMMIT,
    "createdAt": "2026-01-02T03:04:05.000Z",
    "lastModified": "2026-02-02T03:04:05.000Z",
    "siblings": [{"rfilename": "README.md"}, {"rfilename": "model.safetensors"}],
    "cardData": {
        "license": "apache-2.0",
        "datasets": ["acme/weather", "acme/soil"],
        "model-index": [
            {
                "name": "rain",
                "results": [
                    {
                        "task": {"type": "tabular-classification"},
                        "dataset": {"type": "acme/weather", "name": "Weather"},
                        "metrics": [{"type": "accuracy", "value": 0.91}, {"type": "f1", "value": "n/a"}],
                    }
                ],
            }
        ],
    },
}
RUN = {
    "name": "1abc",
    "commit": COMMIT,
    "config": json.dumps({"depth": {"desc": None, "value": 7}, "_wandb": {"value": {"cli": "0"}}}),
    "summaryMetrics": json.dumps({"accuracy": 0.91, "_step": 10, "note": "fine"}),
    "createdAt": "2026-01-02T03:04:05Z",
    "user": {"username": "ada"},
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A source with a record.

    `known` leads to it, `unknown` nowhere; `move` makes it another record, `lose` puts the registry out of
    reach.
    """

    source: LineageSource
    known: Reference
    unknown: Reference
    move: Callable[[], object]
    lose: Callable[[], object]


@contextmanager
def file(folder: Path) -> Iterator[Scene]:
    """A lineage file."""
    path = folder / "lineage.yaml"

    def write(commit: str) -> None:
        path.write_text(f"versions:\n  rain-2: {{commit: '{commit}', dataset: {{name: rain}}}}\n")

    write("1" * 40)
    yield Scene(
        LineageFile(str(path)), reference("rain-2"), reference("rain-9"), lambda: write("22"), path.unlink
    )


@contextmanager
def huggingface(folder: Path) -> Iterator[Scene]:
    """A server that answers as the Hub's documentation says."""
    revisions = {("acme/rain", "main"): CARD}
    with _serving(RegistryServer(hub(revisions))) as server:
        yield Scene(
            HuggingFace(Rest("Hugging Face", Address(server.url), None)),
            reference("hf://acme/rain@main"),
            reference("hf://acme/rain@gone"),
            lambda: revisions.update({("acme/rain", "main"): CARD | {"sha": "5" * 40}}),
            server.stop,
        )


@contextmanager
def weights_and_biases(folder: Path) -> Iterator[Scene]:
    """A server that answers as the tracker's own package expects."""
    runs = {"acme/rain/1abc": RUN}
    with _serving(RegistryServer(wandb(runs))) as server:
        yield Scene(
            WandbRuns(Rest("Weights & Biases", Address(server.url, "KEY", "api"), "hush-hush")),
            reference("wandb:acme/rain/1abc"),
            reference("wandb:acme/rain/2def"),
            lambda: runs.update({"acme/rain/1abc": RUN | {"commit": "6" * 40}}),
            server.stop,
        )


@contextmanager
def dvc(folder: Path) -> Iterator[Scene]:
    """A git repository with a pipeline."""
    repository = Repository(folder / "rain")
    repository.pipeline("0" * 32)
    yield Scene(
        Dvc(str(repository.folder)),
        reference("dvc:train@main"),
        reference("dvc:train@no-such-branch"),
        lambda: repository.pipeline("1" * 32),
        lambda: shutil.rmtree(repository.folder),
    )


@contextmanager
def delta(folder: Path) -> Iterator[Scene]:
    """A Delta Lake table."""
    where = folder / "table"
    append(where)
    yield Scene(
        DeltaTables({"rain": str(where)}),
        reference("delta:rain"),
        reference("delta:rain@99"),
        lambda: append(where),
        lambda: [log.write_text("this is no log") for log in (where / "_delta_log").glob("*.json")],
    )


def append(where: Path) -> None:
    """One more version of the table."""
    from arro3.core import Array, DataType, Table
    from deltalake import write_deltalake

    rows = Table.from_pydict({"rain": Array([1, 2, 3], DataType.int64())})
    write_deltalake(str(where), rows, mode="append", name="rain")


@contextmanager
def mlflow(url: str, lose: Callable[[], object]) -> Iterator[Scene]:
    """A model registered with the MLflow server at `url`."""
    store = MlflowStore(url)
    name = f"rain-{os.urandom(4).hex()}"
    store.register(name, store.run(0.91))
    store.alias(name, "champion", "1")

    def move() -> None:
        store.register(name, store.run(0.92))
        store.alias(name, "champion", "2")

    yield Scene(
        Mlflow(Rest("MLflow", Address(url), None)),
        Reference(Registry.MLFLOW, name, "@champion"),
        Reference(Registry.MLFLOW, name, "@nobody"),
        move,
        lose,
    )


class MlflowStore:
    """What a training script does with an MLflow server, over REST."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/2.0/mlflow"

    def run(self, accuracy: float, **tags: str) -> str:
        """A run with parameters, metrics, tags and a training set; answers its id."""
        experiment = self.post("experiments/create", {"name": os.urandom(6).hex()})["experiment_id"]
        known = {
            "mlflow.user": "ada",
            "mlflow.source.git.commit": COMMIT,
            "mlflow.source.git.repoURL": "https://ada:hush-hush@git.example/rain?signature=hush-hush",
            **tags,
        }
        run = {
            "experiment_id": experiment,
            "start_time": 1_760_000_000_000,
            "tags": [{"key": key, "value": value} for key, value in known.items()],
        }
        identity: str = self.post("runs/create", run)["run"]["info"]["run_id"]
        measured = {"key": "accuracy", "value": accuracy, "timestamp": 1_760_000_000_001, "step": 0}
        depth = {"key": "depth", "value": "7"}
        self.post("runs/log-batch", {"run_id": identity, "params": [depth], "metrics": [measured]})
        data = {
            "name": "weather",
            "digest": "0123abcd",
            "source_type": "delta_table",
            "source": json.dumps({"path": "/tables/weather", "delta_table_version": 7}),
            "schema": json.dumps({"mlflow_colspec": [{"type": "double", "name": "rain"}]}),
        }
        training = [{"key": "mlflow.data.context", "value": "training"}]
        self.post("runs/log-inputs", {"run_id": identity, "datasets": [{"dataset": data, "tags": training}]})
        return identity

    def register(self, name: str, run: str, **tags: str) -> str:
        """One more version of the model `name`; answers its number."""
        # Where it is there already, this is its next version.
        with suppress(urllib.error.HTTPError):
            self.post("registered-models/create", {"name": name})
        version = {
            "name": name,
            "source": f"runs:/{run}/model",
            "run_id": run,
            "tags": [{"key": f"pointsman.{key}", "value": value} for key, value in tags.items()],
        }
        number: str = self.post("model-versions/create", version)["model_version"]["version"]
        return number

    def alias(self, name: str, alias: str, version: str) -> None:
        self.post("registered-models/alias", {"name": name, "alias": alias, "version": version})

    def unalias(self, name: str, alias: str) -> None:
        self.post("registered-models/alias", {"name": name, "alias": alias}, "DELETE")

    def post(self, path: str, document: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        fields = {"content-type": "application/json"}
        body = json.dumps(document).encode()
        request = urllib.request.Request(f"{self._url}/{path}", body, fields, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            told: dict[str, Any] = json.load(answer)
        return told


class Repository:
    """A git repository with a pipeline as DVC writes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "remote.origin.url", "https://ada:hush-hush@git.example/rain.git")

    def pipeline(self, data: str, folder: str = ".") -> str:
        """Commit a pipeline whose training data have the digest `data`; answers the commit."""
        where = self.folder / folder
        (where / "src").mkdir(parents=True, exist_ok=True)
        (where / "src" / "train.py").write_text("print('training')\n")
        (where / "metrics.json").write_text(json.dumps({"holdout": {"accuracy": 0.91}, "note": "fine"}))
        (where / "dvc.yaml").write_text(
            "stages:\n  train:\n    cmd: python src/train.py\n    deps: [src/train.py, data/rain.csv]\n"
            "    params: [depth]\n    outs: [model.pkl]\n    metrics: [metrics.json: {cache: false}]\n"
        )
        (where / "dvc.lock").write_text(
            "schema: '2.0'\nstages:\n  train:\n    cmd: python src/train.py\n    deps:\n"
            f"    - {{path: data/rain.csv, hash: md5, md5: '{data}', size: 7}}\n"
            f"    - {{path: src/train.py, hash: md5, md5: '{'2' * 32}', size: 7}}\n"
            "    params:\n      params.yaml: {depth: 7, layers: {first: 3}}\n"
            "      other.yaml: {seed: 1}\n    outs:\n"
            f"    - {{path: metrics.json, hash: md5, md5: '{'3' * 32}', size: 7}}\n"
            f"    - {{path: model.pkl, hash: md5, md5: '{data[::-1]}', size: 7}}\n"
        )
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "A model")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        who = {
            "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org",
            "GIT_AUTHOR_DATE": "2026-01-02T03:04:05+00:00",
            "GIT_COMMITTER_DATE": "2026-01-02T03:04:05+00:00",
        }  # fmt: skip
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            capture_output=True, text=True, check=True, env=os.environ | who, timeout=30,
        )  # fmt: skip
        return done.stdout.strip()


@contextmanager
def _serving(server: RegistryServer) -> Iterator[RegistryServer]:
    try:
        yield server
    finally:
        server.stop()
