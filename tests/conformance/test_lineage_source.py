"""What every source of lineage promises, whatever keeps the records: see `domain.ports.LineageSource`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError, LineageUnknown, StateUnavailable
from domain.lineage import FIELDS, Lineage, merged, missing
from domain.reference import reference
from registry.sources.runs import KeptRuns
from tests.support import lineage, model_servers
from tests.support.lineage import Scene
from tests.support.model_servers import ServerMissingError

SCENES: dict[str, Callable[[Path], AbstractContextManager[Scene]]] = {
    "file": lineage.file,
    "huggingface": lineage.huggingface,
    "wandb": lineage.weights_and_biases,
    "dvc": lineage.dvc,
    "delta": lineage.delta,
}
MLFLOW = pytest.param("mlflow", marks=[pytest.mark.servers, pytest.mark.timeout(600)])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """The URL of a real MLflow server, started when first asked for."""
    with ExitStack() as running:
        known: list[str] = []

        def url() -> str:
            if not known:
                folder = tmp_path_factory.mktemp("mlflow")
                try:
                    known.append(running.enter_context(model_servers.mlflow_registry(folder)))
                except ServerMissingError as error:
                    pytest.skip(f"MLflow cannot be had here: {error}")
            return known[0]

        yield url


@pytest.fixture(params=[*SCENES, MLFLOW])
def scene(request: pytest.FixtureRequest, tmp_path: Path, server: Callable[[], str]) -> Iterator[Scene]:
    if request.param == "mlflow":
        # Its server is shared: what is out of reach is the address that the source is given then.
        with lineage.mlflow(server(), lambda: None) as made:
            yield made
    else:
        with SCENES[request.param](tmp_path) as made:
            yield made


def run(work: Callable[[Scene], Awaitable[Any]], scene: Scene) -> Any:
    """`work`, and the source closed after it, twice."""

    async def whole() -> Any:
        try:
            return await work(scene)
        finally:
            await scene.source.close()
            await scene.source.close()

    return asyncio.run(whole())


def test_a_record_names_its_source_and_knows_something(scene: Scene) -> None:
    found: Lineage = run(lambda one: one.source.lookup(one.known), scene)
    assert found.source == str(scene.known)
    assert set(missing(found)) < set(FIELDS)
    assert hash(found) == hash(merged([found]))


def test_a_reference_that_leads_nowhere_is_told_as_such(scene: Scene) -> None:
    with pytest.raises(LineageUnknown) as told:
        run(lambda one: one.source.lookup(one.unknown), scene)
    assert scene.unknown.revision.lstrip("@") in str(told.value)


def test_the_same_record_is_found_until_it_changes(scene: Scene) -> None:
    async def scenario(one: Scene) -> None:
        before = await one.source.lookup(one.known)
        assert await one.source.lookup(one.known) == before
        await asyncio.to_thread(one.move)
        after = await one.source.lookup(one.known)
        assert after != before
        assert await one.source.lookup(one.known) == after

    run(scenario, scene)


def test_no_secret_of_an_address_is_in_a_record(scene: Scene) -> None:
    found = run(lambda one: one.source.lookup(one.known), scene)
    assert "hush-hush" not in repr(found)


@pytest.mark.parametrize("kind", SCENES)
def test_a_registry_out_of_reach_is_no_answer(kind: str, tmp_path: Path) -> None:
    async def scenario(one: Scene) -> None:
        await one.source.lookup(one.known)
        await asyncio.to_thread(one.lose)
        with pytest.raises((StateUnavailable, ConfigError)):
            await one.source.lookup(one.known)

    with SCENES[kind](tmp_path) as scene:
        run(scenario, scene)


def test_a_kept_run_is_its_own_record() -> None:
    one = reference("neptune:acme/rain/RAIN-1")
    found = asyncio.run(KeptRuns().lookup(one))
    assert (found.source, found.runs) == (str(one), (str(one),))
    assert missing(found) == FIELDS
