"""Real model servers: MLServer, KServe and `mlflow models serve`, each in an environment of its own.

    python -m tests.support.model_servers       makes the environments that are missing

An environment lives beside the project's own, in `.venv-servers/NAME-DIGEST`, where the digest is of the
server's locked requirements, of the training script and of Python's version: it is made once, in seconds when
the packages are cached. The models are trained in it, since a pickled model is of one scikit-learn version.
It runs while the tests are set up, and so imports nothing of the project.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "servers"
HOME = ROOT / ".venv-servers"
NAMES = ("mlserver", "kserve", "mlflow")
PYTHONS = ((3, 11), (3, 12))
"""What all three servers run on."""

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "PYTHONWARNINGS": "ignore"}
PATIENCE = 180.0
"""Seconds that a server has to become ready, on a busy machine, imported for the first time."""


class ServerMissingError(Exception):
    """A server's environment cannot be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with one model server, and the models that it serves."""

    folder: Path

    @property
    def models(self) -> Path:
        return self.folder / "models"

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)


def environment(name: str) -> Environment:
    """The environment of the server `name`, made if it is missing. Raises ServerMissingError."""
    python = _python()
    lock = SCRIPTS / f"{name}.txt"
    parts = (lock.read_bytes(), (SCRIPTS / "train.py").read_bytes(), python.encode())
    folder = HOME / f"{name}-{hashlib.sha256(b''.join(parts)).hexdigest()[:12]}"
    made = Environment(folder)
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            for old in HOME.glob(f"{name}-*"):
                shutil.rmtree(old)
            print(f"making {folder.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
            _install(folder, python, lock)
            _call([made.program("python"), str(SCRIPTS / "train.py"), str(made.models), name])
            (folder / "ready").touch()
    return made


def _python() -> str:
    """An interpreter that all servers run on."""
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    for major, minor in PYTHONS:
        if found := shutil.which(f"python{major}.{minor}"):
            return found
    raise ServerMissingError(
        f"the model servers need Python 3.11 or 3.12; this is {platform.python_version()}, and neither "
        "python3.11 nor python3.12 is on the PATH"
    )


def _install(folder: Path, python: str, lock: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    target = str(folder / "bin" / "python")
    if uv.exists():
        _call([str(uv), "venv", "--quiet", "--python", python, str(folder)])
        _call(
            [str(uv), "pip", "install", "--quiet", "--compile-bytecode", "--python", target, "-r", str(lock)]
        )
    else:
        _call([python, "-m", "venv", str(folder)])
        _call([target, "-m", "pip", "install", "--quiet", "-r", str(lock)])


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | QUIET, timeout=1500, check=False
    )
    if done.returncode:
        raise ServerMissingError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")


@contextmanager
def _running(
    command: Sequence[str], folder: Path, ready: str, more: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A server's process group, from the moment `ready` answers 200 until it is ended."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=out, start_new_session=True,
            env=os.environ | QUIET | dict(more or {}),
        )  # fmt: skip
    try:
        _await(ready, process, log)
        yield
    finally:
        _end(process)


def _await(ready: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(ready, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"{ready} never was ready:\n{log.read_text()[-4000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def mlserver(folder: Path) -> Iterator[int]:
    """MLServer with every model, at `/v2/models/NAME/infer` of the port that it yields."""
    found = environment("mlserver")
    port, grpc, metrics = free_port(), free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "host": "127.0.0.1", "http_port": port, "grpc_port": grpc, "metrics_port": metrics,
        "parallel_workers": 0, "debug": False,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    for file in found.models.glob("*/model.joblib"):
        name = file.parent.name
        (folder / name).mkdir()
        model = {
            "name": name,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": str(file), "version": "1"},
        }
        (folder / name / "model-settings.json").write_text(json.dumps(model))
    with _running([found.program("mlserver"), "start", "."], folder, _url(port, "/v2/health/ready")):
        yield port


@contextmanager
def kserve(folder: Path) -> Iterator[int]:
    """KServe's model server with every model, at `/v2/models/NAME/infer` of the port that it yields."""
    found = environment("kserve")
    port = free_port()
    command = [
        found.program("python"), str(SCRIPTS / "kserve_server.py"), str(found.models), str(port),
    ]  # fmt: skip
    with _running(command, folder, _url(port, "/v2/health/ready")):
        yield port


@contextmanager
def mlflow(folder: Path, model: str) -> Iterator[int]:
    """`mlflow models serve` with one model, at `/invocations` of the port that it yields."""
    found = environment("mlflow")
    port = free_port()
    command = [
        found.program("mlflow"), "models", "serve", "--model-uri", str(found.models / model / "mlflow"),
        "--port", str(port), "--env-manager", "local", "--workers", "1",
    ]  # fmt: skip
    path = {"PATH": f"{found.folder / 'bin'}:{os.environ['PATH']}"}
    with _running(command, folder, _url(port, "/ping"), path):
        yield port


@contextmanager
def started(folders: pytest.TempPathFactory) -> Iterator[Callable[[str], int]]:
    """A server's port, by its name: `mlserver`, `kserve`, or `mlflow MODEL`. Started when first asked for.

    Skips the test, and says why, where the server cannot be had.
    """
    known: dict[str, int] = {}
    with ExitStack() as running:

        def port(name: str) -> int:
            if name not in known:
                server, _, model = name.partition(" ")
                folder = folders.mktemp(name.replace(" ", "-"))
                try:
                    if model:
                        known[name] = running.enter_context(mlflow(folder, model))
                    elif server == "kserve":
                        known[name] = running.enter_context(kserve(folder))
                    else:
                        known[name] = running.enter_context(mlserver(folder))
                except ServerMissingError as error:
                    pytest.skip(f"{server} cannot be had here: {error}")
            return known[name]

        yield port


@contextmanager
def mlflow_registry(folder: Path) -> Iterator[str]:
    """`mlflow server`, its registry and runs in SQLite under `folder`; yields its URL."""
    found = environment("mlflow")
    port = free_port()
    command = [
        found.program("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    more = {
        "PATH": f"{found.folder / 'bin'}:{os.environ['PATH']}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runners take longer to start than it does
    }
    with _running(command, folder, _url(port, "/health"), more):
        yield _url(port, "")


def _url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}{path}"


if __name__ == "__main__":
    for server in NAMES:
        try:
            environment(server)
        except ServerMissingError as error:
            print(f"{server}: its tests will be skipped: {error}", file=sys.stderr)
