"""What `pointsman check` says of lineage: it warns, for a gateway would serve all the same."""

from __future__ import annotations

import json
from pathlib import Path

from console.checking import review
from tests.support.control import document, write


def warnings(folder: Path, lineage: str | None) -> tuple[str, ...]:
    configuration = document(folder)
    configuration["registry"] = {"path": str(folder / "lineage.yaml")}
    if lineage is not None:
        (folder / "lineage.yaml").write_text(lineage)
    settings, problems, found = review(write(folder, configuration))
    assert settings is not None
    assert problems == ()
    return found


def test_a_version_that_the_lineage_file_does_not_have_is_warned_of(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, json.dumps({"versions": {"rain-1": {}}}))
    assert warning.startswith("endpoints.rain.candidate: ")
    assert "no 'rain-2'" in warning


def test_a_lineage_file_that_cannot_be_read_is_warned_of(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, None)
    assert warning.startswith("registry.path: ")
    (warning,) = warnings(tmp_path, "versions: {rain-1: {comit: x}}")
    assert "did you mean 'commit'" in warning


def test_a_whole_lineage_file_gives_no_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, json.dumps({"versions": {"rain-1": {}, "rain-2": {}}})) == ()
