"""What the chart renders: what Kubernetes takes, the gateway reads, and a restricted cluster lets in."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from domain.errors import ConfigError
from settings import file
from settings.schema import Settings
from tests.support.helm import CHART, MissingError, documents, helm, plain, program, refusal, rendered

ROOT = Path(__file__).parents[2]
PLAIN = ROOT / "deploy" / "kubernetes"
LAYOUTS = ("central", "sidecar", "application", "single")
KUBERNETES = ("1.31", "1.34", "1.37")
CUSTOM = {"ServiceMonitor"}
"""Kinds that are not Kubernetes' own."""


def _values(layout: str) -> Path:
    return CHART / "ci" / f"{layout}-values.yaml"


@pytest.fixture(scope="module")
def chart() -> dict[str, list[dict[str, Any]]]:
    """The manifests of each layout."""
    try:
        program()
    except MissingError as error:
        pytest.skip(str(error))
    return {layout: documents(rendered(_values(layout))) for layout in LAYOUTS}


def _kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (one for one in manifests if one["kind"] == kind)
    return found


def _pods(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The specification of every pod."""
    deployment = _kind(manifests, "Deployment")["spec"]["template"]["spec"]
    jobs = [one["spec"]["jobTemplate"]["spec"] for one in manifests if one["kind"] == "CronJob"]
    return [deployment, *(job["template"]["spec"] for job in jobs)]


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def _gateway(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    pod = _kind(manifests, "Deployment")["spec"]["template"]["spec"]
    (found,) = (one for one in _containers(pod) if one["name"] == "gateway")
    return found


# ---- what Kubernetes takes --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_manifest_is_valid(layout: str, version: str, chart: dict[str, list[dict[str, Any]]]) -> None:
    own = [one for one in chart[layout] if one["kind"] not in CUSTOM]
    assert len(own) >= 6
    for manifest in own:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_with_a_wrong_field_would_be_found(chart: dict[str, list[dict[str, Any]]]) -> None:
    deployment = _kind(chart["central"], "Deployment")
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_helm_finds_nothing_to_complain_about(layout: str, chart: dict[str, list[dict[str, Any]]]) -> None:
    assert chart[layout]
    done = helm("lint", CHART, "--strict", "--values", _values(layout))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 chart(s) failed" in done.stdout


@pytest.mark.parametrize("name", ["central", "sidecar"])
def test_the_plain_manifests_are_what_the_chart_renders(
    name: str, chart: dict[str, list[dict[str, Any]]]
) -> None:
    assert chart[name]
    assert documents((PLAIN / f"{name}.yaml").read_text()) == documents(plain(name)), (
        f"make it anew: python -m tests.support.helm {name} > deploy/kubernetes/{name}.yaml"
    )


@pytest.mark.parametrize("name", ["central", "sidecar"])
def test_the_plain_manifests_are_valid_without_helm(name: str) -> None:
    text = (PLAIN / f"{name}.yaml").read_text()
    assert "helm.sh" not in text
    for manifest in documents(text):
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, KUBERNETES[1], strict=True)
        assert manifest["metadata"]["namespace"] == "models"


# ---- what the gateway reads -------------------------------------------------------------------------------


def _settings(manifests: list[dict[str, Any]], folder: Path) -> Settings:
    """The mounted configuration as the gateway reads it. Raises ConfigError."""
    data = _kind(manifests, "ConfigMap")["data"]
    for name, text in data.items():
        (folder / name).write_text(text)
    return file.load(folder / "pointsman.yaml")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gateway_takes_the_mounted_configuration(
    layout: str, chart: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    settings = _settings(chart[layout], tmp_path)
    inside = layout == "application"
    assert str(settings.listen) == ("127.0.0.1:8080" if inside else "0.0.0.0:8080")
    assert str(settings.admin) == "0.0.0.0:8081"
    assert settings.inert == ()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_path_of_the_configuration_is_mounted(
    layout: str, chart: dict[str, list[dict[str, Any]]]
) -> None:
    text = _kind(chart[layout], "ConfigMap")["data"]["pointsman.yaml"]
    mounted = [one["mountPath"] for one in _gateway(chart[layout])["volumeMounts"]]
    paths = re.findall(r"(?<![:/\w])/(?:etc|var)/[\w./-]+", text) + re.findall(r"sqlite:///(/\S+)", text)
    assert paths
    for path in paths:
        assert any(path.startswith(f"{folder}/") for folder in mounted), path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_secret_that_the_configuration_asks_for_is_in_the_environment(
    layout: str, chart: dict[str, list[dict[str, Any]]]
) -> None:
    text = _kind(chart[layout], "ConfigMap")["data"]["pointsman.yaml"]
    given = {one["name"] for one in _gateway(chart[layout])["env"]}
    assert set(re.findall(r"_env: (\S+)", text)) <= given
    for one in _gateway(chart[layout])["env"]:
        plain_text = one["name"] in ("POINTSMAN_ADMIN", "POINTSMAN_CA")
        assert set(one) == {"name", "value" if plain_text else "valueFrom"}, "a secret is never written out"


def test_no_manifest_holds_a_secret(chart: dict[str, list[dict[str, Any]]]) -> None:
    assert all(one["kind"] != "Secret" for manifests in chart.values() for one in manifests)


# ---- draining ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_pod_has_longer_than_its_gateway_takes_to_end(
    layout: str, chart: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    drain = _settings(chart[layout], tmp_path).drain
    pod = _kind(chart[layout], "Deployment")["spec"]["template"]["spec"]
    before = _gateway(chart[layout]).get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 0})
    workers, control = 5, 5  # beyond `drain`: gateway.workers.GRACE and gateway.supervisor.CONTROL_GRACE
    assert pod["terminationGracePeriodSeconds"] > before["seconds"] + drain + workers + control


def test_a_rollout_takes_no_gateway_away_before_another_is_ready(
    chart: dict[str, list[dict[str, Any]]],
) -> None:
    strategy = _kind(chart["central"], "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    gateway = _gateway(chart["central"])
    assert gateway["readinessProbe"]["httpGet"] == {"path": "/-/ready", "port": "http", "scheme": "HTTP"}
    waits, looks = gateway["lifecycle"]["preStop"]["sleep"]["seconds"], gateway["readinessProbe"]
    assert waits >= looks["failureThreshold"] * looks["periodSeconds"]


def test_a_file_of_sqlite_never_has_two_gateways(chart: dict[str, list[dict[str, Any]]]) -> None:
    spec = _kind(chart["single"], "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_a_model_behind_the_gateway_of_its_pod_outlives_it(chart: dict[str, list[dict[str, Any]]]) -> None:
    pod = _kind(chart["sidecar"], "Deployment")["spec"]["template"]["spec"]
    (model,) = (one for one in pod["containers"] if one["name"] != "gateway")
    held = model["lifecycle"]["preStop"]["sleep"]["seconds"]
    drained = _gateway(chart["sidecar"])["lifecycle"]["preStop"]["sleep"]["seconds"] + 30
    assert drained < held < pod["terminationGracePeriodSeconds"]


def test_a_gateway_beside_an_application_is_there_before_it_and_after_it(
    chart: dict[str, list[dict[str, Any]]],
) -> None:
    pod = _kind(chart["application"], "Deployment")["spec"]["template"]["spec"]
    (gateway,) = pod["initContainers"]
    assert (gateway["name"], gateway["restartPolicy"]) == ("gateway", "Always")
    services = [one["metadata"]["name"] for one in chart["application"] if one["kind"] == "Service"]
    assert services == ["rain-admin"], "nobody calls it from outside"


# ---- what a restricted cluster lets in --------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_pod_is_restricted(layout: str, chart: dict[str, list[dict[str, Any]]]) -> None:
    for pod in _pods(chart[layout]):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all({"hostPath"}.isdisjoint(volume) for volume in pod.get("volumes", ()))
        for container in _containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["runAsNonRoot"] is True
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            assert re.search(r":\d+\.\d+\.\d+$|@sha256:", container["image"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_who_is_named_reaches_the_admin_port(
    layout: str, chart: dict[str, list[dict[str, Any]]]
) -> None:
    policy = _kind(chart[layout], "NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    for rule in policy["ingress"]:
        assert rule["from"], "an empty list would be everybody"
        assert rule["ports"]
    for rule in policy["egress"]:
        assert rule["to"]
    (admin,) = (rule for rule in policy["ingress"] if rule["ports"][0]["port"] == "admin")
    assert {"podSelector": {}} not in admin["from"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_selectors_and_names_lead_to_something(layout: str, chart: dict[str, list[dict[str, Any]]]) -> None:
    manifests = chart[layout]
    labels = _kind(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    ports = {port["name"] for port in _gateway(manifests)["ports"]}
    for service in (one for one in manifests if one["kind"] == "Service"):
        assert service["spec"]["selector"].items() <= labels
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for one in (one for one in manifests if one["kind"] == kind):
            selector = one["spec"].get("selector", one["spec"].get("podSelector"))
            assert selector["matchLabels"].items() <= labels
    for monitor in (one for one in manifests if one["kind"] == "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = (
            one
            for one in manifests
            if one["kind"] == "Service" and wanted <= one["metadata"]["labels"].items()
        )
        assert {one["port"] for one in monitor["spec"]["endpoints"]} <= {
            port["name"] for port in service["spec"]["ports"]
        }
        assert {one["path"] for one in monitor["spec"]["endpoints"]} == {"/metrics", "/metrics/models"}


# ---- what is refused --------------------------------------------------------------------------------------

REFUSED = {
    "a database that goes with its pod": (
        "central", ['config.state.database="sqlite:////tmp/p.db"'],
        'config.state.database: "sqlite:////tmp/p.db" would be lost with its pod',
    ),
    "no database": ("central", ["config.state.database=null"], "would be lost with its pod"),
    "several gateways without Redis": ("central", ["config.state.redis=null"], "config.state.redis: several"),
    "SQLite for two": ("single", ["replicas=2"], "replicas: SQLite belongs to one gateway"),
    "SQLite beside the volume": (
        "single", ['config.state.database="sqlite:////tmp/p.db"'], "is not on the volume",
    ),
    "an open admin port": (
        "central", ['auth.tokensSecret.name=""'], "auth.tokensSecret.name: the admin port is reachable",
    ),
    "tokens in the clear": ("central", ['tls.adminSecret=""'], "tls.adminSecret: tokens would travel"),
    "an address": ("central", ['config.admin="127.0.0.1:8081"'], "config.admin: leave it out"),
    "no endpoint": ("central", ["config.endpoints=null"], "config.endpoints: there is none"),
    "an unknown value": ("central", ["replica=3"], "replica"),
    "the tag latest": ("central", ['image.tag="latest"'], "/image/tag"),
    "no time to be forgotten in": ("central", ["preStopSeconds=0"], "/preStopSeconds"),
    "a sidecar beside nothing": ("sidecar", ["sidecar.containers=[]"], "sidecar.containers: there is none"),
    "drills by jobs at any of several": (
        "central", ['drills=[{"endpoint":"rain","schedule":"0 3 * * 1"}]'], "drills: jobs ask any replica",
    ),
    "a drill without token": (
        "single", ['drillJob.tokenSecret.name=""'], "drillJob.tokenSecret.name: jobs need a token",
    ),
    "metrics that nobody may read": (
        "central", ['serviceMonitor.tokenSecret.name=""'], "serviceMonitor.tokenSecret.name",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("layout", "changes", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_lose_kills_or_let_everybody_in_is_refused(
    layout: str, changes: list[str], said: str, chart: dict[str, list[dict[str, Any]]]
) -> None:
    assert chart[layout], "without the change it is rendered"
    assert said in refusal(_values(layout), changes)


# ---- what the chart says of itself ------------------------------------------------------------------------


def test_the_chart_is_of_this_release() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    said = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (said["version"], said["appVersion"]) == (version, version)


def test_every_value_is_documented() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text()
    for name in yaml.safe_load((CHART / "values.yaml").read_text()):
        assert f"`{name}" in page, name


def test_a_configuration_error_of_the_values_is_the_gateway_s_own(
    chart: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    values = yaml.safe_load(_values("central").read_text())
    values["config"]["endpoints"]["rain"]["guards"]["flip"] = {"rate": "1%"}
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"endpoints\.rain\.guards\.flip"):
        _settings(documents(rendered(path)), tmp_path)
