"""Prometheus and Grafana as they are shipped for containers agree with the gateway beside them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.dashboards.rendering import SOURCE
from settings import file
from tests.support.prometheus import MissingError, program

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "docker-compose.monitoring.yml").read_text())[
    "services"
]
ADDED = {name: service for name, service in SERVICES.items() if name != "gateway"}
SCRAPING = ROOT / "deploy" / "prometheus" / "prometheus.yml"
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


@pytest.mark.parametrize("service", ADDED.values(), ids=ADDED.keys())
def test_every_service_drops_its_privileges_and_every_image_is_pinned(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_prometheus_scrapes_the_example_s_admin_port() -> None:
    admin = str(file.load(ROOT / "deploy" / "example" / "pointsman.yaml").admin)
    jobs = yaml.safe_load(SCRAPING.read_text())["scrape_configs"]
    assert {job["job_name"]: job.get("metrics_path", "/metrics") for job in jobs} == {
        "pointsman": "/metrics",
        "pointsman-models": "/metrics/models",
    }
    assert {target for job in jobs for one in job["static_configs"] for target in one["targets"]} == {admin}


def test_prometheus_reads_its_configuration_and_the_rules() -> None:
    try:
        tool = program("promtool")
    except MissingError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [tool, "check", "config", str(SCRAPING)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_the_boards_where_they_are_written_and_prometheus_where_it_is() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "pointsman.yml").read_text())["providers"]
    assert f"dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
    assert SERVICES["dashboards"]["command"] == ["dashboards", "/dashboards"]
    assert "dashboards:/dashboards" in SERVICES["dashboards"]["volumes"]
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["type"] == SOURCE.type_val
    assert source["url"] == "http://gateway:9090"
    assert SERVICES["prometheus"]["network_mode"] == "service:gateway"
