"""What was compiled from another source is not used, and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import accelerator

SCAN = "gateway._scan"


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POINTSMAN_ACCELERATOR", raising=False)


@pytest.fixture
def built(tmp_path: Path, wanted: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as if everything had just been compiled; what lies beside the sources is empty files."""
    monkeypatch.setattr(accelerator, "beside", lambda module: tmp_path / f"{module}.so")
    for module in accelerator.BESIDE:
        accelerator.beside(module).touch()
    return write(tmp_path, accelerator.digests())


def write(folder: Path, digests: dict[str, str]) -> Path:
    (folder / accelerator.MANIFEST).write_text(json.dumps(digests))
    return folder


def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The extensions that are loaded from now on."""
    names: list[str] = []
    monkeypatch.setattr("importlib.import_module", names.append)
    return names


def test_an_extension_of_this_source_is_loaded(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = loaded(monkeypatch)
    accelerator.extension(SCAN, built)
    assert names == [SCAN]
    assert accelerator.stale(built) == []


def test_an_extension_of_another_source_is_not_even_loaded(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = loaded(monkeypatch)
    write(built, accelerator.digests() | {SCAN: "0" * 64})
    assert accelerator.extension(SCAN, built) is None
    assert names == []
    assert accelerator.stale(built) == [SCAN]


@pytest.mark.parametrize("manifest", ["", "[]", '{"gateway.client": 1', "{}"])
def test_what_nobody_knows_the_source_of_is_not_used(built: Path, manifest: str) -> None:
    (built / accelerator.MANIFEST).write_text(manifest)
    assert accelerator.extension(SCAN, built) is None
    assert not accelerator.usable(built)
    assert accelerator.stale(built) == list(accelerator.BESIDE)


def test_an_extension_that_cannot_be_loaded_is_done_without(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> object:
        raise ImportError(f"{name}: undefined symbol")

    monkeypatch.setattr("importlib.import_module", load)
    assert accelerator.extension(SCAN, built) is None


def test_a_changed_module_makes_all_twins_stale_and_is_named(built: Path) -> None:
    for module in ("gateway.client", "routing._murmur", "shadow._mirrored"):
        write(built, accelerator.digests() | {module: "0" * 64})
        assert not accelerator.usable(built)
        assert accelerator.stale(built) == [module]


def test_where_nothing_is_compiled_nothing_is_stale(tmp_path: Path, built: Path) -> None:
    for module in accelerator.BESIDE:
        accelerator.beside(module).unlink()
    assert accelerator.stale(tmp_path / "nowhere") == []
    assert accelerator.extension(SCAN, built) is None


def test_where_nothing_is_wanted_nothing_is_said(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(built, {})
    monkeypatch.setenv("POINTSMAN_ACCELERATOR", "off")
    assert accelerator.stale(built) == []
    assert accelerator.extension(SCAN, built) is None
