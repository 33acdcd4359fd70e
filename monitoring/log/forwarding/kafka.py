"""The prediction log in a Kafka topic: a message a record, as JSON, acknowledged by all replicas in sync.

The key is the request id, so that everything about one request is in one partition. The header `id` is
`ORIGIN:SEGMENT:NUMBER`, which names the record for ever: a record is there at least once, and twice only with
the same id (when the gateway ended between the brokers' acknowledgement and its own note of it).

The value has the columns of docs/prediction-log.md, with times in seconds since 1970 and `input` in base64.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import orjson

from domain.errors import ConfigError, StateUnavailable
from monitoring.log.forwarding.parcel import UNKNOWN, Parcel, Position
from monitoring.log.record import PredictionRecord
from monitoring.log.segments import decoded
from settings.sinks import KafkaSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

PATIENCE = 30.0
"""Seconds in which the brokers have to acknowledge a parcel, and to be found."""
LARGEST = 1000 * 1000
"""Bytes of a message's value, with room for what is beside it in the 1 MiB that brokers take by default.

A record that is longer, or too long for the topic, goes without its `input`, or not at all.
"""

log = logging.getLogger("pointsman.log")


def password(settings: KafkaSettings, environment: Mapping[str, str]) -> str | None:
    """The password, None when nobody logs in. Raises ConfigError when the variable is missing."""
    if settings.password_env is None:
        return None
    secret = environment.get(settings.password_env, "")
    if not secret:
        allowed = "the environment has no such variable; put the password into it"
        raise ConfigError("log.kafka.password_env", settings.password_env, allowed)
    return secret


class KafkaSink:
    """Sends to the topic. Connects when it is first used."""

    def __init__(self, settings: KafkaSettings, environment: Mapping[str, str]) -> None:
        """Raises ConfigError when the password is missing."""
        self.name = "kafka"
        self._settings = settings
        self._password = password(settings, environment)
        self._producer: AIOKafkaProducer | None = None

    async def position(self, origin: str) -> Position | None:
        """See Sink. A topic cannot be asked; how far it has come is known by the log's own note."""
        return None

    async def send(self, parcel: Parcel) -> Mapping[str, int]:
        """See Sink."""
        from aiokafka.errors import KafkaError

        messages, left_out = await asyncio.to_thread(_messages, parcel)
        try:
            async with asyncio.timeout(PATIENCE):
                producer = await self._connected()
                for one in await self._together(producer, messages):
                    if not await self._alone(producer, one):
                        left_out[one.record.endpoint] += 1
                        log.error("record %s is too long to be sent on", one.id.decode())
        except (KafkaError, OSError, TimeoutError) as error:
            await self._drop()
            raise StateUnavailable(f"Kafka at {self._where}: {str(error) or 'no answer in time'}") from error
        except BaseException:
            await self._drop()
            raise
        return left_out

    async def _together(self, producer: AIOKafkaProducer, messages: list[Message]) -> list[Message]:
        """Send them; those that are too long for the topic, or were sent together with such."""
        from aiokafka.errors import MessageSizeTooLargeError

        refused: list[Message] = []
        sent: list[tuple[Message, asyncio.Future[object]]] = []
        for one in messages:
            try:
                sent.append((one, await self._begun(producer, one, one.value)))
            except MessageSizeTooLargeError:
                refused.append(one)
        answers = await asyncio.gather(*(future for _, future in sent), return_exceptions=True)
        for (one, _), answer in zip(sent, answers, strict=True):
            if isinstance(answer, MessageSizeTooLargeError):
                refused.append(one)
            elif isinstance(answer, BaseException):
                raise answer
        return refused

    async def _alone(self, producer: AIOKafkaProducer, one: Message) -> bool:
        """Send it by itself, without its input if need be; whether that was possible."""
        from aiokafka.errors import MessageSizeTooLargeError

        for value in dict.fromkeys((one.value, message(one.record._replace(input=b"")))):
            try:
                await (await self._begun(producer, one, value))
            except MessageSizeTooLargeError:
                continue
            return True
        return False

    async def _begun(self, producer: AIOKafkaProducer, one: Message, value: bytes) -> asyncio.Future[object]:
        key = one.record.request_id.encode("utf-8", "replace")
        found: asyncio.Future[object] = await producer.send(
            self._settings.topic, value, key=key, headers=[("id", one.id)]
        )
        return found

    async def close(self) -> None:
        """See Sink."""
        await self._drop()

    @property
    def _where(self) -> str:
        return ", ".join(self._settings.servers)

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            from aiokafka import AIOKafkaProducer

            producer = AIOKafkaProducer(
                bootstrap_servers=list(self._settings.servers), client_id="pointsman", acks="all",
                linger_ms=5,
                max_request_size=1024 * 1024,
                request_timeout_ms=round(PATIENCE * 1000), **self._security(),
            )  # fmt: skip
            try:
                await producer.start()
            except BaseException:
                await _quietly(producer)
                raise
            self._producer = producer
        return self._producer

    def _security(self) -> dict[str, Any]:
        settings = self._settings
        found: dict[str, Any] = {}
        if settings.tls:
            found["ssl_context"] = ssl.create_default_context(cafile=settings.ca)
        if settings.user is not None:
            found |= {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": settings.user}
            found["sasl_plain_password"] = self._password
        found["security_protocol"] = ("SASL_" if settings.user else "") + (
            "SSL" if settings.tls else "PLAINTEXT"
        )
        return found

    async def _drop(self) -> None:
        """Let the producer go, with what it has not sent: it is sent again by another one, in order."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _quietly(producer)


async def _quietly(producer: AIOKafkaProducer) -> None:
    from aiokafka.errors import KafkaError

    try:
        async with asyncio.timeout(PATIENCE / 10):
            await producer.stop()
    except (KafkaError, OSError, TimeoutError):
        return


class Message(NamedTuple):
    """A record, what names it for ever, and its JSON."""

    id: bytes
    record: PredictionRecord
    value: bytes


def _messages(parcel: Parcel) -> tuple[list[Message], Counter[str]]:
    """What to send, and by endpoint how many records cannot be sent."""
    found: list[Message] = []
    left_out: Counter[str] = Counter()
    for number, data in zip(parcel.numbers, parcel.records, strict=True):
        try:
            record = decoded(data)
        except msgspec.MsgspecError as error:  # damage on disk keeps no other record out
            log.error("record %d of segment %d is not sent on: %s", number, parcel.segment, error)
            left_out[UNKNOWN] += 1
            continue
        value = message(record)
        if len(value) > LARGEST:
            value = message(record._replace(input=b""))
        if len(value) > LARGEST:
            log.error("record %d of segment %d is too long to be sent on", number, parcel.segment)
            left_out[record.endpoint] += 1
            continue
        found.append(Message(f"{parcel.origin}:{parcel.segment}:{number}".encode(), record, value))
    return found, left_out


def message(record: PredictionRecord) -> bytes:
    """A record as JSON."""
    value: dict[str, Any] = record._asdict()
    value["arm"] = record.arm.value
    value["unit"] = f"{record.unit:016x}" if record.unit else None
    value["input"] = base64.b64encode(record.input).decode() if record.input else None
    value["mirrored"] = None if record.mirrored is None else record.mirrored._asdict()
    for name in ("drill", "input_digest"):
        value[name] = value[name] or None
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # a lone surrogate, somewhere in a text
        return msgspec.json.encode(_clean(value))


def _clean(value: Any) -> Any:
    """Without what UTF-8 cannot say."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    return value
