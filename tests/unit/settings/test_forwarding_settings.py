"""Where records are sent on to: what was written is what is meant, or refused with a way out."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ConfigError
from settings import surroundings
from settings.parse import parse, problems
from settings.prediction_log import recording
from settings.shared import RedisSettings
from settings.sinks import ArchiveSettings, KafkaSettings, Sending, StreamSettings, TracingSettings

RAIN: dict[str, Any] = {
    "path": "/rain",
    "protocol": "json",
    "unit": "request",
    "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
    "compare": {"kind": "regression"},
}
REDIS = {"url": "redis://redis.example"}
KAFKA = {"servers": ["kafka.example:9092"]}


def _document(**log: Any) -> dict[str, Any]:
    tracing = log.pop("tracing", None)
    return {"endpoints": {"rain": RAIN}, "log": log, **({} if tracing is None else {"tracing": tracing})}


def test_nothing_is_sent_on_unless_it_is_said_where_to() -> None:
    found = parse(_document())
    assert found.log.sending == Sending()
    assert not found.log.sending
    assert not found.endpoints[0].log.traced


def test_what_is_written_is_what_is_meant() -> None:
    found = parse(
        _document(
            redis={"url": "rediss://ada@redis.example/2", "ca": "ca.pem", "password_env": "SECRET"},
            archive={"url": "s3://bucket/log/", "every": "5m"},
            kafka={**KAFKA, "topic": "rain", "tls": True, "user": "ada", "password_env": "SECRET"},
            tracing={"url": "http://collector:4318/v1/traces/", "share": "0.5%", "service": "rain"},
        )
    )
    redis = RedisSettings(
        "server", (("redis.example", 6379),), database=2, user="ada", tls=True, ca="ca.pem",
        password_env="SECRET",
    )  # fmt: skip
    assert found.log.sending == Sending(
        StreamSettings(redis, "pointsman:predictions", 2**30),
        ArchiveSettings("s3://bucket/log", 300.0),
        KafkaSettings(("kafka.example:9092",), "rain", True, None, "ada", "SECRET"),
        TracingSettings("http://collector:4318", 50, "rain"),
    )
    record = recording(found.endpoints[0])
    assert record is not None
    assert record.traced


@pytest.mark.parametrize(
    ("log", "key"),
    [
        ({"redis": {}}, "log.redis.url"),
        ({"redis": {"url": "redis://ada:secret@redis.example"}}, "log.redis.url"),
        ({"redis": {**REDIS, "ca": "ca.pem"}}, "log.redis.ca"),
        ({"redis": {**REDIS, "stream": "a b"}}, "log.redis.stream"),
        ({"redis": {**REDIS, "most": "1MiB"}}, "log.redis.most"),
        ({"archive": {"url": "s3://bucket/log"}}, "log.archive.url"),
        ({"redis": REDIS, "archive": {}}, "log.archive.url"),
        ({"redis": REDIS, "archive": {"url": "/a/path"}}, "log.archive.url"),
        ({"redis": REDIS, "archive": {"url": "s3://key:secret@bucket/log"}}, "log.archive.url"),
        ({"redis": REDIS, "archive": {"url": "s3://bucket/log?x=1"}}, "log.archive.url"),
        ({"redis": REDIS, "archive": {"url": "s3://b/log", "every": "2d"}}, "log.archive.every"),
        ({"kafka": {}}, "log.kafka.servers"),
        ({"kafka": {"servers": ["kafka.example"]}}, "log.kafka.servers[0]"),
        ({"kafka": {"servers": ["kafka.example:99999"]}}, "log.kafka.servers[0]"),
        ({"kafka": {**KAFKA, "topic": ".."}}, "log.kafka.topic"),
        ({"kafka": {**KAFKA, "ca": "ca.pem"}}, "log.kafka.ca"),
        ({"kafka": {**KAFKA, "user": "ada"}}, "log.kafka.user"),
        ({"kafka": {**KAFKA, "password_env": "SECRET"}}, "log.kafka.password_env"),
        ({"tracing": {}}, "tracing.url"),
        ({"tracing": {"url": "grpc://collector:4317"}}, "tracing.url"),
        ({"tracing": {"url": "http://ada:secret@collector"}}, "tracing.url"),
        ({"tracing": {"url": "http://collector", "share": 0.5}}, "tracing.share"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key_and_without_any_secret(log: dict[str, Any], key: str) -> None:
    found = problems(_document(**log))
    assert key in [one.path for one in found]
    assert not any("secret" in one.allowed for one in found)


@pytest.mark.parametrize(
    ("log", "key", "hint"),
    [
        ({"redis": {**REDIS, "password_env": "NOT_THERE"}}, "log.redis.password_env", "no such variable"),
        ({"redis": {"url": "rediss://r", "ca": "/not/there.pem"}}, "log.redis.ca", "PEM"),
        ({"redis": REDIS, "archive": {"url": "nonsense://b/l"}}, "log.archive.url", "no such storage"),
        (
            {"kafka": {**KAFKA, "user": "a", "password_env": "NOT_THERE"}},
            "log.kafka.password_env",
            "variable",
        ),
        ({"kafka": {**KAFKA, "tls": True, "ca": "/not/there.pem"}}, "log.kafka.ca", "PEM"),
        ({"tracing": {"url": "http://c", "token_env": "NOT_THERE"}}, "tracing.token_env", "no such variable"),
    ],
)
def test_what_is_missing_around_it_is_told_before_anything_starts(
    log: dict[str, Any], key: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=hint) as caught:
        surroundings.demand(parse(_document(**log)), {})
    assert caught.value.path == key


@pytest.mark.parametrize(
    ("missing", "log", "extra"),
    [
        ("redis", {"redis": REDIS}, "redis"),
        ("fsspec", {"redis": REDIS, "archive": {"url": "s3://b/l"}}, "archive"),
        ("aiokafka", {"kafka": KAFKA}, "kafka"),
        ("opentelemetry.sdk", {"tracing": {"url": "http://collector"}}, "tracing"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_extra_that_has_it(
    missing: str, log: dict[str, Any], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_is_there", lambda package: package != missing)
    with pytest.raises(ConfigError, match=rf"pointsman\[{extra}\]"):
        surroundings.demand(parse(_document(**log)), {})
