"""The coverage-guided targets run: a few thousand inputs each, where atheris is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.corpus import write

ROOT = Path(__file__).parents[2]
RUNS = 3000


@pytest.mark.parametrize("target", ["head", "chunks"])
def test_a_target_runs_from_its_corpus_and_finds_nothing(target: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the extra `fuzz` is not installed")
    write(tmp_path)
    command = [sys.executable, "-m", f"tests.fuzz.fuzz_{target}", f"-runs={RUNS}", "-seed=1", "-max_len=2048"]
    command += [f"-dict={tmp_path / 'words.dict'}", f"-artifact_prefix={tmp_path}/", str(tmp_path / target)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done " in done.stderr, "it ran to its end"
