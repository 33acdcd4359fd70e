"""Every alert leads to its own section of the runbook, and every section belongs to an alert."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.support.control import ROOT

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text().split("\n## Alerts\n", 1)[1]
    alone = re.split(r"^## ", text, flags=re.MULTILINE)[0]
    sections = dict(re.findall(r"^### (\w+)\n\n(.+)$", alone, flags=re.MULTILINE))
    assert sections.keys() == ALERTS.keys()


def test_every_alert_names_its_section_a_severity_and_what_is_the_matter() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        assert len(rule["annotations"]["summary"]) > 20, name


def test_every_metric_that_a_rule_asks_for_exists() -> None:
    """Recorded ones are `pointsman:...`, those exposed stand in docs/metrics.md."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    exposed = set(re.findall(r"^\| `(pointsman_\w+)`", text, re.MULTILINE))
    exposed |= {f"{name}_{suffix}" for name in exposed for suffix in ("bucket", "sum", "count")}
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    for rule in RULES:
        asked = set(re.findall(r"\bpointsman[_:][\w:]+", rule["expr"]))
        assert asked <= exposed | recorded, rule
