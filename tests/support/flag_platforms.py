"""Flag platforms as Pointsman meets them: a real provider each, on a file or on a small real HTTP server."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, cast

from ldclient.config import Config
from ldclient.integrations.test_data import TestData

from routing.sources.evaluator import Evaluator
from routing.sources.openfeature import SdkEvaluator
from routing.sources.providers import evaluator
from settings.schema import OpenFeatureSettings

KEY = "sdk-key"


class Platform(Protocol):
    """`exposed` maps each boolean flag to the units that it exposes."""

    settings: OpenFeatureSettings
    token: str | None

    def set(self, flags: Mapping[str, list[str]]) -> None:
        """Have these flags, and no others, from now on."""

    def evaluator(
        self, changed: Callable[[], None] = lambda: None, known: Mapping[str, str] | None = None
    ) -> Evaluator:
        """What asks it, not started. `known` are attributes of every question."""


class _Named:
    """A platform that a configuration can name."""

    settings: OpenFeatureSettings
    token: str | None = None

    def evaluator(
        self, changed: Callable[[], None] = lambda: None, known: Mapping[str, str] | None = None
    ) -> Evaluator:
        return evaluator(self.settings, self.token, known or {}, changed, time.monotonic)


class FlagdFile(_Named):
    """flagd's provider on a file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "flagd.json"
        self.settings = OpenFeatureSettings("flagd", path=str(self.path))
        self._written = 0

    def set(self, flags: Mapping[str, list[str]]) -> None:
        self.write(json.dumps({"flags": {name: _of_flagd(units) for name, units in flags.items()}}))

    def write(self, text: str) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text(text)
        self._written += 1
        # flagd looks at the time of the last change only.
        os.utime(beside, (time.time() + self._written, time.time() + self._written))
        beside.replace(self.path)


def _of_flagd(units: list[str]) -> dict[str, Any]:
    is_one_of = {"in": [{"var": "targetingKey"}, units]}
    return {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [is_one_of, "on", "off"]},
    }


class LaunchDarklyTestData:
    """LaunchDarkly's provider on its own test data source."""

    token: str | None = KEY

    def __init__(self) -> None:
        self.settings = OpenFeatureSettings("launchdarkly", token_env="LD")
        self.data = TestData.data_source()

    def set(self, flags: Mapping[str, list[str]]) -> None:
        for name, units in flags.items():
            flag = self.data.flag(name).boolean_flag().clear_targets().fallthrough_variation(False)
            for unit in units:
                flag = flag.variation_for_user(unit, True)
            self.data.update(flag)

    def evaluator(
        self, changed: Callable[[], None] = lambda: None, known: Mapping[str, str] | None = None
    ) -> Evaluator:
        from ld_openfeature import LaunchDarklyProvider

        def make() -> Any:
            return LaunchDarklyProvider(
                Config(KEY, update_processor_class=self.data, send_events=False), start_wait=5
            )

        return SdkEvaluator(self.settings, make, known or {}, changed, time.monotonic)


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Server(_Named):
    """A platform behind HTTP. `status` other than 200 answers everything; `asked` is what came."""

    def __init__(self) -> None:
        self.flags: dict[str, list[str]] = {}
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, Mapping[str, str], Any]] = []
        self.changed = threading.Condition()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.handle(self, None)

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length)
                if len(body) == length:  # else the client has left
                    owner.handle(self, json.loads(body))

            def log_message(self, *args: Any) -> None:
                """Tests are quiet."""

        self._server = _Listening(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def set(self, flags: Mapping[str, list[str]]) -> None:
        with self.changed:
            self.flags = dict(flags)
            self.changed.notify_all()

    def close(self) -> None:
        self.set({})
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handle(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.path, headers, body))
        if self.status == 200:
            self.answer(request, body)
        else:
            self.send(request, self.status, {"error": "no"})

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        raise AssertionError

    def send(self, request: BaseHTTPRequestHandler, status: int, body: object) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


class Ofrep(_Server):
    """OpenFeature's remote evaluation protocol, as flagd, GO Feature Flag and others speak it.

    `values` are flags that are no booleans: what everybody gets. `raw` is answered in place of anything.
    """

    token: str | None = KEY

    def __init__(self) -> None:
        super().__init__()
        self.settings = OpenFeatureSettings("ofrep", url=self.url, token_env="OFREP", timeout=1.0)
        self.values: dict[str, object] = {}
        self.raw: bytes | None = None

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        flag = request.path.removeprefix("/ofrep/v1/evaluate/flags/")
        if self.raw is not None:
            self.send(request, 200, self.raw)
        elif flag in self.values:
            self.send(request, 200, {"key": flag, "value": self.values[flag], "variant": "v"})
        elif flag in self.flags:
            exposed = body["context"]["targetingKey"] in self.flags[flag]
            shown = {"key": flag, "value": exposed, "variant": "on" if exposed else "off", "reason": "SPLIT"}
            self.send(request, 200, shown)
        else:
            self.send(request, 404, {"key": flag, "errorCode": "FLAG_NOT_FOUND"})


class GrowthBook(_Server):
    """GrowthBook's features endpoint, for its own provider. `values` as for Ofrep."""

    token: str | None = KEY

    def __init__(self) -> None:
        super().__init__()
        self.settings = OpenFeatureSettings("growthbook", url=self.url, token_env="GB", age=2.0)
        self.values: dict[str, object] = {}

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        features: dict[str, Any] = {
            name: {
                "defaultValue": False,
                "rules": [{"condition": {"id": {"$in": units}}, "force": True}],
            }
            for name, units in self.flags.items()
        }
        features |= {name: {"defaultValue": value} for name, value in self.values.items()}
        self.send(request, 200, {"status": 200, "features": features})


class LaunchDarklyRelay(_Server):
    """LaunchDarkly's stream of flags, as its Relay Proxy serves it."""

    token: str | None = KEY

    def __init__(self) -> None:
        super().__init__()
        self.settings = OpenFeatureSettings("launchdarkly", url=self.url, token_env="LD")

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        request.send_response(200)
        request.send_header("content-type", "text/event-stream")
        request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        version = 0
        try:
            while True:
                version += 1
                with self.changed:
                    flags = {
                        name: _of_launchdarkly(name, units, version) for name, units in self.flags.items()
                    }
                    put = {"path": "/", "data": {"flags": flags, "segments": {}}}
                    event = f"event: put\ndata: {json.dumps(put)}\n\n".encode()
                    request.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                    request.wfile.flush()
                    self.changed.wait()
        except OSError:
            pass  # the client has left


def _of_launchdarkly(name: str, units: list[str], version: int) -> dict[str, Any]:
    return {
        "key": name, "version": version, "on": True, "variations": [True, False], "offVariation": 1,
        "targets": [{"values": units, "variation": 0}], "rules": [], "prerequisites": [],
        "fallthrough": {"variation": 1}, "salt": "salt", "trackEvents": False, "clientSide": False,
    }  # fmt: skip


PLATFORMS = ("flagd", "launchdarkly test data", "launchdarkly relay", "growthbook", "ofrep")


@contextmanager
def platform(name: str, folder: Path) -> Iterator[Platform]:
    """One of PLATFORMS, without flags."""
    if name == "flagd":
        yield FlagdFile(folder)
    elif name == "launchdarkly test data":
        yield LaunchDarklyTestData()
    else:
        kinds: dict[str, type[_Server]] = {
            "launchdarkly relay": LaunchDarklyRelay, "growthbook": GrowthBook, "ofrep": Ofrep,
        }  # fmt: skip
        served = kinds[name]()
        try:
            yield cast("Platform", served)
        finally:
            served.close()
