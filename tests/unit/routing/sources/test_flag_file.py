from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from domain.errors import ConfigError, StateUnavailable
from routing.sources.file import FlagFile

LONG_AGO = 1_700_000_000 * 10**9


def flags(share: str) -> bytes:
    strategy = {"name": "flexibleRollout", "parameters": {"rollout": share}}
    feature = {"name": "rain", "enabled": True, "strategies": [strategy]}
    return json.dumps({"version": 2, "features": [feature]}).encode()


def settle(path: Path, seconds: int = 0) -> None:
    """Give the file a time stamp that is long past, so that one look at it is enough."""
    os.utime(path, ns=(LONG_AGO, LONG_AGO + seconds * 10**9))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    path.write_bytes(flags("10"))
    settle(path)
    return path


def test_a_file_that_nobody_touches_is_read_once(path: Path) -> None:
    file = FlagFile(path)
    assert file.changed()
    assert file.read() == flags("10")
    assert not file.changed()
    assert file.document == flags("10")


def test_a_file_written_a_moment_ago_is_looked_at_again(path: Path) -> None:
    path.write_bytes(flags("20"))
    file = FlagFile(path)
    file.read()
    # Within the clock's resolution a second write may leave size and time stamp as they are.
    assert file.changed()
    settle(path)
    file.read()
    assert not file.changed()


def test_an_edit_in_place_is_seen(path: Path) -> None:
    file = FlagFile(path)
    file.read()
    path.write_bytes(flags("20"))
    assert file.changed()
    assert file.read() == flags("20")


def test_an_editor_that_replaces_by_rename_is_seen_even_with_the_old_time_stamp(path: Path) -> None:
    file = FlagFile(path)
    file.read()
    beside = path.with_suffix(".tmp")
    beside.write_bytes(flags("20"))
    settle(beside)
    os.replace(beside, path)
    assert file.changed()
    assert file.read() == flags("20")
    assert not file.changed()


def test_a_switched_symbolic_link_above_the_file_is_seen(tmp_path: Path) -> None:
    for name, share in (("one", "10"), ("two", "20")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "flags.json").write_bytes(flags(share))
        settle(tmp_path / name / "flags.json")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "flags.json").symlink_to("..data/flags.json")
    file = FlagFile(tmp_path / "flags.json")
    assert file.read() == flags("10")
    assert not file.changed()
    (tmp_path / "..data_new").symlink_to("two")
    os.replace(tmp_path / "..data_new", tmp_path / "..data")
    assert file.changed()
    assert file.read() == flags("20")


def test_a_file_that_vanishes_is_reported_once_and_the_last_good_content_stays(path: Path) -> None:
    file = FlagFile(path)
    file.read()
    path.unlink()
    assert file.changed()
    with pytest.raises(ConfigError, match="No such file"):
        file.read()
    assert file.document == flags("10")
    assert not file.changed()
    path.write_bytes(flags("20"))
    settle(path)
    assert file.changed()
    assert file.read() == flags("20")


def test_half_written_content_is_refused_and_the_last_good_content_stays(path: Path) -> None:
    file = FlagFile(path)
    file.read()
    path.write_bytes(flags("20")[:30])
    settle(path, 1)
    assert file.changed()
    with pytest.raises(ConfigError, match="not JSON"):
        file.read()
    assert file.document == flags("10")
    assert not file.changed()
    path.write_bytes(flags("20"))
    settle(path, 2)
    assert file.changed()
    assert file.read() == flags("20")


def test_a_refusal_names_the_file_the_flag_and_the_field(path: Path) -> None:
    path.write_bytes(flags("50%"))
    with pytest.raises(ConfigError) as refused:
        FlagFile(path).read()
    assert str(path) in str(refused.value)
    assert "features[rain].strategies[0 flexibleRollout].parameters.rollout" in str(refused.value)


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "flags.json"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(ConfigError, match="file"):
        FlagFile(path).read()


def test_a_written_document_is_what_is_read(path: Path) -> None:
    file = FlagFile(path)
    file.read()
    file.write(flags("30"))
    assert file.changed()
    assert file.read() == flags("30")


def test_a_document_that_does_not_compile_is_never_written(path: Path) -> None:
    file = FlagFile(path)
    with pytest.raises(ConfigError):
        file.write(flags("300"))
    assert path.read_bytes() == flags("10")
    assert os.listdir(path.parent) == ["flags.json"]


def test_writing_keeps_the_mode_and_leaves_nothing_beside(path: Path) -> None:
    path.chmod(0o640)
    FlagFile(path).write(flags("30"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == ["flags.json"]


def test_writing_makes_a_file_that_was_not_there(tmp_path: Path) -> None:
    FlagFile(tmp_path / "flags.json").write(flags("30"))
    assert (tmp_path / "flags.json").read_bytes() == flags("30")


def test_writing_through_a_symbolic_link_keeps_the_link(path: Path) -> None:
    link = path.with_name("link.json")
    link.symlink_to(path.name)
    FlagFile(link).write(flags("30"))
    assert link.is_symlink()
    assert path.read_bytes() == flags("30")


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match="cannot be written"):
        FlagFile(tmp_path / "nowhere" / "flags.json").write(flags("30"))


def test_an_admin_export_is_read_as_client_features(path: Path) -> None:
    export = {
        "features": [{"name": "rain", "type": "release"}],
        "featureStrategies": [
            {"name": "userWithId", "featureName": "rain", "parameters": {"userIds": "7"}, "segments": []}
        ],
        "featureEnvironments": [{"featureName": "rain", "environment": "production", "enabled": True}],
        "tagTypes": [],
    }
    path.write_bytes(json.dumps(export).encode())
    document = json.loads(FlagFile(path).read())
    assert document["features"][0]["enabled"] is True
    assert document["features"][0]["strategies"][0]["name"] == "userWithId"
