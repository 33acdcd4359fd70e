"""`pointsman gate run` and `pointsman release`: exit codes, and what is shown."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from console.app import app

ENDPOINT: dict[str, Any] = {
    "path": "/predict",
    "protocol": "json",
    "unit": "request",
    "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
    "candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9002"]},
    "compare": {"kind": "regression"},
}
RELEASE = {
    "id": "ab12", "endpoint": "rain", "incumbent": "rain-1", "candidate": "rain-2", "incumbent_digest": "x",
    "candidate_digest": "y", "phase": "canary", "stage": 1, "since": "2026-01-02T03:04:05.000001+00:00",
    "opened": "2026-01-02T03:00:00.000000+00:00", "steps": 2, "reason": "looks [bold]fine\x1b[2J",
}  # fmt: skip
APPROVING = {
    **RELEASE, "phase": "approving", "tier": "high", "waits_for": "1 of 2 approvals",
    "approvals": {
        "wanted": 2, "missing": 1,
        "given": [{"by": "ada", "authentication": "claimed", "reason": "read [red]it\x1b[2J", "at": "x"}],
        "void": [{"by": "bob", "reason": "it has expired"}],
    },
}  # fmt: skip
STEP = {"trigger": "evidence", "phase": "canary", "stage": 1, "since": 1.0, "reason": "enough", "steps": 1}
GATES = {
    "endpoint": "rain", "verdict": "pass", "detail": "", "void": None,
    "results": [{"gate": "own", "verdict": "pass", "sentence": "fine\x1b[2J", "started": 1.0, "ended": 2.5}],
}  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def written(folder: Path, *verdicts: str, **endpoint: Any) -> str:
    custom = [{"name": f"own-{said}", "command": [sys.executable, "-c", _program(said)]} for said in verdicts]
    gates = {"gates": {"custom": custom}} if custom else {}
    path = folder / "pointsman.yaml"
    path.write_text(json.dumps({"endpoints": {"rain": {**ENDPOINT, **gates, **endpoint}}}))
    return str(path)


def _program(said: str) -> str:
    code = ["pass", "fail", "inconclusive", "error"].index(said)
    return f"import json; print(json.dumps({{'verdict': '{said}'}})); raise SystemExit({code})"


@pytest.mark.parametrize(
    ("verdicts", "code", "worst"),
    [
        (["pass"], 0, "pass"),
        (["pass", "fail"], 1, "fail"),
        (["pass", "inconclusive"], 2, "inconclusive"),
        (["inconclusive", "error"], 3, "error"),
        (["fail", "error"], 1, "fail"),
    ],
)
def test_the_exit_code_is_that_of_the_worst_gate(
    tmp_path: Path, verdicts: list[str], code: int, worst: str
) -> None:
    done = run("gate", "run", "rain", "-c", written(tmp_path, *verdicts), "--json")
    assert done.exit_code == code, done.output
    document = json.loads(done.stdout)
    assert document["verdict"] == worst
    assert [one["verdict"] for one in document["results"]] == verdicts


def test_people_read_a_line_for_each_gate(tmp_path: Path) -> None:
    done = run("gate", "run", "rain", "-c", written(tmp_path, "pass", "fail"))
    assert done.exit_code == 1
    assert "rain: FAIL" in done.stdout
    assert "own-pass" in done.stdout
    assert "own-fail ..." in done.stderr


@pytest.mark.parametrize(
    ("endpoint", "name", "said"),
    [
        ({}, "rain", "has no gates"),
        ({"candidate": None}, "rain", "has no candidate"),
        ({}, "snow", "has rain"),
        ({"protocol": "morse"}, "rain", "endpoints.rain.protocol"),
    ],
)
def test_what_cannot_be_executed_is_an_error_and_never_a_pass(
    tmp_path: Path, endpoint: dict[str, Any], name: str, said: str
) -> None:
    done = run("gate", "run", name, "-c", written(tmp_path, **endpoint), "--json")
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert (document["verdict"], said in document["detail"]) == ("error", True)


def test_a_file_that_is_not_there_and_a_gateway_that_is_not_there_are_errors(tmp_path: Path) -> None:
    assert run("gate", "run", "rain", "-c", str(tmp_path / "none.yaml")).exit_code == 3
    assert run("gate", "run", "rain", "--admin", "http://127.0.0.1:1").exit_code == 3


class _Handler(BaseHTTPRequestHandler):
    asked: list[tuple[str, str, str]]
    answers: dict[tuple[str, str], tuple[int, Any]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        self.asked.append((self.command, self.path, body))
        status, document = self.answers.get(
            (self.command, self.path), (404, {"title": "Not Found", "detail": "none"})
        )
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # noqa: N815 - http.server's names

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def admin() -> Iterator[tuple[str, type[_Handler]]]:
    answers = {
        ("GET", "/api/v1/releases"): (200, {"releases": [RELEASE]}),
        ("GET", "/api/v1/releases?endpoint=rain"): (200, {"releases": [RELEASE]}),
        ("GET", "/api/v1/releases?endpoint=snow"): (200, {"releases": []}),
        ("GET", "/api/v1/releases/ab12"): (200, {**RELEASE, "history": [STEP]}),
        ("POST", "/api/v1/releases"): (201, RELEASE),
        ("POST", "/api/v1/releases/ab12/abort"): (200, {**RELEASE, "phase": "aborted"}),
        ("POST", "/api/v1/releases/ab12/approve"): (200, APPROVING),
        ("POST", "/api/v1/gates/rain/run"): (200, GATES),
        ("POST", "/api/v1/gates/void/run"): (200, {**GATES, "void": "own: the data are others now"}),
    }
    handler: type[_Handler] = type("Handler", (_Handler,), {"asked": [], "answers": answers})

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_gateway_executes_gates_and_results_that_are_void_are_no_pass(
    admin: tuple[str, type[_Handler]],
) -> None:
    done = run("gate", "run", "rain", "--admin", admin[0])
    assert (done.exit_code, "\x1b" in done.stdout, "own" in done.stdout) == (0, False, True)
    void = run("gate", "run", "void", "--admin", admin[0])
    assert (void.exit_code, "the data are others now" in void.stdout) == (3, True)
    assert run("gate", "run", "snow", "--admin", admin[0]).exit_code == 3


def test_releases_are_started_shown_listed_and_aborted(admin: tuple[str, type[_Handler]]) -> None:
    url, handler = admin
    shown = run("release", "status", "rain", "--admin", url)
    assert (shown.exit_code, "CANARY" in shown.stdout, "enough" in shown.stdout) == (0, True, True)
    assert "\x1b" not in shown.stdout
    assert "ab12" in run("release", "list", "--admin", url).stdout
    assert "no releases yet" in run("release", "list", "snow", "--admin", url).stdout
    assert json.loads(run("release", "start", "rain", "--json", "--admin", url).stdout)["id"] == "ab12"
    aborted = run("release", "abort", "rain", "--reason", "wrong model", "--admin", url)
    assert (aborted.exit_code, "ABORTED" in aborted.stdout) == (0, True)
    assert ("POST", "/api/v1/releases/ab12/abort", '{"reason":"wrong model"}') in handler.asked
    assert ("POST", "/api/v1/releases", '{"endpoint":"rain"}') in handler.asked


def test_an_approval_is_somebodys_and_what_is_still_missing_is_shown(
    admin: tuple[str, type[_Handler]],
) -> None:
    url, handler = admin
    words = ("release", "approve", "ab12", "--reason", "read it", "--admin", url)
    given = run(*words, "--as", "ada")
    assert given.exit_code == 0, given.stderr
    for part in ("APPROVING", "tier high", "1 of 2 approvals", "ada (claimed)", "bob", "it has expired"):
        assert part in given.stdout
    assert ("\x1b" in given.stdout, "[red]" in given.stdout) == (False, True)
    body = '{"reason":"read it","as":"ada"}'
    assert ("POST", "/api/v1/releases/ab12/approve", body) in handler.asked
    assert run(*words).exit_code == 0, "whose word it is without a name is for the gateway to say"
    assert ("POST", "/api/v1/releases/ab12/approve", '{"reason":"read it"}') in handler.asked
    assert run("release", "start", "rain", "--as", "ada", "--admin", url).exit_code == 0
    assert ("POST", "/api/v1/releases", '{"endpoint":"rain","as":"ada"}') in handler.asked


def test_a_check_shows_the_plan_that_a_tier_means(tmp_path: Path) -> None:
    path = tmp_path / "pointsman.yaml"
    guarded = {**ENDPOINT, "guards": {"flips": {"rate": "1%"}}, "tier": "high"}
    path.write_text(json.dumps({"endpoints": {"rain": guarded}}))
    shown = "".join(run("check", "-c", str(path)).stdout.split())
    assert "high:2toapprove→shadow→guarded5%" in shown.replace("│", ""), shown


def test_nothing_to_abort_and_no_reason_are_refused(admin: tuple[str, type[_Handler]]) -> None:
    none = run("release", "abort", "snow", "--reason", "x", "--admin", admin[0])
    assert (none.exit_code, "has no release" in none.stderr) == (1, True)
    assert run("release", "abort", "rain", "--reason", " ", "--admin", admin[0]).exit_code == 2
