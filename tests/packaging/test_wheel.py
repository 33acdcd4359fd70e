"""The wheel holds what it should, nothing else, and runs where there is no source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOP_LEVEL = {
    "audit", "comparators", "console", "control", "domain", "examples", "gates", "gateway", "killswitch",
    "monitoring", "notify", "registry", "routing", "settings", "shadow", "storage",
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(ROOT),
        cwd=folder,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> frozenset[str]:
    with zipfile.ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content and nothing else; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    _run(*pip, "--no-deps", "--no-index", "--target", str(folder), str(wheel), cwd=folder)
    return folder


def test_the_wheel_has_exactly_the_packages_of_the_design(names: frozenset[str]) -> None:
    version = PROJECT["project"]["version"]
    assert {name.split("/")[0] for name in names} == TOP_LEVEL | {f"pointsman-{version}.dist-info"}


def test_the_wheel_carries_the_demo_s_data_with_its_provenance(names: frozenset[str]) -> None:
    assert "examples/rain/rainfall.csv.gz" in names
    assert "examples/rain/PROVENANCE.md" in names


def test_the_wheel_carries_the_licence_and_no_built_or_test_files(names: frozenset[str]) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".draft", ".db")) or "tests/" in name]


def test_every_source_file_of_the_packages_is_in_the_wheel(names: frozenset[str]) -> None:
    sources = {
        path.relative_to(ROOT).as_posix()
        for top in TOP_LEVEL
        for kind in ("*.py", "*.pyx")  # a twin is used only where the source is found that it was made of
        for path in (ROOT / top).rglob(kind)
    }
    assert sources <= names


def test_every_file_of_the_web_console_is_in_the_wheel(names: frozenset[str]) -> None:
    files = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "console" / "web").rglob("*") if path.is_file()
    }
    assert "console/web/index.html" in files
    assert files <= names


def test_the_installed_wheel_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    shown = _run(str(installed / "bin" / "pointsman"), "--version", cwd=tmp_path, path=installed)
    assert shown.strip() == f"pointsman {PROJECT['project']['version']}"


def test_every_module_of_the_command_line_comes_from_the_installed_wheel(
    installed: Path, tmp_path: Path
) -> None:
    program = (
        "import console.app, settings.parse, domain; print(console.app.__file__, settings.parse.__file__)"
    )
    shown = _run(sys.executable, "-P", "-c", program, cwd=tmp_path, path=installed)
    assert all(Path(file).is_relative_to(installed) for file in shown.split())


def _run(*command: str, cwd: Path, path: Path | None = None) -> str:
    environment = {**os.environ, "NO_COLOR": "1"} | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
