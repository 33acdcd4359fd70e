"""What is shipped for containers agrees with the program that runs in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from console.app import app
from routing.exposure import check
from settings import file

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "example"
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def test_the_example_configuration_is_valid_and_names_the_composed_services() -> None:
    settings = file.load(EXAMPLE / "pointsman.yaml")
    (endpoint,) = settings.endpoints
    assert endpoint.candidate is not None
    servers = [*endpoint.incumbent.upstreams, *endpoint.candidate.upstreams]
    assert {server.host for server in servers} == SERVICES.keys() - {"gateway"}
    assert settings.inert == ()


def test_the_example_flag_file_has_the_endpoint_s_flag() -> None:
    content = (EXAMPLE / "flags.json").read_bytes()
    check(content)
    (endpoint,) = file.load(EXAMPLE / "pointsman.yaml").endpoints
    assert endpoint.flag is not None
    assert f'"{endpoint.flag}"'.encode() in content


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
def test_every_service_builds_a_stage_that_exists_and_drops_its_privileges(service: dict[str, Any]) -> None:
    stage = DOCKERFILE.split(f" AS {service['build']['target']}\n", 1)[1].split("\nFROM ", 1)[0]
    assert "\nUSER pointsman\n" in stage
    assert service["cap_drop"] == ["ALL"]


def test_the_files_that_the_image_is_built_from_are_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    built = (ROOT / "pyproject.toml").read_text().split("packages = [", 1)[1].split("]", 1)[0]
    packages = {name.strip(' \n"') for name in built.split(",") if name.strip()}
    assert sent == packages | {"pyproject.toml", "README.md", "LICENSE"}


def test_the_readme_s_configuration_is_valid(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    configuration = readme.split("```yaml\n", 1)[1].split("```", 1)[0]
    flags = readme.split("```json\n", 1)[1].split("```", 1)[0]
    (tmp_path / "flags.json").write_text(flags)
    path = tmp_path / "pointsman.yaml"
    path.write_text(configuration.replace("flags.json", str(tmp_path / "flags.json")))
    done = CliRunner().invoke(app, ["check", "-c", str(path)])
    assert (done.exit_code, done.stderr) == (0, "")
