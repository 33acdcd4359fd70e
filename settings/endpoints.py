"""Reading one endpoint."""

from __future__ import annotations

import re

from domain.routing import FULL_WEIGHT
from domain.snapshot import ShadowLimits, UnitKind, UnitSource
from settings import units, values
from settings.guards import LIMIT, guards
from settings.reader import Section
from settings.schema import CompareSettings, EndpointSettings
from settings.stages import plan
from settings.upstreams import version

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FEATURE = re.compile(r"feature:[A-Za-z0-9_.-]{1,64}")
_CRON_FIELD = re.compile(r"(?:\*|[0-9A-Za-z]{1,3}(?:-[0-9A-Za-z]{1,3})?)(?:/[0-9]{1,2})?")
_CRON_FIELDS = 5
_RESERVED_CONTEXT = frozenset({"userId", "remoteAddress", "environment", "appName", "currentTime"})
_PROTOCOL = values.only(
    ("v2", "json"), ("mlflow", "tfserving", "seldon", "openai"), "this version does not read that payload yet"
)
_KIND = values.only(
    ("regression", "classification"),
    ("ranking", "embedding", "text", "json", "boxes", "series"),
    "this version cannot compare such predictions yet",
)
_KIND_KEYS = (
    ("tolerance", "regression"),
    ("scale", "regression"),
    ("labels", "classification"),
    ("threshold", "classification"),
)
_MOST_LABELS = 10_000


def endpoint_name(value: object) -> str:
    """A name that can stand in a URL and in a metric's label."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise ValueError("an endpoint's name is 1 to 64 letters, digits, _ . - and starts with a letter or digit")


def endpoint(name: str, section: Section, *, flag_file: bool) -> EndpointSettings | None:
    """The endpoint; None, with problems kept, when something is missing that has no default.

    `flag_file` says whether there is a file that a flag could stand in.
    """
    path = section.need("path", values.path, "the path that clients call, such as /v2/models/rain/infer")
    protocol = section.need("protocol", _PROTOCOL, "how payloads are written: v2 or json")
    unit = section.need("unit", unit_source, "what an assignment sticks to, such as header:x-user-id")
    incumbent_section = section.required("incumbent", "the trusted version: {version: ..., urls: [...]}")
    candidate_section = section.optional("candidate")
    incumbent = None if incumbent_section is None else version(incumbent_section)
    candidate = None if candidate_section is None else version(candidate_section)
    if candidate_section and incumbent and candidate and candidate.name == incumbent.name:
        candidate_section.refuse("version", candidate.name, "name another version than the incumbent's")
    compare_section = section.required("compare", "how to compare, such as {kind: classification}")
    compare = None if compare_section is None else _compare(compare_section, protocol)
    defaults = ShadowLimits()
    timeout = section.take("timeout", values.duration("1ms", "1h"), 2.0)
    max_body = section.take("max_body", values.size("1B", "1GiB"), 8 * 1024 * 1024)
    idempotent = section.take("idempotent", values.boolean, False)
    flag = section.take("flag", values.text(100), None)
    if flag is not None and not flag_file:
        section.refuse(
            "flag", flag, "there is no flag file: give flags.path, or leave this out to expose everybody"
        )
    context = section.pairs("context", _context_field, values.header_name)
    shadow = _shadow(section.section("shadow"), defaults)
    watched = guards(section.section("guards"))
    stages = plan(section)
    _later(section)
    if path is None or protocol is None or unit is None or incumbent is None or compare is None:
        return None
    return EndpointSettings(
        name=name,
        path=path,
        protocol=protocol,
        unit=unit,
        incumbent=incumbent,
        compare=compare,
        candidate=candidate,
        context=context,
        timeout=timeout,
        max_body=max_body,
        idempotent=idempotent,
        flag=flag,
        shadow=shadow,
        guards=watched,
        plan=stages,
    )


def unit_source(value: object) -> UnitSource:
    """`header:NAME`, `body:/json/pointer` or `request`."""
    if value == "request":
        return UnitSource(UnitKind.REQUEST)
    if isinstance(value, str) and value.startswith("header:"):
        return UnitSource(UnitKind.HEADER, values.header_name(value))
    if isinstance(value, str) and value.startswith("body:"):
        return UnitSource(UnitKind.BODY, values.pointer(value.removeprefix("body:")))
    raise ValueError("write header:NAME, body:/json/pointer or request")


def _context_field(value: object) -> str:
    field = values.text(64)(value)
    if field in _RESERVED_CONTEXT:
        raise ValueError(f"{field} is set by the gateway itself; map sessionId or a property of your own")
    return field


def _shadow(section: Section, defaults: ShadowLimits) -> ShadowLimits:
    if section.take("noise_share", units.basis_points, 0) > 0:
        section.inert("noise_share")
    return ShadowLimits(
        share=section.take("share", units.basis_points, FULL_WEIGHT),
        max_in_flight=section.take("max_in_flight", values.whole(1, 65_536), defaults.max_in_flight),
        max_bytes=section.take("max_bytes", values.size("1KiB", "64GiB"), defaults.max_bytes),
    )


def _compare(section: Section, protocol: str | None) -> CompareSettings | None:
    kind = section.need("kind", _KIND, "regression or classification")
    output = values.pointer if protocol == "json" else values.text()
    defaults = CompareSettings("regression")
    found = CompareSettings(
        kind=kind or defaults.kind,
        output=section.take("output", output, None),
        tolerance=section.take("tolerance", values.number(1e-12, 1e12), defaults.tolerance),
        scale=section.take("scale", values.number(1e-12, 1e12), defaults.scale),
        labels=section.each("labels", values.text()),
        threshold=section.take("threshold", values.number(1e-6, 1 - 1e-6), defaults.threshold),
    )
    if len(found.labels) > _MOST_LABELS:
        section.refuse("labels", section.given("labels"), f"name at most {_MOST_LABELS} classes")
    for key, belongs in _KIND_KEYS:
        if kind is not None and kind != belongs and section.holds(key):
            section.refuse(key, section.given(key), f"{key} belongs to 'kind: {belongs}'; leave it out")
    return None if kind is None else found


def _later(section: Section) -> None:
    """What belongs to the contract but is not acted upon yet: validated, then noted as inert."""
    section.each("cohorts", _cohort)
    section.take("watch", values.duration("0s", "365d"), 0.0)
    gates = section.section("gates")
    evaluation = gates.section("evaluation")
    for key in ("data", "label", "metric"):
        evaluation.take(key, values.text(), None)
    evaluation.take("tolerance", LIMIT, None)
    latency = gates.section("latency")
    latency.take("p99", values.duration("1ms", "1h"), None)
    latency.take("rps", values.number(0.001, 1e6), None)
    latency.take("for", values.duration("1s", "7d"), None)
    gates.section("memory").take("max", values.size("1B", "1000GiB"), None)
    drift = gates.section("drift")
    drift.take("against", values.text(), None)
    drift.take("shift", LIMIT, None)
    drills = section.section("drills")
    drills.take("every", _cron, None)
    drills.take("environment", values.text(), None)
    for key in ("cohorts", "gates", "watch", "drills"):
        section.inert(key)


def _cohort(value: object) -> str:
    if isinstance(value, str) and value.startswith("header:"):
        return f"header:{values.header_name(value)}"
    if isinstance(value, str) and _FEATURE.fullmatch(value):
        return value
    raise ValueError("write header:NAME, or feature:NAME or feature:INDEX")


def _cron(value: object) -> str:
    fields = value.split() if isinstance(value, str) else []
    parts = [part for field in fields for part in field.split(",")]
    if len(fields) == _CRON_FIELDS and all(_CRON_FIELD.fullmatch(part) for part in parts):
        return " ".join(fields)
    raise ValueError('write minute, hour, day, month and weekday as cron does, such as "0 3 * * 1"')
