"""Every test that docs/reliability.md calls as a witness is there, and so are the files that pages name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()
WITNESSES = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", RELIABILITY)))
ROWS = [line for line in RELIABILITY.splitlines() if line.startswith("| ") and "shown by" not in line]


@pytest.mark.parametrize(("name", "test"), WITNESSES)
def test_a_witness_is_there(name: str, test: str) -> None:
    files = list((ROOT / "tests").rglob(name))
    assert len(files) == 1
    assert f"\ndef {test}(" in files[0].read_text()


def test_each_fault_has_a_witness() -> None:
    assert len(ROWS) > 40
    assert [row for row in ROWS if "::" not in row] == []


def test_the_files_that_the_http_page_names_are_there() -> None:
    page = (ROOT / "docs" / "http.md").read_text()
    named = set(re.findall(r"`(tests/[\w/.]+)`", page))
    assert len(named) >= 5
    assert [name for name in named if not (ROOT / name).exists()] == []
