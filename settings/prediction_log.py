"""Reading what the prediction log keeps: where and how long, and of each endpoint which requests and what."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import PurePath

from domain.routing import FULL_WEIGHT
from domain.snapshot import Recording
from settings import forwarding, units, values
from settings.reader import Section
from settings.schema import EndpointLog, EndpointSettings, LogSettings
from settings.sinks import Sending
from settings.tracing import tracing

ON, OFF, REQUIRED = "on", "off", "required"
ALL, NONE = "all", "none"
_SQLITE = "sqlite:///"
_DAY = 86_400.0
_MOST_NAMES = 1024
_name = values.text(128)


def prediction_log(root: Section, database: str) -> LogSettings:
    """What stands under `log`; without a path it is beside the SQLite file `database`, or in `var`."""
    section = root.section("log")
    folder = PurePath("var")
    if database.startswith(_SQLITE):
        folder = PurePath(database.removeprefix(_SQLITE)).parent
    return LogSettings(
        path=section.take("path", values.text(1024), None) or str(folder / "predictions"),
        keep=section.take("keep", values.duration("1m", "3650d"), 30 * _DAY),
        most=section.take("most", values.size("16MiB", "100000GiB"), 20 * 2**30),
        roll=section.take("roll", values.duration("1s", "1d"), 3600.0),
        sending=Sending(
            forwarding.stream(section),
            forwarding.archive(section, section.holds("redis")),
            forwarding.kafka(section),
            tracing(root),
        ),
    )


def endpoint_log(section: Section, protocol: str | None) -> EndpointLog:
    """What stands under an endpoint's `log`."""
    given = section.section("log")
    share, required = given.take("records", _records, (FULL_WEIGHT, False))
    features = given.take("features", _features, None)
    redact = given.each("redact", values.pointer)
    if len(set(redact)) < len(redact):
        given.refuse("redact", given.given("redact"), "name each pointer once")
    if protocol == "openai" and features:
        textual = "a request for a text has no features; leave it out"
        given.refuse("features", given.given("features"), textual)
    return EndpointLog(share, required, features, redact, given.take("input", values.boolean, False))


def recording(settings: EndpointSettings) -> Recording | None:
    """What workers and the log are told of it; None where nothing is recorded."""
    log = settings.log
    if not log.share:
        return None
    reading = {
        "protocol": settings.protocol,
        "compare": asdict(settings.compare),
        "features": log.features,
        "redact": log.redact,
        "input": log.input,
        "cohorts": [str(one) for one in settings.cohorts],
    }
    if log.traced:
        reading["traced"] = True
    return Recording(log.share, log.required, json.dumps(reading).encode(), log.traced)


def _records(value: object) -> tuple[int, bool]:
    """The share of the requests in basis points, and whether no request may go unrecorded."""
    if value in (ON, REQUIRED):
        return FULL_WEIGHT, value == REQUIRED
    if value == OFF:
        return 0, False
    try:
        return units.basis_points(value), False
    except ValueError as error:
        raise ValueError(f"use 'on', 'off', 'required', or a percentage such as 10% ({error})") from error


def _features(value: object) -> tuple[str, ...] | None:
    """Their names; None: all."""
    if value == ALL:
        return None
    if value == NONE:
        return ()
    if not isinstance(value, list) or not value or len(value) > _MOST_NAMES:
        raise ValueError(f"use 'all', 'none', or a list of up to {_MOST_NAMES} names of features")
    try:
        names = tuple(_name(name) for name in value)
    except ValueError as error:
        raise ValueError(f"in a list of names of features, {error}") from error
    if len(set(names)) < len(names):
        raise ValueError("name each feature once")
    return names
