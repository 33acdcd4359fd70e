"""What is compiled passes the same suites as what is not, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import accelerator, head

ROOT = Path(__file__).parents[2]
SUITES = ("tests/conformance/http", "tests/unit/gateway", "tests/unit/shadow", "tests/unit/routing")
TOLD = "POINTSMAN_TEST_COMPILED"


@pytest.mark.skipif(TOLD in os.environ, reason="this is that process")
@pytest.mark.timeout(900)
def test_the_compiled_twins_pass_the_suites_of_their_sources() -> None:
    if not accelerator.wanted() or not (accelerator.FOLDER / accelerator.MANIFEST).exists():
        pytest.skip("nothing is compiled here: no C compiler, or POINTSMAN_ACCELERATOR=off")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *SUITES]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, TOLD: "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def test_a_twin_of_another_source_is_not_used(tmp_path: Path) -> None:
    (tmp_path / accelerator.MANIFEST).write_text('{"gateway.client": "0"}')
    assert not accelerator.install(tmp_path)


def test_without_twins_the_source_runs(tmp_path: Path) -> None:
    assert not accelerator.install(tmp_path / "nowhere")


def test_a_worker_that_is_told_to_runs_as_python() -> None:
    script = (
        "from gateway import accelerator\n"
        "told = accelerator.install()\n"
        "from gateway import head\n"
        "print(told, head.ACCELERATED)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "POINTSMAN_ACCELERATOR": "off"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "False"]


def test_the_scan_is_used_where_it_is_compiled() -> None:
    assert (head._scan is not None and accelerator.wanted()) == head.ACCELERATED
