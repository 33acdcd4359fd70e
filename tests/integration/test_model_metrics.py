"""The model servers' own metrics through the gateway, and what the gateway tells of its own processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

import control.scrape
from settings.file import load
from tests.support.control import Here, document, here, write
from tests.support.processes import Clients, Gateway
from tests.support.upstream import Answer, Heard, ScriptedUpstream, hang_up, response, saying, silence

PAGE = b'# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total{server="me"} 3\n'


def metrics(page: bytes, *, fields: bytes = b"", status: str = "200 OK") -> Answer:
    return saying(response(page, status=status, fields=fields))


async def dripping(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte at a time, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"#")
        await writer.drain()
        await asyncio.sleep(0.05)


def samples(text: str, name: str) -> dict[frozenset[tuple[str, str]], float]:
    return {
        frozenset(sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


async def up(running: Here) -> dict[str, float]:
    """`pointsman_scrape_up` by version."""
    page = (await running.client.get("/metrics")).text
    return {dict(labels)["version"]: value for labels, value in samples(page, "pointsman_scrape_up").items()}


def versions(incumbent: int, candidate: int) -> dict[str, dict[str, object]]:
    return {
        "incumbent": {
            "version": "rain-1", "urls": [f"http://127.0.0.1:{incumbent}/v1"], "metrics": "/metrics",
        },
        "candidate": {
            "version": "rain-2", "urls": [f"http://127.0.0.1:{candidate}"],
            "metrics": f"http://127.0.0.1:{candidate}/stats/prometheus",
        },
    }  # fmt: skip


def test_both_versions_metrics_stand_on_one_page_under_their_names(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(metrics(PAGE)) as one, ScriptedUpstream(metrics(PAGE)) as two:
            async with here(tmp_path, **versions(one.port, two.port)) as running:
                await running.until(lambda: len(running.control.scraper.visits) == 2)
                page = await running.client.get("/metrics/models")
                found = samples(page.text, "process_cpu_seconds_total")
                assert found == {
                    frozenset({
                        "endpoint": "rain", "version": version, "server": server, "exported_server": "me",
                    }.items()): 3.0
                    for version, server in (
                        ("rain-1", f"http://127.0.0.1:{one.port}/v1"), ("rain-2", f"http://127.0.0.1:{two.port}"),
                    )
                }  # fmt: skip
                assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
                assert await up(running) == {"rain-1": 1.0, "rain-2": 1.0}
            assert one.heard[0].line == b"GET /metrics HTTP/1.1"
            assert two.heard[0].line == b"GET /stats/prometheus HTTP/1.1"
            assert one.heard[0].fields["accept-encoding"] == "identity"

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_no_server_is_sent_what_another_one_wanted_to_be_remembered(tmp_path: Path) -> None:
    async def scenario() -> None:
        sets = metrics(PAGE, fields=b"\r\nset-cookie: session=secret; Path=/")
        async with ScriptedUpstream(sets) as one, ScriptedUpstream(sets) as two:
            async with here(tmp_path, **versions(one.port, two.port)) as running:
                await running.until(lambda: len(running.control.scraper.visits) == 2)
                await running.control.scraper.round()
            assert len(one.heard) == len(two.heard) == 2
            assert not any("cookie" in heard.fields for heard in (*one.heard, *two.heard))

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_round_that_fails_by_a_mistake_of_ours_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(control.scrape, "PERIOD", 0.01)
    rounds = []

    async def broken(self: control.scrape.Scraper) -> None:
        rounds.append(self)
        raise RuntimeError("a library's mistake")

    monkeypatch.setattr(control.scrape.Scraper, "round", broken)

    async def scenario() -> None:
        async with here(tmp_path) as running:
            await running.until(lambda: len(rounds) > 1)

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert "model servers not asked" in caplog.text


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (hang_up, "disconnected"),
        (silence, "no whole page within"),
        (dripping, "no whole page within"),
        (metrics(b"<html>it works</html>"), "line 1 is no metric"),
        (metrics(b"\xff\xfe 1\n"), "not UTF-8"),
        (metrics(b"#" * 70_000), "more than 65536 bytes"),
        (metrics(PAGE, status="503 Service Unavailable"), "HTTP 503"),
        (metrics(PAGE, status="302 Found", fields=b"\r\nlocation: http://127.0.0.1:1/"), "HTTP 302"),
        (metrics(PAGE, fields=b"\r\ncontent-encoding: gzip"), "content coding"),
    ],
    ids=["cut", "silent", "dripping", "page", "bytes", "long", "status", "redirect", "compressed"],
)
def test_a_broken_server_is_told_as_down_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Answer, why: str
) -> None:
    monkeypatch.setattr(control.scrape, "PATIENCE", 0.3)
    monkeypatch.setattr(control.scrape, "LARGEST", 65_536)

    async def scenario() -> None:
        async with ScriptedUpstream(metrics(PAGE)) as one, ScriptedUpstream(broken) as two:
            async with here(tmp_path, **versions(one.port, two.port)) as running:
                scraper = running.control.scraper
                await running.until(lambda: len(scraper.visits) == 2)
                assert await up(running) == {"rain-1": 1.0, "rain-2": 0.0}
                (told,) = (visit.failure for visit in scraper.visits.values() if visit.failure is not None)
                assert why in told
                page = (await running.client.get("/metrics/models")).text
                assert [dict(labels)["version"] for labels in samples(page, "process_cpu_seconds_total")] == [
                    "rain-1"
                ]
                two.answer = metrics(PAGE)
                await scraper.round()
                assert await up(running) == {"rain-1": 1.0, "rain-2": 1.0}
                await one.stop()
                await scraper.round()
                assert await up(running) == {"rain-1": 0.0, "rain-2": 1.0}

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_reload_takes_servers_off_the_page_and_brings_new_ones(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(metrics(PAGE)) as one, ScriptedUpstream(metrics(PAGE)) as two:
            both = versions(one.port, two.port)
            async with here(tmp_path, **both) as running:
                scraper = running.control.scraper
                await running.until(lambda: len(scraper.visits) == 2)
                del both["incumbent"]["metrics"]
                write(tmp_path, document(tmp_path, **both))
                assert "metrics" not in (tmp_path / "pointsman.yaml").read_text().partition("candidate")[0]
                answer = await running.client.post("/api/v1/config/reload")
                assert answer.status_code == 200, answer.text
                await scraper.round()
                assert await up(running) == {"rain-2": 1.0}
                assert load(tmp_path / "pointsman.yaml").endpoint("rain").incumbent_metrics is None

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_all_servers_together_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control.scrape, "MOST_TOGETHER", 1)

    async def scenario() -> None:
        async with ScriptedUpstream(metrics(PAGE)) as one, ScriptedUpstream(metrics(PAGE)) as two:
            async with here(tmp_path, **versions(one.port, two.port)) as running:
                await running.until(lambda: len(running.control.scraper.visits) == 2)
                assert await up(running) == {"rain-1": 1.0, "rain-2": 0.0}

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_what_every_process_uses_is_told_and_moves(tmp_path: Path) -> None:
    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"[0.5]"))
        await writer.drain()

    async def scenario() -> None:
        async with (
            ScriptedUpstream(answer) as one,
            ScriptedUpstream(answer) as two,
            Gateway(tmp_path, one.port, two.port, workers=2) as gateway,
        ):

            async def page(name: str) -> dict[str, float]:
                text = (await gateway.admin.get("/metrics")).text
                return {next(iter(labels))[1]: value for labels, value in samples(text, name).items()}

            everybody = {"control", "worker-0", "worker-1"}
            async with asyncio.timeout(60), Clients(gateway.port) as clients:
                while set(await page("pointsman_process_cpu_seconds_total")) != everybody:  # noqa: ASYNC110 - by HTTP
                    await asyncio.sleep(0.1)
                before = await page("pointsman_process_cpu_seconds_total")
                await clients.more(500)
                moved: set[str] = set()
                while moved != everybody:
                    now = await page("pointsman_process_cpu_seconds_total")
                    moved = {name for name in everybody if now[name] > before[name]}
                    await asyncio.sleep(0.1)
            for name in ("resident_bytes", "threads", "open_descriptors", "most_descriptors"):
                found = await page(f"pointsman_process_{name}")
                assert set(found) == everybody
                assert min(found.values()) > 0
            lags = await page("pointsman_event_loop_lag_seconds_count")
            assert set(lags) == everybody
            assert min(lags.values()) > 0
            for name in ("link_backlog_pairs", "link_backlog_bytes", "link_backlog_batches",
                         "link_unread_bytes", "snapshot_age_seconds"):  # fmt: skip
                assert set(await page(f"pointsman_{name}")) == {"0", "1"}, name
            assert set(await page("pointsman_disk_free_bytes")) == {"database", "audit", "predictions"}
            memory = await page("pointsman_host_memory_bytes")
            assert 0 < memory["available"] <= memory["total"]
            asked = {"accept": "application/openmetrics-text"}
            told = await gateway.admin.get("/metrics", headers=asked)
            assert told.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
            families = {family.name: family for family in read_openmetrics(told.text)}
            durations = families["pointsman_request_duration_seconds"].samples
            assert [one.exemplar for one in durations if one.exemplar]

    asyncio.run(asyncio.wait_for(scenario(), 120))
