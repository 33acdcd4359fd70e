"""The command line against a real HTTP server that answers the admin API's documented JSON."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from console.app import app

AT = "2026-01-02T03:04:05.000001+00:00"
KILLS = [
    {"id": "k-1", "actor": "guard:flips", "reason": "flips 23 %", "at": AT, "version": "rain-2"},
    {"id": "k-2", "actor": "mara", "reason": "looks [bold]wrong\x1b[2J", "at": AT, "version": "rain-2"},
]
RAIN: dict[str, Any] = {
    "endpoint": "rain",
    "path": "/v2/models/rain/infer",
    "protocol": "v2",
    "flag": "rain-v2-canary",
    "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
    "candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9002"]},
    "switch": {"tripped": True, "kills": KILLS, "breakers": [{"worker": 0, "reason": "5 errors in a row"}]},
    "release": {
        "stage": 1, "stages": 2, "mode": "canary", "weight": 0.25,
        "pairs": 120, "pairs_needed": 500, "since": "2026-01-02T03:00:00.000000+00:00",
    },
    "guards": [
        {"guard": "flips", "verdict": "fail", "estimate": 0.23, "limit": 0.01, "evidence": 40000.0,
         "threshold": 5000.0, "count": 130,
         "sentence": "flips 23 % against a limit of 1 %: 1 in 40 000",
         "bound_low": 0.18, "bound_high": 0.29, "pairs_needed": None},
        {"guard": "errors", "verdict": "inconclusive", "estimate": None, "limit": 0.005, "evidence": None,
         "threshold": 5000.0, "count": 0, "sentence": ""},
        {"guard": "confidence", "verdict": "inconclusive", "estimate": 0.001, "limit": 0.05, "evidence": 0.5,
         "threshold": 5000.0, "count": 250, "sentence": "", "bound_low": -0.01, "bound_high": 0.02,
         "pairs_needed": 1750},
        {"guard": "drift", "verdict": "pass", "estimate": 0.0, "limit": 0.1, "evidence": 0.1,
         "threshold": 5000.0, "count": 900, "sentence": "", "soft": True},
    ],
    "warnings": ["votes of the same unit agree"],
    "cohorts": [
        {"cohort": "header:x-country=NZ", "votes": 210, "mean": 0.21, "rest": 0.004, "low": 0.14,
         "rest_high": 0.011, "excess": 0.129, "certain": True},
        {"cohort": "latency > 3.1 ms\x1b[2J", "votes": 9, "mean": 0.3, "rest": 0.004, "low": 0.0,
         "rest_high": 0.011, "excess": -0.011, "certain": False},
    ],
    "paths": [
        {"path": "/items/*/price", "arms": {"differing": 40, "comparisons": 900, "low": 0.02, "high": 0.08},
         "noise": {"differing": 0, "comparisons": 0, "low": 0.0, "high": 1.0},
         "exceeds": True, "quiet": False},
    ],
    "accuracy": [{"cohort": "", "labels": 120, "incumbent": 0.91, "candidate": 0.9}],
    "verdict": "fail",
    "pairs": {"judged": 1000, "flips": 30, "faults": 0, "shed": 0},
    "last_trip": {
        "kill": "k-1", "cause": "guard:flips", "reason": "flips 23 %", "first_bad_at": None,
        "breach_at": "2026-01-02T03:04:05.000000+00:00", "trip_at": "2026-01-02T03:04:05.001000+00:00",
        "confirmed_at": "2026-01-02T03:04:05.004000+00:00", "trip_ms": 3.1, "last_bad_served_at": None,
        "detection_pairs": 41, "estimate": 0.23, "tolerance": 0.01, "evidence": 40000.0,
        "sentence": "flips 23 % against a limit of 1 %: 1 in 40 000",
    },
    "generation": 17,
    "workers": [{"worker": 0, "generation": 17, "pid": 123}],
    "config_digest": "ab" * 32,
    "a_field_of_a_later_version": {"is": "ignored"},
}  # fmt: skip
PAIRS = {
    "pairs": [
        {
            "request_id": "r-1", "at": "2026-01-02T03:04:04.000000+00:00", "served": "incumbent",
            "score": 0.9, "flip": True, "reason": "rain became no rain",
            "incumbent": {"version": "rain-1", "outcome": "answered", "status": 200, "latency_ms": 2.1,
                          "prediction": {"label": "rain", "probabilities": [0.1, 0.9]}},
            "candidate": {"version": "rain-2", "outcome": "answered", "status": 200, "latency_ms": 2.3,
                          "prediction": {"label": "\x1b]0;owned\x07", "probabilities": [0.9, 0.1]}},
        }
    ]
}  # fmt: skip


class Admin:
    """What the server answers, by method and path, and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, object]] = []
        self.url = ""

    def answer(self, request: str, document: object, status: int = 200) -> None:
        self.answers[request] = (status, json.dumps(document).encode())


@pytest.fixture
def admin() -> Iterator[Admin]:
    behaviour = Admin()
    plain = RAIN | {"endpoint": "plain", "candidate": None}
    behaviour.answer("GET /api/v1/endpoints", {"endpoints": [RAIN, plain]})
    behaviour.answer("GET /api/v1/endpoints/rain", RAIN)
    behaviour.answer("GET /api/v1/endpoints/rain/pairs?worst=5", PAIRS)

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            request = f"{self.command} {self.path}"
            behaviour.asked.append((request, json.loads(body) if body else None))
            missing = b'{"type":"about:blank","title":"Not Found","status":404,"detail":"no such endpoint"}'
            status, answer = behaviour.answers.get(request, (404, missing))
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    behaviour.url = f"http://127.0.0.1:{server.server_port}"
    yield behaviour
    server.shutdown()
    thread.join()
    server.server_close()


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **variables})


def test_status_shows_every_endpoint(admin: Admin) -> None:
    result = run("status", "--admin", admin.url)
    assert result.exit_code == 0
    assert "TRIPPED" in result.stdout
    assert "canary (2 of 2)" in result.stdout
    assert "25 %" in result.stdout
    assert "plain" in result.stdout


def test_status_of_one_endpoint_shows_kills_guards_and_the_last_trip(admin: Admin) -> None:
    result = run("status", "rain", POINTSMAN_ADMIN=admin.url)
    assert result.exit_code == 0
    sentence = "flips 23 % against a limit of 1 %: 1 in 40 000"
    for expected in ("k-1", "guard:flips", sentence, "120 of 500"):
        assert expected in result.stdout
    assert "5 errors in a row" in result.stdout
    assert "3.1 ms" in result.stdout


def test_status_of_one_endpoint_shows_how_certain_it_is_and_what_a_pass_still_takes(admin: Admin) -> None:
    lines = run("status", "rain", POINTSMAN_ADMIN=admin.url, COLUMNS="200").stdout.splitlines()

    def row(name: str) -> str:
        return next(line for line in lines if line.lstrip().startswith(name))

    assert "0.23 (0.18 to 0.29)" in row("flips")
    assert "250" in row("confidence")
    assert "1 750" in row("confidence")
    assert "drift (warns only)" in row("drift")
    assert any("warning: votes of the same unit agree" in line for line in lines)


def test_status_of_one_endpoint_shows_where_predictions_differ(admin: Admin) -> None:
    lines = run("status", "rain", POINTSMAN_ADMIN=admin.url, COLUMNS="200").stdout.splitlines()

    def row(name: str) -> str:
        return next(line for line in lines if line.lstrip().startswith(name))

    for expected in ("210", "21 %", "14 %", "1.1 %", "yes"):
        assert expected in row("header:x-country=NZ")
    assert "not yet" in row("latency > 3.1 ms\\x1b[2J")
    for expected in ("40 of 900 (2 % to 8 %)", "not compared", "exceeds its noise"):
        assert expected in row("/items/*/price")
    assert "91 %" in row("all")


def test_pairs_lists_the_values_that_differ_by_path_and_texts_by_words(admin: Admin) -> None:
    one = {
        **PAIRS["pairs"][0],
        "diff": [
            {"path": "/items/0/price", "incumbent": 2, "candidate": 5},
            {"path": "/items/1", "candidate": None},
            {"path": "/text", "incumbent": "a b", "candidate": "a c",
             "text": [["=", "a "], ["-", "b"], ["+", "c\x1b[2J"]]},
        ],
    }  # fmt: skip
    admin.answer("GET /api/v1/endpoints/rain/pairs?worst=5", {"pairs": [one]})
    shown = run("pairs", "rain", "--admin", admin.url, COLUMNS="200").stdout
    for expected in ("/items/0/price", "2 → 5", "nothing → null", "a bc\\x1b[2J"):
        assert expected in shown


def test_what_models_and_people_wrote_cannot_steer_the_terminal(admin: Admin) -> None:
    status = run("status", "rain", "--admin", admin.url, FORCE_COLOR="1", NO_COLOR="1")
    pairs = run("pairs", "rain", "--admin", admin.url, FORCE_COLOR="1", NO_COLOR="1")
    assert "looks [bold]wrong\\x1b[2J" in status.stdout
    assert "\\u001b]0;owned\\u0007" in pairs.stdout
    assert "\x1b[2J" not in status.stdout
    assert "\x1b]" not in pairs.stdout
    assert "\x07" not in pairs.stdout


@pytest.mark.parametrize("command", [("status",), ("status", "rain"), ("pairs", "rain")])
def test_json_is_the_only_thing_printed(admin: Admin, command: tuple[str, ...]) -> None:
    result = run(*command, "--admin", admin.url, "--json")
    assert result.exit_code == 0
    assert isinstance(json.loads(result.stdout), dict)
    assert result.stdout.isascii()


def test_json_errors_are_problem_documents(admin: Admin) -> None:
    result = run("status", "rian", "--admin", admin.url, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == 404
    assert "no such endpoint" in result.stderr


def test_no_colour_is_printed_when_no_color_is_set(admin: Admin) -> None:
    coloured = run("status", "rain", "--admin", admin.url, FORCE_COLOR="1", TERM="xterm")
    plain = run("status", "rain", "--admin", admin.url, FORCE_COLOR="1", TERM="xterm", NO_COLOR="1")
    assert "\x1b[1;31m" in coloured.stdout or "\x1b[31m" in coloured.stdout
    assert "31m" not in plain.stdout


def test_pairs_shows_both_predictions_side_by_side(admin: Admin) -> None:
    result = run("pairs", "rain", "--admin", admin.url)
    assert result.exit_code == 0
    both = [line for line in result.stdout.splitlines() if "0.9" in line and "0.1" in line]
    assert both, result.stdout
    assert "score 0.9, flipped, client got the incumbent" in result.stdout


def test_a_kill_says_who_has_it_and_whether_it_is_kept(admin: Admin) -> None:
    done = {"kill": "k-9", "generation": 18, "confirmed_ms": 2.5, "workers": 2, "durable": True}
    admin.answer("POST /api/v1/endpoints/rain/kill", done)
    result = run("kill", "rain", "--reason", "complaints", "--admin", admin.url)
    assert result.exit_code == 0
    assert "confirmed by 2 workers in 2.5 ms, kept on disk; kill k-9" in result.stdout
    assert admin.asked == [("POST /api/v1/endpoints/rain/kill", {"reason": "complaints"})]


def test_a_kill_that_is_not_confirmed_or_not_kept_does_not_sound_so(admin: Admin) -> None:
    done = {"kill": "k-9", "generation": 18, "confirmed_ms": None, "workers": 0, "durable": False}
    admin.answer("POST /api/v1/endpoints/rain/kill", done)
    result = run("kill", "rain", "--reason", "complaints", "--admin", admin.url)
    assert "not yet confirmed" in result.stdout
    assert "NOT kept on disk" in result.stdout


def test_a_rearm_clears_exactly_the_kills_it_showed(admin: Admin) -> None:
    admin.answer("POST /api/v1/endpoints/rain/rearm", {"cleared": ["k-1", "k-2"], "generation": 19})
    result = run("rearm", "rain", "--reason", "fixed", "--admin", admin.url)
    assert result.exit_code == 0
    assert "guard:flips" in result.stdout
    assert "2 kills cleared" in result.stdout
    assert admin.asked[-1][1] == {"reason": "fixed", "kills": ["k-1", "k-2"]}


def test_kill_and_rearm_answer_machines_with_the_gateways_own_document(admin: Admin) -> None:
    done = {"kill": "k-9", "generation": 18, "confirmed_ms": 2.5, "workers": 2, "durable": True}
    admin.answer("POST /api/v1/endpoints/rain/kill", done)
    admin.answer("POST /api/v1/endpoints/rain/rearm", {"cleared": ["k-1", "k-2"], "generation": 19})
    killed = run("kill", "rain", "--reason", "x", "--json", "--admin", admin.url)
    cleared = run("rearm", "rain", "--reason", "x", "--json", "--admin", admin.url)
    assert json.loads(killed.stdout) == done
    assert json.loads(cleared.stdout) == {"cleared": ["k-1", "k-2"], "generation": 19}
    problem = {"title": "Conflict", "status": 409, "detail": "other kills are in force"}
    admin.answer("POST /api/v1/endpoints/rain/rearm", problem, 409)
    refused = run("rearm", "rain", "--reason", "x", "--json", "--admin", admin.url)
    assert (refused.exit_code, json.loads(refused.stdout)) == (1, problem)


@pytest.mark.parametrize("command", [("status",), ("status", "rain")])
def test_sixty_columns_hold_every_name_and_number_whole(admin: Admin, command: tuple[str, ...]) -> None:
    shown = run(*command, "--admin", admin.url, COLUMNS="60").stdout
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 60
    assert "rain-1" in shown
    assert "canary (2 of 2), weight 25 %" in shown
    if command == ("status", "rain"):
        assert "0.23 (0.18 to 0.29), limit 0.01" in shown
        assert "\n  evidence 40 000 of 5 000, 130 votes" in shown
    assert "\x1b[2J" not in shown


def test_a_rearm_needs_nothing_of_the_answer_but_the_switch(admin: Admin) -> None:
    admin.answer("GET /api/v1/endpoints/rain", {"switch": RAIN["switch"], "guards": "of a later version"})
    admin.answer("POST /api/v1/endpoints/rain/rearm", {"cleared": ["k-1", "k-2"]})
    assert run("rearm", "rain", "--reason", "fixed", "--admin", admin.url).exit_code == 0


def test_a_trip_by_hand_has_no_evidence_and_is_shown(admin: Admin) -> None:
    by_hand = {"kill": "k-2", "cause": "operator", "reason": "complaints", "breach_at": AT, "trip_at": AT}
    admin.answer("GET /api/v1/endpoints/rain", RAIN | {"last_trip": by_hand | {"sentence": None}})
    result = run("status", "rain", "--admin", admin.url)
    assert (result.exit_code, "complaints" in result.stdout) == (0, True)


def test_a_stale_rearm_is_refused_with_what_to_do(admin: Admin) -> None:
    problem = {"title": "Conflict", "status": 409, "detail": "other kills are in force"}
    admin.answer("POST /api/v1/endpoints/rain/rearm", problem, 409)
    result = run("rearm", "rain", "--reason", "fixed", "--admin", admin.url)
    assert result.exit_code == 1
    assert "other kills are in force" in result.stderr
    assert "pointsman status rain" in result.stderr
    assert "armed again" not in result.stdout


def test_an_endpoint_that_is_not_tripped_is_not_rearmed(admin: Admin) -> None:
    armed = {"switch": {"tripped": False, "kills": [], "breakers": []}}
    admin.answer("GET /api/v1/endpoints/rain", RAIN | armed)
    result = run("rearm", "rain", "--reason", "fixed", "--admin", admin.url)
    assert result.exit_code == 1
    assert "nothing to re-arm" in result.stderr
    assert [request for request, _ in admin.asked] == ["GET /api/v1/endpoints/rain"]


def test_kills_that_cannot_be_read_are_not_rearmed_and_are_shown(admin: Admin) -> None:
    unknown = {"tripped": True, "kills": [], "breakers": [], "unreadable": "disk I/O error"}
    admin.answer("GET /api/v1/endpoints/rain", RAIN | {"switch": unknown})
    assert "every candidate is out: disk I/O error" in run("status", "rain", "--admin", admin.url).stdout
    result = run("rearm", "rain", "--reason", "fixed", "--admin", admin.url)
    assert (result.exit_code, "disk I/O error" in result.stderr) == (1, True)
    assert not [request for request, _ in admin.asked if request.startswith("POST")]


@pytest.mark.parametrize("command", ["kill", "rearm"])
def test_a_change_without_a_reason_is_wrong_usage_and_reaches_nobody(admin: Admin, command: str) -> None:
    assert run(command, "rain", "--admin", admin.url).exit_code == 2
    assert run(command, "rain", "--reason", "  ", "--admin", admin.url).exit_code == 2
    assert admin.asked == []


def test_field_errors_of_the_gateway_are_listed(admin: Admin) -> None:
    errors = [{"path": "reason", "allowed": "say why"}]
    problem = {"title": "Invalid", "status": 422, "detail": "see errors", "errors": errors}
    admin.answer("POST /api/v1/endpoints/rain/kill", problem, 422)
    result = run("kill", "rain", "--reason", "x", "--admin", admin.url)
    assert result.exit_code == 1
    assert "reason: say why" in result.stderr


def test_a_name_is_one_part_of_the_path(admin: Admin) -> None:
    run("status", "a/../b?x", "--admin", admin.url)
    assert admin.asked == [("GET /api/v1/endpoints/a%2F..%2Fb%3Fx", None)]


def test_nobody_listening_exits_3_and_says_how_to_start() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        result = run("status", "--admin", url)
        as_json = run("status", "--admin", url, "--json")
    assert result.exit_code == as_json.exit_code == 3
    assert "pointsman serve" in result.stderr
    assert json.loads(as_json.stdout)["title"] == "Gateway unreachable"


def test_another_server_at_the_address_is_recognized(admin: Admin) -> None:
    admin.answers["GET /api/v1/endpoints"] = (200, b"<html>It works!</html>")
    result = run("status", "--admin", admin.url)
    assert result.exit_code == 1
    assert "not as Pointsman's admin API" in result.stderr
    admin.answers["GET /api/v1/endpoints"] = (500, b"oops")
    assert "answered 500" in run("status", "--admin", admin.url).stderr


def test_an_answer_of_another_version_is_a_clear_error(admin: Admin) -> None:
    admin.answer("GET /api/v1/endpoints/rain", {"endpoint": "rain"})
    result = run("status", "rain", "--admin", admin.url)
    assert result.exit_code == 1
    assert "of one version" in result.stderr


@pytest.mark.parametrize("url", ["127.0.0.1:8081", "ftp://127.0.0.1", "http://", "http://[::1"])
def test_an_address_that_is_no_url_is_wrong_usage(url: str) -> None:
    result = run("status", "--admin", url)
    assert result.exit_code == 2


def test_check_of_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    assert run("check", "-c", str(tmp_path / "none.yaml")).exit_code == 2


VALID = """
endpoints:
  rain:
    path: /v2/models/rain/infer
    protocol: v2
    unit: header:x-user-id
    incumbent: {version: rain-1, urls: ["http://127.0.0.1:9001"]}
    candidate: {version: rain-2, urls: ["http://127.0.0.1:9002"]}
    compare: {kind: classification, output: predict_proba}
    guards: {flips: {rate: 1%}}
"""


def test_check_prints_the_digest_of_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "pointsman.yaml"
    path.write_text(VALID)
    result = run("check", "-c", str(path))
    assert result.exit_code == 0, result.stderr
    assert "is valid" in result.stdout
    assert "rain-2" in result.stdout
    assert any(len(word) == 64 for word in result.stdout.split())


def test_check_tells_machines_the_digest_or_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "pointsman.yaml"
    path.write_text(VALID)
    good = run("check", "-c", str(path), "--json")
    told = json.loads(good.stdout)
    assert (good.exit_code, told["valid"], told["problems"], len(told["digest"])) == (0, True, [], 64)
    path.write_text(VALID.replace("protocol: v2", "protocol: v3\n    timeoot: 2s"))
    bad = run("check", "-c", str(path), "--json")
    told = json.loads(bad.stdout)
    assert (bad.exit_code, told["valid"], told["digest"], len(told["problems"])) == (1, False, None, 2)


def test_check_warns_about_keys_that_do_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pointsman.yaml"
    path.write_text(VALID + "state: {redis_password_env: SECRET}\n")
    result = run("check", "-c", str(path))
    assert result.exit_code == 0, result.stderr
    assert "state.redis_password_env: accepted, not acted upon by this version" in result.stderr


def test_check_lists_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "pointsman.yaml"
    path.write_text(VALID.replace("protocol: v2", "protocol: v3\n    timeoot: 2s"))
    result = run("check", "-c", str(path))
    assert result.exit_code == 1
    assert "2 problems" in result.stderr
    assert "endpoints.rain.protocol" in result.stderr
    assert "endpoints.rain.timeoot" in result.stderr
    assert result.stdout == ""


def test_check_of_a_file_that_is_no_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "pointsman.yaml"
    path.write_text("endpoints:\n  rain: [\n")
    result = run("check", "-c", str(path))
    assert result.exit_code == 1
    assert "line" in result.stderr


STAND_IN = """
import json, os, sys
print(json.dumps([sys.argv[1:], os.environ.get("PYTHONSAFEPATH")]))
sys.exit(7)
"""


def test_serve_becomes_the_gateway_with_its_exit_code(tmp_path: Path) -> None:
    config = tmp_path / "pointsman.yaml"
    config.write_text(VALID)
    done = _with_stand_in(tmp_path, "gateway", "serve", "-c", str(config), "--workers", "3")
    assert json.loads(done.stdout) == [["-c", str(config), "--workers", "3"], "1"]
    assert done.returncode == 7


def test_demo_becomes_the_example_with_its_exit_code(tmp_path: Path) -> None:
    done = _with_stand_in(tmp_path, "examples/rain", "demo", "--once", "--json")
    assert json.loads(done.stdout) == [["--once", "--json"], "1"]
    assert done.returncode == 7


def test_serve_of_a_missing_file_starts_nothing(tmp_path: Path) -> None:
    done = _with_stand_in(tmp_path, "gateway", "serve", "-c", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "none.yaml" in done.stderr


def _with_stand_in(folder: Path, package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where `package` is a stand-in that prints its arguments and exits with 7."""
    root = folder / "stand-in"
    home = root / package
    home.mkdir(parents=True)
    for parent in (home, *home.parents):
        if parent == root:
            break
        (parent / "__init__.py").write_text('"""A stand-in."""\n')
    (home / "__main__.py").write_text(STAND_IN)
    program = "from console.app import main; main()"
    path = os.pathsep.join((str(root), str(Path(__file__).parents[3])))
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


FLAGGED = VALID.replace("    compare:", "    flag: rain-v2-canary\n    compare:")
FLAG = b'{"version":1,"features":[{"name":"rain-v2-canary","enabled":true,"strategies":[]}]}'


def test_check_reads_the_flag_file_too(tmp_path: Path) -> None:
    path, flags = tmp_path / "pointsman.yaml", tmp_path / "flags.json"
    path.write_text(FLAGGED + f"flags: {{source: file, path: {flags}}}\n")
    missing = run("check", "-c", str(path))
    assert (missing.exit_code, "flags.path" in missing.stderr) == (1, True)
    flags.write_bytes(FLAG[:-1])
    broken = run("check", "-c", str(path))
    assert (broken.exit_code, "flags.json" in broken.stderr) == (1, True)
    flags.write_bytes(FLAG)
    good = run("check", "-c", str(path))
    assert (good.exit_code, good.stderr) == (0, "")
    flags.write_bytes(FLAG.replace(b"rain-v2-canary", b"rain-v3-canary"))
    misnamed = run("check", "-c", str(path))
    assert misnamed.exit_code == 0
    assert "has no 'rain-v2-canary': nobody sees the candidate" in misnamed.stderr
