"""Prometheus and Grafana as they are shipped for containers agree with the gateway beside them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.dashboards.rendering import SOURCE
from settings import file
from tests.support.prometheus import MissingError, program

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SCRAPING = ROOT / "deploy" / "prometheus" / "prometheus.yml"
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


def test_prometheus_scrapes_the_gateway_with_the_token_that_is_made_for_it() -> None:
    port = str(file.load(ROOT / "deploy" / "compose" / "pointsman.yaml").admin).rpartition(":")[2]
    jobs = yaml.safe_load(SCRAPING.read_text())["scrape_configs"]
    assert {job["job_name"]: job.get("metrics_path", "/metrics") for job in jobs} == {
        "pointsman": "/metrics",
        "pointsman-models": "/metrics/models",
    }
    assert {target for job in jobs for one in job["static_configs"] for target in one["targets"]} == {
        f"gateway:{port}"
    }
    assert {job["authorization"]["credentials_file"] for job in jobs} == {"/etc/pointsman/tokens/prometheus"}
    assert "tokens:/etc/pointsman/tokens:ro" in SERVICES["prometheus"]["volumes"]


def test_prometheus_reads_its_configuration_and_the_rules() -> None:
    try:
        tool = program("promtool")
    except MissingError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [tool, "check", "config", "--syntax-only", str(SCRAPING)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rules = SCRAPING.with_name("rules.yml")
    done = subprocess.run([tool, "check", "rules", str(rules)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_the_boards_where_they_are_written_and_prometheus_where_it_is() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "pointsman.yml").read_text())["providers"]
    assert f"dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
    command, folder = SERVICES["dashboards"]["command"]
    assert command == "dashboards"
    assert f"dashboards:{folder}" in SERVICES["dashboards"]["volumes"]
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["type"] == SOURCE.type_val
    assert source["url"] == "http://prometheus:9090"
    assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES["grafana"]["networks"])
