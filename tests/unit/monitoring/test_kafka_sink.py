"""What a topic does not take keeps nothing else out, and is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from aiokafka.errors import MessageSizeTooLargeError

from monitoring.log.forwarding import kafka
from monitoring.log.forwarding.kafka import KafkaSink
from monitoring.log.forwarding.parcel import UNKNOWN, Parcel
from monitoring.log.segments import encoded
from settings.sinks import KafkaSettings
from tests.support.records import record


class Producer:
    """A topic that takes values of up to `most` bytes; others are refused at once, or by the answer."""

    def __init__(self, most: int, *, at_once: bool) -> None:
        self.most = most
        self.at_once = at_once
        self.taken: list[dict[str, Any]] = []

    async def send(self, topic: str, value: bytes, **_: object) -> asyncio.Future[None]:
        answer = asyncio.get_running_loop().create_future()
        if len(value) <= self.most:
            self.taken.append(orjson.loads(value))
            answer.set_result(None)
        elif self.at_once:
            raise MessageSizeTooLargeError
        else:
            answer.set_exception(MessageSizeTooLargeError())
        return answer

    async def stop(self) -> None:
        return


@pytest.mark.parametrize("at_once", [True, False])
def test_a_record_too_long_for_the_topic_goes_without_its_input_or_is_counted(
    monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    producer = Producer(5000, at_once=at_once)

    async def connected(_: KafkaSink) -> Producer:
        return producer

    monkeypatch.setattr(KafkaSink, "_connected", connected)
    records = [
        encoded(record(1)),
        encoded(record(2)._replace(input=b"x" * 9000)),
        encoded(record(3)._replace(reason="x" * 9000)),
        b"no record",
        encoded(record(5)),
    ]

    async def scenario() -> None:
        sink = KafkaSink(KafkaSettings(("127.0.0.1:1",), "log"), {})
        left_out = await sink.send(Parcel("one", 1, [1, 2, 3, 4, 5], records))
        assert left_out == {"rain": 1, UNKNOWN: 1}

    asyncio.run(scenario())
    found = {one["request_id"]: one["input"] for one in producer.taken}
    assert sorted(found) == ["id-1", "id-2", "id-5"]
    assert found["id-2"] is None


def test_a_message_leaves_room_for_what_is_sent_beside_its_value() -> None:
    assert kafka.LARGEST + 2000 < 1024 * 1024
