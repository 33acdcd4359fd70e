"""Reading an endpoint's promotion gates: what is measured before a release takes a step, and the limits."""

from __future__ import annotations

import math
import re
from urllib.parse import urlsplit

from domain.lineage import FIELDS
from settings import values
from settings.criteria import (
    LINEAGE_FIELDS,
    CustomGate,
    DriftGate,
    EvaluationGate,
    GateSettings,
    LatencyGate,
    LineageGate,
    MemoryGate,
    SchemaGate,
)
from settings.guards import LIMIT
from settings.reader import Section

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
CONFIDENCE = 0.95
"""With which a quantile must keep its limit."""

NAMES = ("evaluation", "latency", "memory", "drift", "lineage", "schema")
"""The gates that are built in; a custom gate needs another name."""

_PATH = values.text(1024)
_COLUMN = values.text(200)
_DURATION = values.duration("1ms", "1h")
_RATIO = values.number(1.0, 100.0)
_LOAD = values.duration("1s", "7d")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MOST_CUSTOM = 32
_MOST_ARGUMENTS = 256


def gates(section: Section, protocol: str | None) -> GateSettings:
    """The gates; a request's body is written for `protocol`."""
    defaults = GateSettings()
    found = GateSettings(
        evaluation=_evaluation(section.optional("evaluation"), protocol),
        latency=_latency(section.optional("latency")),
        memory=_memory(section.optional("memory")),
        drift=_drift(section.optional("drift")),
        lineage=_lineage(section.optional("lineage")),
        schema=_schema(section.optional("schema")),
        custom=_custom(section),
        valid_for=section.take("valid_for", values.duration("1m", "30d"), defaults.valid_for),
        requests=section.take("requests", _PATH, None),
    )
    if section.holds("latency") and not section.holds("requests") and not section.holds("evaluation"):
        section.refuse("latency", section.given("latency"), "give gates.requests or gates.evaluation to send")
    return found


def least_requests(quantile: float) -> int:
    """So many requests can show that a quantile keeps its limit, if none of them is beyond it.

    >>> least_requests(0.99), least_requests(0.5)
    (299, 5)
    """
    return math.ceil(math.log(1.0 - CONFIDENCE) / math.log(quantile))


def _evaluation(section: Section | None, protocol: str | None) -> EvaluationGate | None:
    if section is None:
        return None
    data = section.need("data", _PATH, "a CSV or Parquet file with held-out rows")
    label = section.need("label", _COLUMN, "the column that holds the truth")
    metric = section.need("metric", _COLUMN, "a scorer of scikit-learn, such as accuracy or roc_auc")
    tolerance = section.need("tolerance", LIMIT, "how much lower the candidate may score, such as 0.5%")
    features = section.each("features", _COLUMN)
    request = section.take("request", _COLUMN, None)
    confidence = section.take("confidence", values.fraction("50%", "99.99%"), 0.95)
    batch = section.take("batch", values.whole(1, 4096), 1 if protocol == "json" else 32)
    if features and request is not None:
        section.refuse("request", request, "a whole request holds its features: give one of the two")
    if protocol == "openai" and request is None:
        section.refuse("request", None, "openai needs the column with the whole body of each request")
    if label is not None and label in features:
        section.refuse("features", list(features), f"{label!r} is the label: the model must not see it")
    if data is None or label is None or metric is None or tolerance is None:
        return None
    return EvaluationGate(data, label, metric, tolerance, confidence, features, request, batch)


def _latency(section: Section | None) -> LatencyGate | None:
    if section is None:
        return None
    rps = section.need("rps", values.number(0.001, 1e6), "the load, in requests a second")
    lasts = section.take("for", _LOAD, 30.0)
    limits = tuple(
        (share, limit)
        for key, share in QUANTILES.items()
        if (limit := section.take(key, _DURATION, None)) is not None
    )
    ratios = tuple(
        (share, ratio)
        for key, share in QUANTILES.items()
        if (ratio := section.take(f"{key}_ratio", _RATIO, None)) is not None
    )
    errors = section.take("errors", values.fraction("0%", "50%"), 0.001)
    if not any(section.holds(key) or section.holds(f"{key}_ratio") for key in QUANTILES):
        section.refuse("p99", None, "give a limit (p50, p95, p99) or a ratio to the incumbent (p99_ratio)")
    if rps is None:
        return None
    highest = max((share for share, _ in limits + ratios), default=0.0)
    if highest and rps * lasts < least_requests(highest):
        needed = least_requests(highest)
        section.refuse(
            "for",
            section.given("for"),
            f"{rps:g} requests a second for {lasts:g} s are too few to show that {highest:.0%} of them keep "
            f"a limit: it takes {needed}, so {math.ceil(needed / rps)}s at least",
        )
    return LatencyGate(rps, lasts, limits, ratios, errors)


def _memory(section: Section | None) -> MemoryGate | None:
    if section is None:
        return None
    most = section.need("max", values.size("1B", "1000GiB"), "the limit, such as 512MiB")
    given = [key for key in ("metrics", "pid", "cgroup") if section.holds(key)]
    if len(given) > 1:
        section.refuse(given[1], section.given(given[1]), f"{given[0]} is given too: memory is read from one")
    lasts = section.take("for", _LOAD, 10.0)
    metrics = section.take("metrics", metrics_place, "/metrics")
    pid = section.take("pid", values.whole(1, 2**22), None)
    cgroup = section.take("cgroup", _PATH, None)
    return None if most is None else MemoryGate(most, lasts, metrics, pid, cgroup)


def _drift(section: Section | None) -> DriftGate | None:
    if section is None:
        return None
    defaults = DriftGate(0.1)
    shift = section.need("shift", LIMIT, "the limit, such as 10%")
    found = DriftGate(
        0.1 if shift is None else shift,
        section.take("data", _PATH, None),
        section.take("against", _PATH, defaults.against),
        section.take("time", _COLUMN, defaults.time),
        section.each("features", _COLUMN),
    )
    return None if shift is None else found


def _lineage(section: Section | None) -> LineageGate | None:
    if section is None:
        return None
    required = section.each("require", values.choice(*FIELDS))
    if section.given("require") == []:
        section.refuse("require", [], "name a field at least, or leave it out for all")
    return LineageGate(required or LINEAGE_FIELDS)


def _schema(section: Section | None) -> SchemaGate | None:
    return None if section is None else SchemaGate(section.take("requests", values.whole(1, 10_000), 20))


def _custom(section: Section) -> tuple[CustomGate, ...]:
    found: list[CustomGate] = []
    for one in section.sections("custom"):
        name = one.need("name", _custom_name, "what its results are called")
        command = one.each("command", _argument)
        url = one.take("url", _url, None)
        timeout = one.take("timeout", values.duration("1s", "1h"), 60.0)
        if one.holds("command") == one.holds("url"):
            one.refuse("command", one.given("command"), "give a command (a list) or a url, one of the two")
        elif one.given("command") == [] or len(command) > _MOST_ARGUMENTS:
            most = f"a program and up to {_MOST_ARGUMENTS - 1} arguments"
            one.refuse("command", one.given("command"), most)
        if name in [other.name for other in found]:
            one.refuse("name", name, "name each custom gate once")
        if name is not None:
            found.append(CustomGate(name, command, url, timeout))
    if len(found) > _MOST_CUSTOM:
        section.refuse("custom", section.given("custom"), f"at most {_MOST_CUSTOM} custom gates")
    return tuple(found)


def _custom_name(value: object) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value) and value not in NAMES:
        return value
    raise ValueError(
        f"write 1 to 64 small letters, digits, _ and -, and none of the gates' own: {', '.join(NAMES)}"
    )


def _argument(value: object) -> str:
    if isinstance(value, str) and len(value) <= 4096 and "\0" not in value:
        return value
    raise ValueError("write a text of up to 4096 characters; put it in quotes if it looks like a number")


def _url(value: object) -> str:
    text = values.text(2048)(value)
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("write a URL such as https://host/path, without user name and password")
    return text


def metrics_place(value: object) -> str:
    """Where Prometheus metrics are: a URL, or a path on a server."""
    return values.path(value) if isinstance(value, str) and value.startswith("/") else _url(value)
