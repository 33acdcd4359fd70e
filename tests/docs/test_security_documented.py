"""Every mitigation in docs/security.md names a test that is there, and every file that it names is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from domain.role import ROLES
from settings.parse import problems

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
THREATS = [line for line in PAGE.splitlines() if re.match(r"\| [STRIDE] \|", line)]
WITNESSES = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)))


@pytest.mark.parametrize(("name", "test"), WITNESSES)
def test_the_test_of_a_mitigation_is_there(name: str, test: str) -> None:
    files = list((ROOT / "tests").rglob(name))
    assert files
    assert any(f"\ndef {test}(" in one.read_text() for one in files)


def test_every_threat_has_a_mitigation_with_a_test() -> None:
    assert len(THREATS) >= 30
    assert {line[2] for line in THREATS} == set("STRIDE")
    assert [line for line in THREATS if "::" not in line.split("|")[4]] == []


def test_every_row_of_the_standard_has_evidence_or_says_no() -> None:
    rows = [
        line.split("|") for line in PAGE.split("## OWASP ASVS", 1)[1].splitlines() if re.match(r"\| \d", line)
    ]
    assert len(rows) >= 20
    assert [row[1] for row in rows if not row[3].strip() and not row[2].strip().startswith("no")] == []


def test_every_file_that_is_named_is_there() -> None:
    assert [
        one for one in re.findall(r"`((?:control|settings)/[\w/]+\.py)`", PAGE) if not (ROOT / one).is_file()
    ] == []


def test_every_role_is_told_of_in_order() -> None:
    assert re.findall(r"^\| (viewer|operator|release|admin) \|", PAGE, re.MULTILINE) == list(ROLES)


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_every_configuration_shown_is_one(block: str) -> None:
    found = [one for one in problems(yaml.safe_load(block)) if not one.path.startswith("endpoints")]
    assert found == []
