"""A registry on loopback that answers by a table, remembers what it was asked, and can be slow."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """`path` is with its query; `fields` by lower-case name."""

    method: str
    path: str
    fields: dict[str, str]
    body: Any


class Reply(NamedTuple):
    """`body` is sent as it is when it is bytes, as JSON otherwise."""

    body: Any
    status: int = 200
    fields: tuple[tuple[str, str], ...] = ()


Answers = Callable[[Asked], Reply | None]


class RegistryServer:
    """Serves what `answers` returns, 404 for None. `release` ends answers that `hold` keeps waiting."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[Asked] = []
        self.hold = False
        self._released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                fields = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, fields, body)
                outer.asked.append(asked)
                if outer.hold:
                    outer._released.wait(30)
                    return
                reply = outer.answers(asked) or Reply({"error": "not found"}, 404)
                content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in reply.fields:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                """Tests read `asked`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Answer nobody any more. Twice is harmless."""
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def hub(revisions: dict[tuple[str, str], dict[str, Any]]) -> Answers:
    """The Hub's `GET /api/models/{repo_id}/revision/{revision}`, by repository and revision."""

    def answers(asked: Asked) -> Reply | None:
        for (name, revision), found in revisions.items():
            if asked.path == f"/api/models/{name}/revision/{revision}":
                return Reply(found)
        return Reply({"error": "Revision Not Found"}, 404, (("x-error-code", "RevisionNotFound"),))

    return answers


def wandb(runs: dict[str, dict[str, Any]]) -> Answers:
    """The GraphQL endpoint of Weights & Biases, with runs by ENTITY/PROJECT/NAME."""

    def answers(asked: Asked) -> Reply | None:
        if asked.path != "/graphql":
            return None
        given = asked.body["variables"]
        run = runs.get(f"{given['entity']}/{given['project']}/{given['name']}")
        return Reply({"data": {"project": {"run": run}}})

    return answers
