"""`live-at` and `audit` on the command line: what they print, and the exit codes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from audit import heads, keys, store
from console import app as program
from console import client
from storage.database import Database
from tests.support.histories import some

LIVE = {
    "at": "2026-03-01T14:30:00.000000+00:00",
    "endpoints": [
        {
            "endpoint": "rain", "replica": "host-8081", "since": "2026-03-01T14:00:00.000000+00:00",
            "incumbent": {"version": "rain-1", "lineage": None},
            "candidate": {"version": "rain-2", "lineage": {"datasets": [{"name": "wet"}]}},
            "mode": "canary", "weight": 0.01, "flag": {"name": "canary", "enabled": True},
            "switch": {"tripped": True, "kills": [
                {"id": "k0", "since": "…", "actor": "guard:flips", "reason": "12 %\u001b[2J"}], "more": 0},
            "configuration": "abcd",
        }
    ],
    "events": [{"sequence": 4, "at": "…", "action": "switch.tripped", "name": "rain", "actor": "ann"}],
}  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program.app, list(arguments))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, httpx.Response]:
    """What the admin API answers, by path."""
    found: dict[str, httpx.Response] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        return found[request.url.path]

    made = partial(client.AdminClient, transport=httpx.MockTransport(answer))
    monkeypatch.setattr(program, "AdminClient", made)
    return found


@pytest.fixture
def chain(tmp_path: Path) -> str:
    """The URL of a database with a chain of 30 records."""
    url = f"sqlite:///{tmp_path / 'pointsman.db'}"
    database = Database.open(url)
    database.write(partial(store.append, events=some(30)))
    database.close()
    return url


def test_what_was_live_is_shown_with_the_records_that_made_it_so(answers: dict[str, httpx.Response]) -> None:
    answers["/api/v1/live"] = httpx.Response(200, json=LIVE)
    shown = run("live-at", "2026-03-01T14:30:00Z", "rain")
    assert shown.exit_code == 0
    for part in (
        "TRIPPED",
        "rain-1 (no lineage)",
        "rain-2",
        "guard:flips",
        "data wet",
        "switch.tripped",
        "abcd",
    ):
        assert part in shown.stdout
    assert "\x1b[2J" not in shown.stdout
    assert json.loads(run("live-at", "2026-03-01T14:30:00Z", "--json").stdout) == LIVE


def test_when_no_gateway_served_it_says_so(answers: dict[str, httpx.Response]) -> None:
    answers["/api/v1/live"] = httpx.Response(200, json={"at": "then", "endpoints": []})
    assert "nothing was live at then" in run("live-at", "2026-03-01T14:30:00Z").stdout


def test_a_refused_time_is_an_error_with_the_way_out(answers: dict[str, httpx.Response]) -> None:
    problem = {"title": "Unprocessable", "status": 422, "detail": "at: write a time with its offset"}
    answers["/api/v1/live"] = httpx.Response(422, json=problem)
    shown = run("live-at", "2026-03-01T14:30:00")
    assert (shown.exit_code, "with its offset" in shown.stderr) == (1, True)


def test_an_export_of_a_database_verifies_as_the_database_does(chain: str, tmp_path: Path) -> None:
    export = tmp_path / "audit.jsonl"
    assert run("audit", "export", "--database", chain, "--output", str(export)).exit_code == 0
    by_file = json.loads(run("audit", "verify", "--file", str(export), "--json").stdout)
    by_database = json.loads(run("audit", "verify", "--database", chain, "--json").stdout)
    assert by_file == by_database
    assert (by_file["intact"], by_file["size"]) == (True, 30)
    assert "no heads were given" in run("audit", "verify", "--database", chain).stdout


def test_a_gateway_is_verified_by_what_it_exports(
    chain: str, tmp_path: Path, answers: dict[str, httpx.Response]
) -> None:
    export = tmp_path / "audit.jsonl"
    run("audit", "export", "--database", chain, "--output", str(export))
    answers["/api/v1/audit/export"] = httpx.Response(200, content=export.read_bytes())
    assert "30 records, each whole" in run("audit", "verify").stdout
    assert run("audit", "export").stdout_bytes == export.read_bytes()
    answers["/api/v1/audit/export"] = httpx.Response(503, json={"status": 503, "detail": "starting"})
    assert run("audit", "verify").exit_code == 1


def test_a_broken_chain_is_exit_code_1_and_says_where(chain: str, tmp_path: Path) -> None:
    export = tmp_path / "audit.jsonl"
    run("audit", "export", "--database", chain, "--output", str(export))
    lines = export.read_bytes().splitlines(keepends=True)
    export.write_bytes(b"".join([*lines[:6], *lines[7:]]))
    shown = run("audit", "verify", "--file", str(export))
    assert shown.exit_code == 1
    assert "the chain is broken at record 7: it is missing" in shown.stderr
    as_json = json.loads(run("audit", "verify", "--file", str(export), "--json").stdout)
    assert (as_json["intact"], as_json["sequence"]) == (False, 7)
    export.write_bytes(b"".join(lines[:3]) + b"what is this\n")
    shown = run("audit", "verify", "--file", str(export))
    assert (shown.exit_code, "line 4" in shown.stderr) == (1, True)


def test_heads_from_elsewhere_show_what_was_cut_off_and_who_signed(chain: str, tmp_path: Path) -> None:
    private = keys.load_or_create(tmp_path / "audit.key")
    database = Database.open(chain)
    tip = database.read(store.tip)
    database.close()
    head = heads.sign(private, size=30, root=tip.frontier.root(), chain=tip.chain, at=0)
    kept = tmp_path / "heads.jsonl"
    kept.write_bytes(head.line() + b"\n")
    export = tmp_path / "audit.jsonl"
    run("audit", "export", "--database", chain, "--output", str(export))
    checked = (
        "audit",
        "verify",
        "--file",
        str(export),
        "--heads",
        str(kept),
        "--key",
        f"{tmp_path}/audit.key.pub",
    )
    shown = run(*checked)
    assert shown.exit_code == 0
    assert "it leads through 1 signed heads, the last of which covers 30 records" in shown.stdout
    export.write_bytes(b"".join(export.read_bytes().splitlines(keepends=True)[:20]))
    shown = run(*checked)
    assert (shown.exit_code, "record 21: it is missing" in shown.stderr) == (1, True)
    stranger = heads.sign(Ed25519PrivateKey.generate(), size=1, root=bytes(32), chain=bytes(32), at=0)
    kept.write_bytes(stranger.line() + b"\n")
    shown = run(*checked)
    assert (shown.exit_code, "is not trusted" in shown.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--database", "sqlite:////nowhere/at/all.db"), "there is no such file"),
        (("--file", "/nowhere/at/all.jsonl"), "it cannot be read"),
        (("--file", "/dev/null", "--heads", "/nowhere"), "it cannot be read"),
        (("--database", "mysql://here"), "neither sqlite nor postgresql"),
    ],
)
def test_what_is_not_there_is_said(arguments: tuple[str, ...], complaint: str) -> None:
    shown = run("audit", "verify", *arguments)
    assert shown.exit_code == 1
    assert complaint in shown.stderr


def test_a_bill_of_materials_is_written_where_it_is_wanted(
    tmp_path: Path, answers: dict[str, httpx.Response]
) -> None:
    answers["/api/v1/audit/versions/rain-2/mlbom"] = httpx.Response(200, json={"bomFormat": "CycloneDX"})
    out = tmp_path / "bom.json"
    assert run("audit", "export", "--mlbom", "rain-2", "--output", str(out)).exit_code == 0
    assert json.loads(out.read_text()) == {"bomFormat": "CycloneDX"}
    assert json.loads(run("audit", "export", "--mlbom", "rain-2").stdout) == {"bomFormat": "CycloneDX"}
