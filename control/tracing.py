"""Sending spans to a collector by OTLP over HTTP, out of the log's process and out of everybody's way.

What waits is bounded, in requests; beyond that spans are dropped and counted, as they are while the collector
is away. Nothing is tried again later: a trace that comes an hour late helps nobody.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from control.log import note
from domain.errors import ConfigError
from monitoring.log.interpreter import MOST_CONTEXTS
from monitoring.log.spans import SERVER, Span, spans
from monitoring.log.wire import Context, Entry, Section, decode_reading
from settings.sinks import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

MOST_WAITING = 10_000
"""Requests whose spans are not made yet; they wait without their bodies."""
AT_ONCE = 256
"""Requests whose spans are sent together."""
PATIENCE = 5.0
"""Seconds that the collector has to take them."""

SENT, FAILED, DROPPED = "sent", "failed", "dropped"

log = logging.getLogger("pointsman.tracing")


class Exporter(Protocol):
    """OpenTelemetry's span exporter, as far as it is used."""

    def export(self, spans: Sequence[ReadableSpan], /) -> Any:
        """Whether they were taken: a result with the name SUCCESS, or another."""
        ...

    def shutdown(self) -> None:
        """Let go."""
        ...


def token(settings: TracingSettings, environment: Mapping[str, str]) -> str | None:
    """The collector's token, None when none is configured. Raises ConfigError without the variable."""
    if settings.token_env is None:
        return None
    secret = environment.get(settings.token_env, "")
    if not secret or not secret.isprintable():
        allowed = "the environment has no such variable with a token; put it there"
        raise ConfigError("tracing.token_env", settings.token_env, allowed)
    return secret


def exporter(settings: TracingSettings, environment: Mapping[str, str]) -> Exporter:
    """Sends to the collector. Raises ConfigError without a token, ImportError without the package."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    secret = token(settings, environment)
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    return OTLPSpanExporter(f"{settings.url}/v1/traces", headers=headers, timeout=PATIENCE)


class Tracer:
    """Makes spans of requests and sends them, in a thread of its own."""

    def __init__(self, settings: TracingSettings, exporter: Exporter) -> None:
        from opentelemetry.sdk.resources import Resource

        self._settings = settings
        self._exporter = exporter
        self._resource = Resource({"service.name": settings.service})
        self._counts: Counter[str] = Counter()
        self._traced: OrderedDict[bytes, bool] = OrderedDict()
        self._waiting: deque[tuple[Context, Entry]] = deque()
        self._woken = threading.Condition()
        self._ending = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def counts(self) -> dict[str, int]:
        """Spans by what became of them; those of requests that found no room count as one each."""
        return dict(self._counts.copy())

    def offer(self, section: Section) -> None:
        """Requests that are on record; returns at once, from any thread."""
        context = section.context
        if not self._is_traced(context.reading):
            return
        with self._woken:
            for entry in section.entries:
                if len(self._waiting) >= MOST_WAITING:
                    self._counts[DROPPED] += 1
                else:
                    self._waiting.append((context, _bare(entry)))
            self._woken.notify()

    def close(self, within: float) -> None:
        """Send what waits, as far as `within` seconds allow, and end."""
        with self._woken:
            self._ending = True
            self._woken.notify()
        self._thread.join(within)
        self._exporter.shutdown()

    def _is_traced(self, reading: bytes) -> bool:
        found = self._traced.get(reading)
        if found is None:
            found = self._traced[reading] = _traced(reading)
            if len(self._traced) > MOST_CONTEXTS:
                self._traced.popitem(last=False)
        return found

    def _run(self) -> None:
        while True:
            with self._woken:
                self._woken.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    return
                taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            try:
                self._send(
                    [one for context, entry in taken for one in spans(context, entry, self._settings.share)]
                )
            except Exception:  # this thread ends only with the process
                log.exception("making spans failed")

    def _send(self, made: list[Span]) -> None:
        if not made:
            return
        try:
            result = self._exporter.export([self._readable(one) for one in made])
            reason = (
                "" if result.name == "SUCCESS" else f"the collector at {self._settings.url} did not take them"
            )
        except Exception as error:  # the client library's own
            reason = f"{type(error).__name__}: {error}"
        self._counts[FAILED if reason else SENT] += len(made)
        if bool(reason) != self._failing:
            self._failing = bool(reason)
            event = "spans are lost" if reason else "spans are sent"
            note(log, logging.WARNING if reason else logging.INFO, event, reason=reason)

    def _readable(self, one: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        flags = TraceFlags(TraceFlags.SAMPLED)
        above = None
        if one.parent:
            above = SpanContext(one.trace, one.parent, one.parent_is_remote, flags)
        return ReadableSpan(
            one.name, SpanContext(one.trace, one.id, False, flags), above, self._resource, one.attributes,
            kind=SpanKind.SERVER if one.kind == SERVER else SpanKind.CLIENT,
            instrumentation_scope=InstrumentationScope("pointsman"),
            status=Status(StatusCode.ERROR if one.failed else StatusCode.UNSET),
            start_time=one.start, end_time=one.end,
        )  # fmt: skip


def _bare(entry: Entry) -> Entry:
    """Without what may be long."""
    other = entry.mirrored
    return entry._replace(
        request=None, answer=None, mirrored=None if other is None else other._replace(body=b"")
    )


def _traced(reading: bytes) -> bool:
    """Whether entries have a trace context; none where it cannot be known."""
    try:
        return decode_reading(reading).traced
    except msgspec.MsgspecError:
        return False
