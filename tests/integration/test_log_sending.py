"""What leaves the prediction log of a whole gateway: a stream, an archive, spans; and what tells of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.log.reading import LogReader
from tests.support.gateway import PATH
from tests.support.ports import free_port
from tests.support.processes import Gateway
from tests.support.receiver import receiving
from tests.support.redis_server import RedisServer
from tests.support.upstream import ScriptedUpstream, response, saying

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


async def _ask(gateway: Gateway, count: int, **fields: str) -> list[str]:
    """Ask so often; the request ids of the answers."""
    ids = []
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False, timeout=60
    ) as client:
        for number in range(count):
            answer = await client.post(PATH, json=[number], headers={"x-user-id": f"u-{number}", **fields})
            assert answer.status_code == 200, answer.text
            ids.append(answer.headers["x-request-id"])
    return ids


async def _metrics(gateway: Gateway) -> dict[tuple[str, str], float]:
    """Of the log's own metrics: name and the value of its only label."""
    text = (await gateway.admin.get("/metrics")).text
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(("pointsman_log", "pointsman_spans"))
    }


async def _until(found: Any, what: str) -> Any:
    """Ask `found` until it answers with something."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        with suppress(httpx.TimeoutException):  # two cores, and all of this on them
            if value := await found():
                return value
        await asyncio.sleep(0.1)
    raise AssertionError(f"never happened: {what}")


def _archived(folder: Path) -> list[str]:
    return [
        one.as_py() for path in folder.rglob("*.parquet") for one in pq.ParquetFile(path).read()["request_id"]
    ]


@pytest.mark.timeout(600)  # where two cores are busy with all the rest
def test_records_reach_the_archive_and_the_collector_although_redis_is_late(
    tmp_path: Path,
) -> None:
    archive = tmp_path / "archive"

    async def scenario() -> None:
        server = RedisServer(port=free_port())
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
            receiving() as collector,
        ):
            gateway = Gateway(tmp_path, one.port, two.port)
            gateway.document["log"] = {
                "redis": {"url": server.url},
                "archive": {"url": f"file://{archive}", "every": "1s"},
            }
            gateway.document["tracing"] = {"url": collector.url, "share": "0%", "service": "rain-gateway"}
            async with gateway:
                ids = await _ask(gateway, 5)
                traced = await _ask(gateway, 1, traceparent=f"00-{TRACE}-{PARENT}-01")
                ids += traced + await _ask(gateway, 1, traceparent=f"00-{TRACE}-{PARENT}-00")

                async def told() -> bool:
                    ready = (await gateway.admin.get("/readyz")).text
                    return "not sent on to redis" in ready and "not archived" in ready

                await _until(told, "readiness tells that records go no further")

                async def measured() -> bool:
                    return (await _metrics(gateway)).get(("pointsman_log_forward_up", "redis")) == 0.0

                await _until(measured, "metrics tell that records go no further")
                async with server:
                    ids += await _ask(gateway, 5)

                    async def arrived() -> bool:
                        return set(_archived(archive)) >= set(ids)

                    await _until(arrived, "all records are archived")

                    async def well() -> bool:
                        found = await _metrics(gateway)
                        return (
                            found.get(("pointsman_log_forward_up", "redis")) == 1.0
                            and found.get(("pointsman_log_archive_up", "")) == 1.0
                            and found.get(("pointsman_log_forward_backlog_records", "redis")) == 0.0
                        )

                    await _until(well, "all is well again")

                    async def traced_as_well() -> bool:
                        return bool(collector.received)

                    await _until(traced_as_well, "spans reach the collector")
                reader = LogReader(tmp_path / "predictions")
                assert all(reader.find(one) for one in ids)
            assert len(_archived(archive)) == len(set(_archived(archive)))
            # On a slow machine the collector answers too late, and the same comes again.
            requests = {request.path: request for request in collector.received}
            assert set(requests) == {"/hook/v1/traces"}
            (request,) = requests.values()
            sent = ExportTraceServiceRequest.FromString(request.body)
            spans = [one for part in sent.resource_spans for scope in part.scope_spans for one in scope.spans]
            assert {one.trace_id.hex() for one in spans} == {TRACE}
            root = next(one for one in spans if one.parent_span_id.hex() == PARENT)
            arms = [one for one in spans if one.parent_span_id == root.span_id]
            assert sorted(one.name for one in arms) == ["rain rain-1", "rain rain-2"]
            about = {one.key: one.value.string_value for one in root.attributes}
            assert about["pointsman.request_id"] == traced[0]

    asyncio.run(asyncio.wait_for(scenario(), 560))
