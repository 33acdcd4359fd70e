"""The architecture holds: imports flow downward, pure modules stay pure, packages say what they are."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]
INITS = sorted(
    init.relative_to(ROOT)
    for package in [*PACKAGES, "bench"]
    for init in (ROOT / package).rglob("__init__.py")
)


def test_the_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("init", INITS, ids=str)
def test_every_package_says_in_one_line_what_it_holds(init: Path) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / init).read_text()))
    assert docstring
    assert "\n" not in docstring
