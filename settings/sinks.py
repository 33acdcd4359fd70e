"""Where the prediction log sends its records on to, as configured."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from settings.shared import RedisSettings


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """A stream in Redis.

    Attributes:
        name: of the stream; the keys beside it begin with it as well.
        most: bytes of records that may wait in it.
    """

    redis: RedisSettings
    name: str
    most: int


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """Parquet files of what is in the stream.

    Attributes:
        url: the folder, as fsspec names it: `s3://bucket/folder`.
        every: seconds that records wait in the stream, at most, before a file is written.
    """

    url: str
    every: float


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """A topic of a Kafka cluster.

    Attributes:
        servers: `HOST:PORT` of some brokers.
        tls: whether connections are encrypted and the brokers' certificates are checked.
        ca: a PEM file with the authorities that may have signed them; None: those of the system.
        user: for SASL SCRAM-SHA-512; None: nobody logs in.
        password_env: the environment variable that holds the password.
    """

    servers: tuple[str, ...]
    topic: str
    tls: bool = False
    ca: str | None = None
    user: str | None = None
    password_env: str | None = None


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where spans are sent.

    Attributes:
        url: of an OTLP/HTTP collector, up to and without `/v1/traces`.
        share: of the requests without a trace of their own that begin one, in basis points.
        service: the name that spans carry as `service.name`.
        token_env: the environment variable that holds a bearer token for the collector; None: none.
    """

    url: str
    share: int
    service: str = "pointsman"
    token_env: str | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """Where records go on to, all of it: what the log's process is told."""

    stream: StreamSettings | None = None
    archive: ArchiveSettings | None = None
    kafka: KafkaSettings | None = None
    tracing: TracingSettings | None = None

    def __bool__(self) -> bool:
        return any((self.stream, self.kafka, self.tracing))

    def frame(self) -> bytes:
        """The bytes that `control.orders.read_sending` reads."""
        payload = msgspec.json.encode(self)
        return len(payload).to_bytes(4, "big") + payload
