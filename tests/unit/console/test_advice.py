"""What the command line advises after a no, and what the shell completes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from console.advice import missing_endpoint, nearest, next_step
from console.app import app
from console.client import AdminClient, Refused
from tests.support.ports import free_port

DETAIL = "no endpoint is called 'rian'; configured: rain, snow"
MISSING = {"title": "Not Found", "status": 404, "detail": DETAIL}
TWO = {"endpoints": [{"endpoint": "rain"}, {"endpoint": "snow"}, {"endpoint": "r\u202eevil"}]}
STATUS = "GET /api/v1/endpoints/rain"


class Stub:
    """An admin API that answers what it is told to."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {"GET /api/v1/endpoints": (200, TWO)}
        self.url = ""


@pytest.fixture(scope="module")
def server() -> Iterator[Stub]:
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, document = stub.answers.get(f"{self.command} {self.path}", (404, MISSING))
            answer = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stub.url = f"http://127.0.0.1:{listening.server_port}"
    yield stub
    listening.shutdown()
    thread.join()
    listening.server_close()


def run(server: Stub, *arguments: str, **variables: str) -> Result:
    environment = {"COLUMNS": "200", "POINTSMAN_ADMIN": server.url, **variables}
    return CliRunner().invoke(app, arguments, env=environment)


@pytest.mark.parametrize("command", [("status", "rian"), ("pairs", "rian"), ("drift", "rian")])
def test_an_unknown_endpoint_is_told_the_nearest_name(server: Stub, command: tuple[str, ...]) -> None:
    done = run(server, *command)
    assert done.exit_code == 1
    assert "did you mean 'rain'?" in done.stderr


def test_a_name_that_is_like_nothing_gets_no_guess() -> None:
    assert nearest("zebra", ["rain", "snow"]) == ""
    assert nearest("rain", ["rain", "rains"]) == ""
    assert missing_endpoint({"status": 404, "detail": "no release has this id"}) is None
    assert missing_endpoint({"status": 404, "detail": 'no endpoint is called "it\'s"'}) == "it's"


def test_who_shows_no_token_is_told_how_to(server: Stub) -> None:
    server.answers[STATUS] = (401, {"title": "Unauthorized", "status": 401, "detail": "say who you are"})
    none, bad = run(server, "status", "rain"), run(server, "status", "rain", POINTSMAN_TOKEN="secret-one")
    assert none.exit_code == bad.exit_code == 1
    assert "put a token into POINTSMAN_TOKEN" in none.stderr
    assert "pointsman token list" in bad.stderr
    assert "secret-one" not in bad.stderr + bad.stdout


def test_who_lacks_a_role_is_told_which_and_how_to_get_it(server: Stub) -> None:
    detail = "this needs the role operator on endpoint 'rain'; ci has viewer there"
    server.answers[STATUS] = (403, {"title": "Forbidden", "status": 403, "detail": detail})
    done = run(server, "status", "rain", POINTSMAN_TOKEN="x")
    assert detail in done.stderr
    assert "pointsman token create" in done.stderr


def test_other_answers_speak_for_themselves() -> None:
    assert next_step({"status": 500}, False) == next_step({}, True) == ""


def test_nearest_commands_and_options_are_named(server: Stub) -> None:
    command, option = run(server, "statsu"), run(server, "status", "--jsno")
    assert command.exit_code == option.exit_code == 2
    assert "status" in command.stderr
    assert "--json" in option.stderr


def completed(words: str, **variables: str) -> list[str]:
    asked = {"_POINTSMAN_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": words,
             "_TYPER_COMPLETE_FISH_ACTION": "get-args", **variables}  # fmt: skip
    done = CliRunner().invoke(app, [], env=asked, prog_name="pointsman")
    assert done.stderr == ""
    return [line.split("\t")[0] for line in done.stdout.split()]


@pytest.mark.parametrize("words", ["pointsman status ", "pointsman drill run ", "pointsman accuracy "])
def test_endpoints_are_completed_from_the_gateway_without_those_that_hide(server: Stub, words: str) -> None:
    assert completed(words, POINTSMAN_ADMIN=server.url) == ["rain", "snow"]
    assert completed(f"{words}s", POINTSMAN_ADMIN=server.url) == ["snow"]


@pytest.mark.parametrize("admin", ["http://127.0.0.1:{port}", "no url"])
def test_nothing_is_completed_and_nothing_said_when_the_gateway_is_down(admin: str) -> None:
    assert completed("pointsman status ", POINTSMAN_ADMIN=admin.format(port=free_port())) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_every_shell(shell: str) -> None:
    asked = {"_POINTSMAN_COMPLETE": f"source_{shell}"}
    done = CliRunner().invoke(app, [], env=asked, prog_name="pointsman")
    assert done.exit_code == 0
    assert "_POINTSMAN_COMPLETE" in done.stdout


def test_events_are_read_until_they_end_and_a_refusal_is_one() -> None:
    stream = b": connected\n\nid: 1\nevent: trip\ndata: {}\n\n:\n\nid: 2\nevent: stage\ndata: {}\n\n"
    told = httpx.MockTransport(lambda _: httpx.Response(200, content=stream))
    with AdminClient(transport=told, environment={}) as client:
        assert list(client.events(lambda _: None)) == ["", "trip", "stage"]
    full = httpx.MockTransport(lambda _: httpx.Response(503, json={"title": "Crowded", "status": 503}))
    with AdminClient(transport=full, environment={}) as client, pytest.raises(Refused, match="Crowded"):
        list(client.events(lambda _: None))
