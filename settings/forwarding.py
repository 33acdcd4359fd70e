"""Reading where the prediction log sends its records on to: a stream in Redis, an archive, Kafka.

No password stands in the configuration: keys that end in `_env` name environment variables, and object
storage finds its credentials where its own clients do.
"""

from __future__ import annotations

import re
from dataclasses import replace

from settings import values
from settings.reader import Section
from settings.sharing import redis
from settings.sinks import ArchiveSettings, KafkaSettings, StreamSettings

STREAM = "pointsman:predictions"
TOPIC = "pointsman-predictions"
GIB = 2**30

_STREAM = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SERVER = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253}):(?P<port>[0-9]{1,5})")
_FOLDER = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>[^\s?#]+)")


def stream(log: Section) -> StreamSettings | None:
    """What stands under `log.redis`."""
    section = log.optional("redis")
    if section is None:
        return None
    server = section.need("url", redis, "the Redis that holds the stream")
    ca = section.take("ca", values.text(1024), None)
    variable = section.take("password_env", values.environment_variable, None)
    name = section.take("stream", _stream_name, STREAM)
    most = section.take("most", values.size("16MiB", "1000GiB"), GIB)
    if server is None:
        return None
    if ca is not None and not server.tls:
        section.refuse("ca", ca, "it is for TLS: write rediss:// in log.redis.url, or leave it out")
    return StreamSettings(replace(server, ca=ca, password_env=variable), name, most)


def archive(log: Section, has_stream: bool) -> ArchiveSettings | None:
    """What stands under `log.archive`, which is made of what is in the stream."""
    section = log.optional("archive")
    if section is None:
        return None
    url = section.need("url", folder, "the folder that Parquet files are written to, such as s3://bucket/log")
    every = section.take("every", values.duration("1s", "1d"), 600.0)
    if url is None:
        return None
    if not has_stream:
        section.refuse("url", url, "it is written from the stream: set log.redis.url, or leave it out")
    return ArchiveSettings(url, every)


def kafka(log: Section) -> KafkaSettings | None:
    """What stands under `log.kafka`."""
    section = log.optional("kafka")
    if section is None:
        return None
    servers = section.each("servers", server)
    if not servers:
        section.refuse("servers", section.given("servers"), "name at least one broker: [HOST:PORT]")
    topic = section.take("topic", _topic, TOPIC)
    tls = section.take("tls", values.boolean, False)
    ca = section.take("ca", values.text(1024), None)
    user = section.take("user", values.text(200), None)
    variable = section.take("password_env", values.environment_variable, None)
    if ca is not None and not tls:
        section.refuse("ca", ca, "it is for TLS: add tls: true, or leave it out")
    if (user is None) != (variable is None):
        missing, given = ("user", "password_env") if user is None else ("password_env", "user")
        section.refuse(given, variable or user, f"it needs {section.at(missing)} as well")
    return KafkaSettings(servers, topic, tls, ca, user, variable) if servers else None


def folder(value: object) -> str:
    """The URL of a folder, without a slash at its end. Raises ValueError, without what stood in it."""
    if not isinstance(value, str) or len(value) > 1000 or not value.isprintable():
        raise ValueError("write a URL such as s3://bucket/predictions")
    found = _FOLDER.fullmatch(value)
    if found is None:
        raise ValueError("write a URL such as s3://bucket/predictions, without '?' and '#'")
    if "@" in found["rest"].split("/")[0] and ":" in found["rest"].split("@")[0]:
        raise ValueError("credentials do not stand in a configuration: the storage's client reads its own")
    return value.rstrip("/")


def server(value: object) -> str:
    """The address of a broker. Raises ValueError."""
    found = _SERVER.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found["port"]) <= 65535:
        raise ValueError("write HOST:PORT, such as kafka.example:9092")
    return found.string


def _stream_name(value: object) -> str:
    if isinstance(value, str) and _STREAM.fullmatch(value):
        return value
    raise ValueError("write a name of up to 100 letters, digits, '_', '.', ':' and '-'")


def _topic(value: object) -> str:
    if isinstance(value, str) and _TOPIC.fullmatch(value) and value not in (".", ".."):
        return value
    raise ValueError("write a name of up to 249 letters, digits, '.', '_' and '-', as Kafka allows")
