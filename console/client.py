"""The admin API as the command line uses it."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from domain.errors import ConfigError, PointsmanError
from settings.auth import loopback

DEFAULT_ADMIN = "http://127.0.0.1:8081"
TOKEN, AUTHORITY = "POINTSMAN_TOKEN", "POINTSMAN_CA"
"""Environment variables: the token, and the PEM file of the authority behind the admin API's certificate."""

TIMEOUT = 10.0
"""Seconds that one answer may take: a kill waits for every worker's confirmation, which is milliseconds."""

QUIET = 30.0
"""Seconds without a word after which a stream of events is taken for dead: it tells something every ten."""

_TOKEN = re.compile(r"[!-~]{1,8192}")


class Unreachable(PointsmanError):  # noqa: N818 - what the gateway is, not a mistake of this program
    """Nothing answered at the admin address in time."""


class Refused(PointsmanError):  # noqa: N818 - named after what the admin API did
    """The admin API answered with an error, or not as itself. `problem` is its RFC 9457 document."""

    def __init__(self, problem: Mapping[str, object]) -> None:
        self.problem = dict(problem)
        super().__init__(_sentence(problem))

    @property
    def status(self) -> int:
        """The HTTP status of the answer; 0 when the document names none."""
        status = self.problem.get("status")
        return status if isinstance(status, int) else 0


class AdminClient:
    """Speaks to one gateway's admin API.

    Every method returns the decoded JSON as it came; raises Unreachable when nothing answers and Refused when
    the answer is an error. `base` is checked at once: ConfigError unless it is an http or https URL. From
    `environment` (None: the process's) come the token, and the authority that signs the certificate.
    """

    def __init__(
        self,
        base: str = DEFAULT_ADMIN,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout: float = TIMEOUT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.base = _checked(base)
        known = os.environ if environment is None else environment
        # The admin API listens on loopback: a proxy of the environment would only lead away from it.
        self._http = httpx.Client(
            base_url=self.base,
            headers=_credentials(self.base, known.get(TOKEN, "")),
            verify=_trusted(known.get(AUTHORITY, "")),
            transport=transport,
            timeout=timeout,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def endpoints(self) -> object:
        """All endpoints with switch, release and guards."""
        return self._ask("GET", "/api/v1/endpoints")

    def endpoint(self, name: str) -> object:
        """One endpoint with switch, release and guards."""
        return self._ask("GET", _path(name))

    def kill(self, name: str, reason: str) -> object:
        """Take the candidate out of traffic; answers when the kill is kept and the workers have it."""
        return self._ask("POST", _path(name, "kill"), body={"reason": reason})

    def rearm(self, name: str, reason: str, kills: Sequence[str]) -> object:
        """Clear exactly `kills`; Refused with status 409 when others are in force."""
        return self._ask("POST", _path(name, "rearm"), body={"reason": reason, "kills": list(kills)})

    def releases(self, endpoint: str | None) -> object:
        """The newest releases, of one endpoint or of all."""
        query = {} if endpoint is None else {"endpoint": endpoint}
        return self._ask("GET", "/api/v1/releases", query=query)

    def release(self, name: str) -> object:
        """The release whose id is `name`, with every step that it took."""
        return self._ask("GET", f"/api/v1/releases/{quote(name, safe='')}")

    def start_release(self, endpoint: str, person: str | None = None) -> object:
        """Start a release of what is configured for `endpoint`, as `person`."""
        body = {"endpoint": endpoint} if person is None else {"endpoint": endpoint, "as": person}
        return self._ask("POST", "/api/v1/releases", body=body)

    def approve_release(self, name: str, reason: str, person: str | None) -> object:
        """Approve the release whose id is `name`, as `person`, where nobody is asked to prove it."""
        body = {"reason": reason} if person is None else {"reason": reason, "as": person}
        return self._ask("POST", f"/api/v1/releases/{quote(name, safe='')}/approve", body=body)

    def abort_release(self, name: str, reason: str) -> object:
        """Abort the release whose id is `name`."""
        return self._ask("POST", f"/api/v1/releases/{quote(name, safe='')}/abort", body={"reason": reason})

    def drills(self, endpoint: str | None) -> object:
        """The newest drills, of one endpoint or of all."""
        query = {} if endpoint is None else {"endpoint": endpoint}
        return self._ask("GET", "/api/v1/drills", query=query)

    def drill(self, name: str) -> object:
        """The drill whose id is `name`, with its report."""
        return self._ask("GET", f"/api/v1/drills/{quote(name, safe='')}")

    def start_drill(self, endpoint: str, fault: str | None, person: str | None = None) -> object:
        """Begin a drill of `endpoint`, with `fault` in place of the configured one, as `person`."""
        given = {"endpoint": endpoint, "fault": fault, "as": person}
        return self._ask("POST", "/api/v1/drills", body={k: v for k, v in given.items() if v is not None})

    def receivers(self) -> object:
        """Who is told what happens, and what waits for whom."""
        return self._ask("GET", "/api/v1/notifications")

    def test_receiver(self, name: str) -> object:
        """Send a test notification to receiver `name`; answers what came of it."""
        return self._ask("POST", "/api/v1/notifications/test", body={"receiver": name})

    def run_gates(self, name: str) -> object:
        """Execute the gates; answers when all have a verdict, so give the client time."""
        return self._ask("POST", f"/api/v1/gates/{quote(name, safe='')}/run")

    def drift(self, name: str, hours: int) -> object:
        """How far requests and predictions of `name` are from their reference, in the last `hours`."""
        return self._ask("GET", _path(name, "drift"), query={"hours": str(hours)})

    def relearn_drift(self, name: str, reason: str) -> object:
        """Retire the reference that was learned, and learn another one."""
        return self._ask("POST", _path(name, "drift/relearn"), body={"reason": reason})

    def pairs(self, name: str, worst: int, guard: str | None = None) -> object:
        """The `worst` most divergent pairs, or by what `guard` watches, that are still kept, worst first."""
        by = {} if guard is None else {"guard": guard}
        return self._ask("GET", _path(name, "pairs"), query={"worst": str(worst), **by})

    def live(self, at: str, endpoint: str | None) -> object:
        """What was live at `at`, of one endpoint or of all."""
        query = {"at": at} if endpoint is None else {"at": at, "endpoint": endpoint}
        return self._ask("GET", "/api/v1/live", query=query)

    def decision(self, request: str) -> object:
        """Why the request with this id was answered as it was."""
        return self._ask("GET", f"/api/v1/decisions/{quote(request, safe='')}")

    def diagnosis(self, endpoint: str, at: str | None, signal: str | None) -> object:
        """What changed on `endpoint` near `at`, or before its last trip; give the client time."""
        asked = {"at": at, "signal": signal}
        query = {name: value for name, value in asked.items() if value is not None}
        return self._ask("GET", f"/api/v1/diagnoses/{quote(endpoint, safe='')}", query=query)

    def send_labels(self, labels: Sequence[Mapping[str, object]]) -> object:
        """Send labels, as the admin API takes them; what became of them."""
        return self._ask("POST", "/api/v1/labels", body=list(labels))

    def labels(self) -> object:
        """How labels stand."""
        return self._ask("GET", "/api/v1/labels")

    def accuracy(self, name: str, by: str, since: str | None, until: str | None) -> object:
        """How right every version of an endpoint is, as labels tell."""
        asked = {"by": by, "since": since, "until": until}
        query = {key: value for key, value in asked.items() if value is not None}
        return self._ask("GET", _path(name, "accuracy"), query=query)

    def bill_of_materials(self, version: str) -> object:
        """What `version` was made of, as CycloneDX."""
        return self._ask("GET", f"/api/v1/audit/versions/{quote(version, safe='')}/mlbom")

    def export(self) -> Iterator[bytes]:
        """The audit chain, a line for each record."""
        with self._reaching("GET"), self._http.stream("GET", "/api/v1/audit/export") as answer:
            if not answer.is_success:
                answer.read()
                self._read(answer)
            held = b""
            for part in answer.iter_bytes(1 << 20):
                *lines, held = (held + part).split(b"\n")
                yield from (line + b"\n" for line in lines)
            if held:
                yield held

    def events(self, opened: Callable[[socket.socket], None]) -> Iterator[str]:
        """Kinds of events as they happen, "" first, once they will be told; until either side ends it.

        `opened` is given the connection: shutting it down ends the iterator from another thread.
        """
        patience = httpx.Timeout(TIMEOUT, read=QUIET)
        with (
            self._reaching("GET"),
            self._http.stream("GET", "/api/v1/events", timeout=patience) as answer,
        ):
            if not answer.is_success:
                answer.read()
                self._read(answer)
            stream = answer.extensions.get("network_stream")
            connection = None if stream is None else stream.get_extra_info("socket")
            if connection is not None:
                opened(connection)
            yield ""
            for line in answer.iter_lines():
                if line.startswith("event:"):
                    yield line.removeprefix("event:").strip()

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | Sequence[object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> object:
        with self._reaching(method):
            answer = self._http.request(method, path, json=body, params=query)
        return self._read(answer)

    @contextmanager
    def _reaching(self, method: str) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise Unreachable(
                f"nothing listens at {self.base} ({error}). Start a gateway with 'pointsman serve -c FILE', "
                "or name another address with --admin URL or POINTSMAN_ADMIN."
            ) from error
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"{self.base} did not answer in time ({type(error).__name__}): the control process may be "
                f"starting or overloaded. The data plane serves its clients without it.{_doubt(method)}"
            ) from error
        except httpx.RequestError as error:
            raise Unreachable(f"{self.base} broke off its answer ({error}).{_doubt(method)}") from error

    def _read(self, answer: httpx.Response) -> object:
        try:
            document: object = answer.json()
        except (json.JSONDecodeError, UnicodeDecodeError):
            document = None
        if not answer.is_success:
            raise Refused(_problem(answer.status_code, document, self.base))
        if not isinstance(document, dict):
            detail = f"{self.base} answers, but not as Pointsman's admin API; is the address right?"
            raise Refused(
                {"type": "about:blank", "title": "Unreadable answer", "status": 0, "detail": detail}
            )
        return document


def _checked(base: str) -> str:
    allowed = f"a URL such as {DEFAULT_ADMIN}"
    try:
        url = httpx.URL(base)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigError("--admin", base, allowed) from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigError("--admin", base, allowed)
    return base.rstrip("/")


def _credentials(base: str, token: str) -> dict[str, str]:
    """The token as a header. Raises ConfigError where it would travel in the clear, or is none."""
    if not token:
        return {}
    if not _TOKEN.fullmatch(token):
        raise ConfigError(TOKEN, "***", "it holds no token: blanks, line ends or letters beyond ASCII")
    url = httpx.URL(base)
    if url.scheme != "https" and not loopback(url.host):
        raise ConfigError("--admin", base, "a token is sent by https only, but for loopback")
    return {"authorization": f"Bearer {token}"}


def _trusted(authority: str) -> ssl.SSLContext | bool:
    if not authority:
        return True
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(AUTHORITY, authority, f"a PEM file with certificates ({error})") from error


def _doubt(method: str) -> str:
    if method == "GET":
        return " Try again."
    return (
        " Whether the change was made is not known: look with 'pointsman status', then repeat it if need be."
    )


def _path(name: str, action: str = "") -> str:
    path = f"/api/v1/endpoints/{quote(name, safe='')}"
    return f"{path}/{action}" if action else path


def _problem(status: int, document: object, base: str) -> Mapping[str, object]:
    if isinstance(document, dict) and ("title" in document or "detail" in document):
        return {"status": status, **document}
    phrase = http.client.responses.get(status, "Error")
    detail = f"{base} answered {status} without saying why; is it Pointsman's admin API?"
    return {"type": "about:blank", "title": phrase, "status": status, "detail": detail}


def _sentence(problem: Mapping[str, object]) -> str:
    said = ": ".join(str(problem[key]) for key in ("title", "detail") if problem.get(key))
    errors = problem.get("errors")
    fields = [_field(error) if isinstance(error, dict) else str(error) for error in _listed(errors)]
    return "\n  ".join([said, *(field for field in fields if field not in said)])


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _field(error: Mapping[str, object]) -> str:
    place = error.get("path") or error.get("field") or error.get("loc") or ""
    text = error.get("allowed") or error.get("detail") or error.get("message") or error.get("msg") or ""
    return f"{place}: {text}" if place else str(text)
