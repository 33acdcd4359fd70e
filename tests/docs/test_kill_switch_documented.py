"""Each promise of the kill switch names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.model.kill_protocol import LAWS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kill-switch.md").read_text()
PROMISES = dict(re.findall(r"^\| (K\d+) \|(.*)$", PAGE, re.MULTILINE))
WITNESSES = sorted(set(re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE)))


def test_every_invariant_has_its_row_and_a_witness() -> None:
    assert list(PROMISES) == [f"K{number}" for number in range(1, 13)]
    assert [name for name, row in PROMISES.items() if "::test_" not in row] == []


def test_every_law_of_the_model_is_a_promise_of_the_page() -> None:
    assert set(LAWS) <= set(PROMISES)
    assert [name for name in LAWS if "test_kill_protocol.py::" not in PROMISES[name]] == []


@pytest.mark.parametrize(("name", "test"), WITNESSES)
def test_a_witness_is_there(name: str, test: str) -> None:
    files = list((ROOT / "tests").rglob(name))
    assert len(files) == 1
    assert f"\ndef {test}(" in files[0].read_text()
