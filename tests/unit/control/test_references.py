"""The files that drift is measured against: read whole, or refused by key, file and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from control import references
from domain.errors import ConfigError
from settings.parse import parse
from settings.schema import Settings
from tests.support.control import document

HEADER = "age,wet,town\n"


def configured(path: Path) -> Settings:
    return parse(document(path.parent, guards={"drift": {"shift": "10%", "reference": str(path)}}))


def test_every_column_of_the_file_is_a_feature(tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    path.write_text(HEADER + "".join(f"{n},{n % 2},Sydney\n" for n in range(100)))
    (found,) = references.read(configured(path)).values()
    age, wet, town = found
    assert (age.name, len(age.edges), age.shares[-1]) == ("age", 9, 0.0)
    assert [round(share, 2) for share in age.shares[:-1]] == [0.1] * 10
    assert (wet.edges, wet.shares) == ((0.0, 1.0), (0.5, 0.5, 0.0, 0.0))
    assert (town.edges, town.shares) == ((), (0.0, 1.0)), "a text is no number"


def test_a_parquet_file_says_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    values = {"age": [float(n) for n in range(50)], "wet": [n % 2 == 0 for n in range(50)]}
    parquet.write_table(pyarrow.table(values), tmp_path / "profile.parquet")
    path = tmp_path / "profile.csv"
    path.write_text("age,wet\n" + "".join(f"{n},{int(n % 2 == 0)}\n" for n in range(50)))
    assert references.read(configured(tmp_path / "profile.parquet")) == references.read(configured(path))


def test_an_endpoint_without_a_file_has_no_reference(tmp_path: Path) -> None:
    learned = parse(document(tmp_path, guards={"drift": {"shift": "10%"}}))
    assert references.read(learned) == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "no rows"),
        (HEADER.encode(), "no rows"),
        (b"a,b\n1\n", "1 cells for 2 columns"),
        (b"PAR1 and nothing else", "Parquet"),
        ((",".join(f"c{n}" for n in range(257)) + "\n" + ",".join("1" * 257) + "\n").encode(), "257 columns"),
    ],
)
def test_a_file_that_cannot_be_compared_with_is_refused_by_its_key(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "profile.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as error:
        references.read(configured(path))
    assert error.value.path == "endpoints.rain.guards.drift.reference"
    assert error.value.value == str(path)
