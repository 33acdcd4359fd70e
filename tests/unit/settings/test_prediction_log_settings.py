"""What is recorded: by default everything; what was written is what is meant, or refused with a way out."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ConfigError
from settings.parse import parse, problems
from settings.schema import EndpointLog, LogSettings
from settings.snapshot import boot

RAIN: dict[str, Any] = {
    "path": "/rain",
    "protocol": "json",
    "unit": "request",
    "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
    "compare": {"kind": "regression"},
}


def _document(endpoint: object = None, log: object = None, **root: Any) -> dict[str, Any]:
    rain = RAIN if endpoint is None else {**RAIN, "log": endpoint}
    return {"endpoints": {"rain": rain}, **({} if log is None else {"log": log}), **root}


def test_everything_is_recorded_unless_something_else_is_said() -> None:
    found = parse(_document())
    assert found.log == LogSettings("var/predictions", 30 * 86400.0, 20 * 2**30, 3600.0)
    assert found.endpoints[0].log == EndpointLog(10_000, False, None, (), False)
    record = boot(found).endpoints[0].record
    assert record is not None
    assert (record.share, record.required) == (10_000, False)


def test_the_log_is_beside_the_database_file() -> None:
    found = parse(_document(state={"database": "sqlite:////data/pointsman.db"}))
    assert found.log.path == "/data/predictions"
    elsewhere = parse(_document(log={"path": "/logs"}, state={"database": "sqlite:////data/pointsman.db"}))
    assert elsewhere.log.path == "/logs"


@pytest.mark.parametrize(
    ("given", "share", "required"),
    [("on", 10_000, False), ("required", 10_000, True), ("10%", 1_000, False), ("off", 0, False)],
)
def test_records_are_a_share(given: str, share: int, required: bool) -> None:
    log = parse(_document({"records": given})).endpoints[0].log
    assert (log.share, log.required) == (share, required)


def test_what_is_off_reaches_no_worker() -> None:
    assert boot(parse(_document({"records": "off"}))).endpoints[0].record is None
    assert boot(parse(_document({"records": "0%"}))).endpoints[0].record is None


def test_features_are_all_none_or_named() -> None:
    for given, meant in (("all", None), ("none", ()), (["age", "rain.0"], ("age", "rain.0"))):
        assert parse(_document({"features": given})).endpoints[0].log.features == meant


@pytest.mark.parametrize(
    ("endpoint", "key", "way_out"),
    [
        ({"records": True}, "log.records", "use 'on', 'off', 'required', or a percentage"),
        ({"records": "some"}, "log.records", "use 'on', 'off', 'required', or a percentage"),
        ({"records": "101%"}, "log.records", "at most 100%"),
        ({"features": "rain"}, "log.features", "use 'all', 'none', or a list"),
        ({"features": []}, "log.features", "use 'all', 'none', or a list"),
        ({"features": ["a", "a"]}, "log.features", "once"),
        ({"features": ["a\n"]}, "log.features", "printable"),
        ({"redact": ["name"]}, "log.redact[0]", "JSON pointer"),
        ({"redact": ["/a", "/a"]}, "log.redact", "once"),
        ({"input": "yes"}, "log.input", "true or false"),
        ({"sample": "1%"}, "log.sample", "no such key"),
    ],
)
def test_what_cannot_be_is_refused_with_key_and_way_out(
    endpoint: dict[str, object], key: str, way_out: str
) -> None:
    (found,) = problems(_document(endpoint))
    assert found.path == f"endpoints.rain.{key}"
    assert way_out in found.allowed


@pytest.mark.parametrize(
    ("log", "key"),
    [({"keep": "30"}, "keep"), ({"most": "1MiB"}, "most"), ({"roll": "0s"}, "roll"), ({"path": ""}, "path")],
)
def test_a_log_in_no_bounds_is_refused(log: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(_document(log=log))
    assert caught.value.path == f"log.{key}"


def test_a_text_s_request_has_no_features_to_name() -> None:
    document = _document({"features": ["age"]})
    document["endpoints"]["rain"] |= {"protocol": "openai", "compare": {"kind": "text"}}
    (found,) = problems(document)
    assert found.path == "endpoints.rain.log.features"
