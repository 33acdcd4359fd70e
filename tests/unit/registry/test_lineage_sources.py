"""What is read from each registry that can be had here: the whole record, field by field."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError, LineageUnknown, StateUnavailable
from domain.lineage import Dataset, Lineage, missing
from domain.reference import Registry, reference
from registry.catalog import Catalog
from registry.rest import Rest
from registry.sources import dvc
from registry.sources.delta import DeltaTables
from registry.sources.dvc import Dvc
from registry.sources.file import LineageFile
from registry.sources.runs import KeptRuns, WandbRuns
from settings.registries import RegistryServer as Address
from settings.registries import RegistrySettings
from tests.support import lineage
from tests.support.lineage import COMMIT, RUN, Repository
from tests.support.registry_server import RegistryServer, Reply, wandb


def test_the_hub_gives_the_revisions_commit_and_what_the_card_says(tmp_path: Path) -> None:
    with lineage.huggingface(tmp_path) as scene:
        found = asyncio.run(scene.source.lookup(scene.known))
    url = found.datasets[0].location.removesuffix("/datasets/acme/weather")
    assert found == Lineage(
        source="hf://acme/rain@main",
        version=COMMIT,
        datasets=(
            Dataset("acme/weather", location=f"{url}/datasets/acme/weather"),
            Dataset("acme/soil", location=f"{url}/datasets/acme/soil"),
        ),
        metrics=(("Weather/accuracy", 0.91),),
        created=1767323045.0,
        registered=1770001445.0,
        artifact_digest=f"git:{COMMIT}",
        author="acme",
    )


def test_a_run_of_weights_and_biases_gives_its_settings_and_results(tmp_path: Path) -> None:
    with lineage.weights_and_biases(tmp_path) as scene:
        found = asyncio.run(scene.source.lookup(scene.known))
    assert found == Lineage(
        source="wandb:acme/rain/1abc",
        version="1abc",
        commit=COMMIT,
        hyperparameters=(("depth", "7"),),
        metrics=(("accuracy", 0.91),),
        created=1767323045.0,
        author="ada",
        runs=("wandb:acme/rain/1abc",),
    )


def test_a_refusal_of_weights_and_biases_is_no_answer() -> None:
    server = RegistryServer(lambda asked: Reply({"errors": [{"message": "permission denied"}]}))
    try:
        source = WandbRuns(Rest("Weights & Biases", Address(server.url, "KEY", "api"), "hush"))
        with pytest.raises(StateUnavailable, match="permission denied"):
            asyncio.run(source.lookup(reference("wandb:a/b/c")))
        assert server.asked[0].body["variables"] == {"entity": "a", "project": "b", "name": "c"}
    finally:
        server.stop()


def test_a_pipeline_gives_its_data_parameters_metrics_and_model(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "rain")
    commit = repository.pipeline("01" * 16)
    found = asyncio.run(Dvc(str(repository.folder)).lookup(reference("dvc:train@main")))
    assert found == Lineage(
        source="dvc:train@main",
        version=commit,
        datasets=(Dataset("data/rain.csv", commit, "md5:" + "01" * 16, "data/rain.csv"),),
        commit=commit,
        repository="https://git.example/rain.git",
        hyperparameters=(("depth", "7"), ("layers", '{"first":3}'), ("other.yaml:seed", "1")),
        metrics=(("holdout.accuracy", 0.91),),
        created=1767323045.0,
        artifact_digest="md5:" + "10" * 16,
        author="Ada",
    )


def test_a_pipeline_is_read_at_its_revision_and_in_its_folder(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "rain")
    first = repository.pipeline("0" * 32, "models/rain")
    repository.pipeline("1" * 32, "models/rain")
    source = Dvc(str(repository.folder))
    name = "dvc:models/rain/dvc.lock:train"
    before = asyncio.run(source.lookup(reference(f"{name}@{first}")))
    after = asyncio.run(source.lookup(reference(f"{name}@main")))
    assert before.datasets[0].digest == "md5:" + "0" * 32
    assert after.datasets[0].digest == "md5:" + "1" * 32
    assert after.datasets[0].location == "models/rain/data/rain.csv"
    assert after.metrics == (("holdout.accuracy", 0.91),)


@pytest.mark.parametrize("text", ["dvc:evaluate@main", "dvc:train@v9", "dvc:elsewhere/dvc.lock:train@main"])
def test_a_pipeline_that_is_not_there_is_unknown(tmp_path: Path, text: str) -> None:
    repository = Repository(tmp_path / "rain")
    repository.pipeline("0" * 32)
    with pytest.raises(LineageUnknown):
        asyncio.run(Dvc(str(repository.folder)).lookup(reference(text)))


def test_metrics_are_read_beside_the_loop_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "rain")
    repository.pipeline("0" * 32)
    readers: list[threading.Thread] = []
    decode = dvc._decoded

    def decoded(path: str, content: bytes) -> object:
        readers.append(threading.current_thread())
        return decode(path, content)

    monkeypatch.setattr(dvc, "_decoded", decoded)
    source = Dvc(str(repository.folder))
    assert asyncio.run(source.lookup(reference("dvc:train@main"))).metrics == (("holdout.accuracy", 0.91),)
    assert len(readers) == 1
    assert readers[0] is not threading.main_thread()
    for beyond in (0, 1):
        metrics = '{"accuracy": 0.5}'.ljust(64 * 1024 + beyond)
        (repository.folder / "metrics.json").write_text(metrics)
        repository.git("commit", "--quiet", "-am", "longer")
        expected = () if beyond else (("accuracy", 0.5),)
        assert asyncio.run(source.lookup(reference("dvc:train@main"))).metrics == expected


def test_a_lock_file_that_is_no_yaml_is_told_with_its_place(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "rain")
    repository.pipeline("0" * 32)
    (repository.folder / "dvc.lock").write_text("stages: [\n")
    repository.git("commit", "--quiet", "-am", "broken")
    with pytest.raises(ConfigError, match=r"dvc\.lock"):
        asyncio.run(Dvc(str(repository.folder)).lookup(reference("dvc:train@main")))


def test_a_table_gives_its_version_and_a_digest_of_what_is_in_it(tmp_path: Path) -> None:
    where = tmp_path / "table"
    for _ in range(2):
        lineage.append(where)
    source = DeltaTables({"weather": str(where)})

    async def scenario() -> list[Lineage]:
        names = ("delta:weather@0", "delta:weather@1", "delta:weather")
        return [await source.lookup(reference(name)) for name in names]

    first, second, newest = asyncio.run(scenario())
    assert [one.version for one in (first, second, newest)] == ["0", "1", "1"]
    assert first.datasets[0].digest != second.datasets[0].digest
    assert newest.datasets == second.datasets
    assert second.datasets[0].location == f"file://{where}/"
    assert (second.datasets[0].name, second.datasets[0].version) == ("rain", "1")
    assert missing(second, ["dataset_digest", "schema", "created"]) == ()


def test_a_table_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    source = DeltaTables({"weather": str(tmp_path / "nothing")})
    for text in ("delta:weather", "delta:soil"):
        with pytest.raises(LineageUnknown):
            asyncio.run(source.lookup(reference(text)))


def test_a_lineage_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "lineage.yaml"
    source = LineageFile(str(path))
    with pytest.raises(ConfigError, match=r"registry\.path.*cannot be read"):
        asyncio.run(source.lookup(reference("rain")))
    path.write_text("versions: {rain: {commit: one}}")
    assert asyncio.run(source.lookup(reference("rain"))).commit == "one"
    path.write_text("versions: {rain: {comit: three}}")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"lineage\.yaml: versions\.rain\.comit"):
            asyncio.run(source.lookup(reference("rain")))
    path.write_text("versions: [")
    with pytest.raises(ConfigError, match=r"lineage\.yaml, line 1"):
        asyncio.run(source.lookup(reference("rain")))
    path.write_text("versions: {rain: {commit: four}}")
    assert asyncio.run(source.lookup(reference("rain"))).commit == "four"


class Answering:
    """A source that gives a record, or raises."""

    def __init__(self, answer: Lineage | Exception) -> None:
        self._answer = answer

    async def lookup(self, one: Any) -> Lineage:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    async def close(self) -> None: ...


def looked_up(**answers: Lineage | Exception) -> Any:
    catalog = Catalog({Registry(name): Answering(answer) for name, answer in answers.items()})
    references = [reference({"file": "rain", "delta": "delta:rain@1"}[name]) for name in answers]
    return asyncio.run(catalog.lookup(references))


def test_several_references_make_one_record() -> None:
    found = looked_up(file=Lineage("file:rain", commit="4f"), delta=Lineage("delta:rain@1", version="1"))
    assert (found.record.commit, found.record.version, found.gaps) == ("4f", "1", ())


def test_a_reference_that_leads_nowhere_leaves_a_gap_beside_another() -> None:
    found = looked_up(file=LineageUnknown("no rain"), delta=Lineage("delta:rain@1", version="1"))
    assert (found.record.source, found.gaps) == ("delta:rain@1", ("no rain",))
    with pytest.raises(LineageUnknown, match="no rain; no table"):
        looked_up(file=LineageUnknown("no rain"), delta=LineageUnknown("no table"))


def test_half_a_record_is_not_taken_for_a_whole_one() -> None:
    with pytest.raises(StateUnavailable):
        looked_up(file=Lineage("file:rain", commit="4f"), delta=StateUnavailable("away"))


def test_a_registry_that_is_not_configured_knows_nothing() -> None:
    catalog = Catalog.open(RegistrySettings(), {})
    with pytest.raises(LineageUnknown, match="no such registry"):
        asyncio.run(catalog.lookup([reference("models:/rain/1")]))
    with pytest.raises(LineageUnknown, match="no lineage is configured"):
        asyncio.run(catalog.lookup([]))
    kept = asyncio.run(catalog.lookup([reference("wandb:a/b/c")]))
    assert kept.record.runs == ("wandb:a/b/c",)
    asyncio.run(catalog.close())


def test_a_run_is_asked_for_where_there_is_a_token() -> None:
    server = RegistryServer(wandb({"a/b/c": RUN | {"name": "c"}}))
    try:
        settings = RegistrySettings(wandb=Address(server.url, "KEY", "api"))

        async def scenario() -> Lineage:
            catalog = Catalog.open(settings, {"KEY": "hush"})
            found = await catalog.lookup([reference("wandb:a/b/c")])
            await catalog.close()
            return found.record

        assert asyncio.run(scenario()).commit == COMMIT
        assert server.asked[0].fields["authorization"].startswith("Basic ")
        with pytest.raises(ConfigError, match=r"registry\.wandb\.token_env"):
            Catalog.open(settings, {})
    finally:
        server.stop()
    assert asyncio.run(KeptRuns().lookup(reference("neptune:a/b/c"))).commit == ""


def test_git_that_hangs_is_ended_and_git_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(dvc, "DEADLINE", 0.2)
    with pytest.raises(StateUnavailable, match=r"took longer than 0\.2 s"):
        asyncio.run(Dvc(str(tmp_path)).lookup(reference("dvc:train@main")))
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(StateUnavailable, match="git cannot be started"):
        asyncio.run(Dvc(str(tmp_path)).lookup(reference("dvc:train@main")))
