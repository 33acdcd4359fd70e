"""A file of labels is sent whole, whatever is in it: what cannot be a label is told with its row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from console import labelling
from console.app import app
from console.client import AdminClient, Refused, Unreachable
from console.label_files import Columns, Refusal, Row, rows
from console.labelling import Import, parts
from domain.errors import ConfigError
from tests.support.ports import free_port

BAD = [
    ({"request_id": "", "label": 1}, "request_id: '' is no request id"),
    ({"request_id": "x" * 201, "label": 1}, "1 to 200 characters"),
    ({"label": 1}, "request_id: None"),
    ({"request_id": "r", "label": None}, "label: None is no label"),
    ({"request_id": "r", "label": {"a": 1}}, "is no label; give a class, a number, or a list"),
    ({"request_id": "r", "label": []}, "a list of 0"),
    ({"request_id": "r", "label": [1, [2]]}, "[2] is no label"),
    ({"request_id": "r", "label": "x" * 1001}, "1000 at most"),
    ({"request_id": "r", "label": 1, "at": "yesterday"}, "'yesterday' is no time; give ISO 8601"),
    ({"request_id": "r", "label": 1, "at": "2026-01-01T00:00:00"}, "has no offset"),
]


DEFAULT = Columns()


def read(path: Path, columns: Columns = DEFAULT) -> list[Row | Refusal]:
    return list(rows(path, columns, lambda part: None))


def test_every_kind_of_file_says_the_same(tmp_path: Path) -> None:
    at = "2026-01-01T00:00:00+00:00"
    wanted = [
        Row(1, {"request_id": "r1", "label": "rain", "at": at}), Row(2, {"request_id": "r2", "label": "dry"}),
    ]  # fmt: skip
    lines = tmp_path / "labels.jsonl"
    lines.write_text("\n\n".join(json.dumps(one.body) for one in wanted) + "\n")
    table = tmp_path / "labels.csv"
    table.write_text(f"\ufeffrequest_id,label,at\nr1,rain,{at}\nr2,dry,\n")
    parquet = tmp_path / "labels.parquet"
    columns = {"request_id": ["r1", "r2"], "label": ["rain", "dry"], "at": [at, None]}
    pq.write_table(pa.table(columns), parquet)
    assert read(lines) == read(table) == read(parquet) == wanted


def test_in_csv_what_looks_like_a_number_is_one_unless_labels_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('id,truth\n7,1\nb,-0.5\nc,1e3\nd,NZ01\ne,"[1, ""rain""]"\nf,nan\n')
    columns = Columns("id", "truth")
    found = [one.body["label"] for one in read(path, columns) if isinstance(one, Row)]
    assert found == [1, -0.5, 1000.0, "NZ01", [1, "rain"], "nan"]
    found = [one.body["label"] for one in read(path, columns._replace(texts=True)) if isinstance(one, Row)]
    assert found[:2] == ["1", "-0.5"]


def test_what_is_no_label_is_told_with_its_row_and_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    lines = [json.dumps(body) for body, _ in BAD]
    path.write_text(
        "\n".join([*lines, "{", "[1]", "[" * 100_000, '{"request_id": "r", "label": NaN}']) + "\n"
    )
    found = read(path)
    assert all(isinstance(one, Refusal) for one in found)
    told = [one.detail for one in found if isinstance(one, Refusal)]
    for number, (_, said) in enumerate(BAD):
        assert said in told[number]
    assert ["JSON" in one for one in told[-4:]] == [True, False, True, False]
    assert [one.line for one in found] == list(range(1, len(BAD) + 5))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("labels.txt", b"", "ends in .csv, .jsonl"),
        ("labels.csv", b"id,truth\nr1,1\n", "name one of the columns of labels.csv: id, truth"),
        ("labels.csv", b"request_id,label\nr\xff,1\n", "line 2 is not UTF-8"),
        ("labels.csv", b'request_id,label\nr,"1\n', "is no CSV"),
        ("labels.parquet", b"PAR1 no", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_is_none_of_labels_is_refused(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"FILE|--request-id") as refused:
        read(path)
    assert said in str(refused.value)


class Gateway:
    """Answers as the admin API does; `faults` come first."""

    def __init__(self, *faults: httpx.Response | Exception) -> None:
        self.faults = list(faults)
        self.came: list[list[dict[str, Any]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault
        self.came.append(json.loads(request.content))
        answer = {"joined": 0, "repeated": 0, "corrected": 0, "earlier": 0, "conflicts": [], "kept": True}
        refused = [
            {"request_id": one["request_id"], "detail": "no"}
            for one in self.came[-1]
            if one["label"] == "bad"
        ]
        return httpx.Response(200, json={**answer, "unknown": [], "refused": refused})


def client(gateway: Gateway) -> AdminClient:
    return AdminClient("http://127.0.0.1:8081", transport=httpx.MockTransport(gateway))


def test_a_file_goes_in_parts_a_request_once_in_each_and_goes_on_behind_a_row(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("request_id,label\n" + "".join(f"r{number % 4},{number}\n" for number in range(10)))
    gateway = Gateway()
    sending = Import(client(gateway), None)
    for part in parts(rows(path, Columns(), lambda one: None), sending, 2, 3):
        sending.send(part)
    assert [[one["request_id"] for one in part] for part in gateway.came] == [
        ["r2", "r3", "r0"], ["r1", "r2", "r3"], ["r0", "r1"],
    ]  # fmt: skip
    assert (sending.reached, sending.counts["sent"]) == (10, 8)


def test_a_gateway_that_is_away_or_cannot_keep_is_waited_for_and_given_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(labelling, "PAUSE", 0.0)
    row = Row(1, {"request_id": "r", "label": "bad"})
    busy = httpx.Response(503, json={"title": "busy", "detail": "later"})
    gateway = Gateway(httpx.ConnectError("refused"), busy, httpx.Response(200, json={"kept": False}))
    sending = Import(client(gateway), None)
    sending.send([row])
    assert sending.refused == [Refusal(1, "r: no")]
    with pytest.raises(Unreachable, match="not kept"):
        Import(client(Gateway(httpx.Response(200, json={"kept": False}))), None, patience=-1.0).send([row])
    with pytest.raises(Refused, match="no right"):
        Import(client(Gateway(httpx.Response(403, json={"detail": "no right"}))), None).send([row])


def test_an_import_that_cannot_go_on_says_where_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "PATIENCE", -1.0)
    monkeypatch.setattr(labelling.Import.__init__, "__defaults__", (-1.0,))
    path = tmp_path / "labels.csv"
    path.write_text("request_id,label\nr1,rain\n")
    command = ["labels", "import", str(path), "--admin", f"http://127.0.0.1:{free_port()}", "--after", "0"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 3
    assert "go on with --after 0" in found.stderr
    found = CliRunner().invoke(app, [*command, "--label", "truth"])
    assert found.exit_code == 2


def test_what_the_gateway_would_refuse_a_whole_part_for_is_told_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    lines = [
        '{"request_id": "a", "label": "\\ud800"}', '{"request_id": "b", "label": 1' + "0" * 400 + "}",
        '{"request_id": "c\\udfff", "label": 1}', '{"request_id": "d", "label": "fög"}',
    ]  # fmt: skip
    path.write_text("\n".join(lines))
    found = list(rows(path, Columns(), lambda part: None))
    assert [isinstance(one, Refusal) for one in found] == [True, True, True, False]
    assert [one.line for one in found] == [1, 2, 3, 4]
