"""Lineage from a real MLflow server: what it says of a version, aliases that move, and its absence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from domain.errors import LineageUnknown
from domain.lineage import Dataset, Lineage
from domain.reference import reference
from domain.routing import Arm
from examples.rain import platforms
from registry.rest import Rest
from registry.sources.mlflow import Mlflow
from settings.registries import RegistryServer as Address
from tests.support import model_servers
from tests.support.control import Here, document, here, write
from tests.support.lineage import COMMIT, MlflowStore
from tests.support.model_servers import ServerMissingError
from tests.support.registry_server import RegistryServer, Reply

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

PATIENCE = 60.0
"""Seconds for what takes some requests to a server on a busy machine."""


@pytest.fixture(scope="module")
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def url(running: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> str:
    try:
        return running.enter_context(model_servers.mlflow_registry(tmp_path_factory.mktemp("mlflow")))
    except ServerMissingError as error:
        pytest.skip(f"MLflow cannot be had here: {error}")


def named(record: Lineage | None) -> str | None:
    return None if record is None else record.version


def test_the_example_s_models_are_registered_once_with_what_they_were_made_of(url: str) -> None:
    mlflow = platforms.Service(f"{url}/api/2.0/mlflow", {})
    assert platforms.register_models(mlflow, "example-rain")
    assert not platforms.register_models(mlflow, "example-rain"), "what is there stays"
    for number, parameters in enumerate(platforms.TRAINED, 1):
        found = mlflow.ask("GET", f"/model-versions/get?name=example-rain&version={number}")["model_version"]
        run = mlflow.ask("GET", f"/runs/get?run_id={found['run_id']}")["run"]
        assert {one["key"]: one["value"] for one in run["data"]["params"]} == parameters
        (data,) = run["inputs"]["dataset_inputs"]
        assert data["dataset"]["name"] == "rainfall"


async def settled(control: Here, condition: str, commit: str | None) -> dict[str, Any]:
    """What is shown of the candidate once it is `condition` and its record has that version."""
    async with asyncio.timeout(PATIENCE):
        while True:
            held = control.control.lineage.of("rain", Arm.CANDIDATE)
            version = None if held.record is None else held.record.version
            if (held.condition, version) == (condition, commit):
                shown: dict[str, Any] = (await control.endpoint())["candidate"]["lineage"]
                return shown
            await asyncio.sleep(0.02)


def test_a_version_is_told_whole_from_the_registry_and_from_its_run(url: str) -> None:
    store = MlflowStore(url)
    run = store.run(0.91, **{"pointsman.transformation": "v2"})
    store.register(
        "whole", run, feature_schema="v3", artifact_digest="sha256:2", deployed="2026-01-02T03:04:05Z"
    )

    async def scenario() -> Lineage:
        source = Mlflow(Rest("MLflow", Address(url), None))
        try:
            return await source.lookup(reference("models:/whole/1"))
        finally:
            await source.close()

    found = asyncio.run(scenario())
    assert found.registered is not None
    assert found == Lineage(
        source="models:/whole/1",
        version="1",
        datasets=(Dataset("weather", "7", "0123abcd", "/tables/weather"),),
        commit=COMMIT,
        repository="https://git.example/rain",
        schema="v3",
        transformation="v2",
        hyperparameters=(("depth", "7"),),
        metrics=(("accuracy", 0.91),),
        created=1_760_000_000.0,
        registered=found.registered,
        deployed=1767323045.0,
        artifact_digest="sha256:2",
        author="ada",
    )


def test_an_alias_that_moves_in_a_real_registry_is_followed_and_moved_back_by_a_promotion(
    url: str, tmp_path: Path
) -> None:
    store = MlflowStore(url)
    run = store.run(0.9)
    numbers = [store.register("followed", run) for _ in range(3)]
    assert numbers == ["1", "2", "3"]
    models = RegistryServer(lambda asked: Reply({}))

    async def aliases() -> None:
        source = Mlflow(Rest("MLflow", Address(url), None))
        try:
            assert await source.named("followed", "challenger") is None
            assert await source.named("nothing-of-this-name", "challenger") is None
            await source.name("followed", "champion", "1")
            assert await source.named("followed", "champion") == "1"
            with pytest.raises(LineageUnknown):
                await source.name("followed", "champion", "99")
        finally:
            await source.close()

    async def scenario() -> None:
        follow = {
            "model": "followed", "candidate": "challenger", "incumbent": "champion", "settle": "0s",
            "version": "rain-{version}", "urls": [f"{models.url}/{{name}}/{{version}}"], "promote": True,
        }  # fmt: skip
        whole = document(tmp_path, candidate=None, flag=None, watch="1h", follow=follow)
        write(tmp_path, {**whole, "registry": {"mlflow": {"url": url}, "poll": "100ms"}})
        async with here(tmp_path) as control:

            async def until(candidate: str | None, reference: str | None) -> None:
                async with asyncio.timeout(PATIENCE):
                    while True:
                        await control.control.following.look()
                        found = control.control.switchboard.judge("rain").settings
                        its = None if found.candidate is None else found.candidate.name
                        if its == candidate:
                            assert [str(one) for one in found.candidate_lineage] == (
                                [] if reference is None else [reference]
                            )
                            return
                        await asyncio.sleep(0.05)

            store.alias("followed", "challenger", "2")
            await until("rain-2", "models:/followed/2")
            store.alias("followed", "challenger", "3")
            await until("rain-3", "models:/followed/3")
            store.unalias("followed", "challenger")
            await until(None, None)

    try:
        asyncio.run(aliases())
        asyncio.run(scenario())
    finally:
        models.stop()


def test_a_moved_alias_is_told_a_deleted_one_is_none_and_an_outage_leaves_the_last(
    url: str, running: ExitStack, tmp_path: Path
) -> None:
    store = MlflowStore(url)
    for accuracy in (0.91, 0.92):
        store.register("rain", store.run(accuracy))
    store.alias("rain", "champion", "1")
    configuration = document(tmp_path)
    configuration["registry"] = {"source": "mlflow", "poll": "100ms", "mlflow": {"url": url}}
    configuration["endpoints"]["rain"]["candidate"]["lineage"] = "rain@champion"
    write(tmp_path, configuration)

    async def scenario() -> None:
        async with here(tmp_path) as control:
            told: list[tuple[str | None, str | None]] = []
            shown = await settled(control, "known", "1")
            assert (shown["moves"], shown["references"]) == (True, ["models:/rain@champion"])
            assert json.dumps(shown["record"]["metrics"]) == '{"accuracy": 0.91}'
            control.control.lineage.react(
                lambda endpoint, arm, before, after: told.append((named(before), named(after)))
            )
            await asyncio.to_thread(store.alias, "rain", "champion", "2")
            shown = await settled(control, "known", "2")
            assert shown["record"]["metrics"] == {"accuracy": 0.92}
            await asyncio.to_thread(store.unalias, "rain", "champion")
            shown = await settled(control, "none", None)
            assert "champion not found" in shown["reason"]
            await asyncio.to_thread(store.alias, "rain", "champion", "1")
            await settled(control, "known", "1")
            assert told == [("1", "2"), ("2", None), (None, "1")]
            await asyncio.to_thread(running.close)
            shown = await settled(control, "stale", "1")
            assert "MLflow at" in shown["reason"]
            assert shown["stale_since"] is not None
            assert told == [("1", "2"), ("2", None), (None, "1")]

    asyncio.run(scenario())
