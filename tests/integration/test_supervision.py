"""What the supervisor keeps going: upgrades, certificates, descriptors, a control process without a file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import trustme

from gateway.supervisor import kill_is_undone
from tests.support.gateway import eventually, post
from tests.support.ports import free_port
from tests.support.processes import ROOT, Clients, Gateway
from tests.support.upstream import ScriptedUpstream, response, saying


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 110)

    asyncio.run(bounded())


def _pid(gateway: Gateway) -> int:
    assert gateway._process is not None
    return gateway._process.pid


def _logged(gateway: Gateway, words: str) -> Callable[[], bool]:
    return lambda: words in gateway.log.read_text()


def test_an_upgrade_that_would_not_start_is_refused_and_one_that_would_keeps_the_process(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            async with Gateway(tmp_path, one.port, free_port()) as gateway:
                before = gateway.children("gateway.process")
                good = gateway.config.read_text()
                gateway.config.write_text("endpoints: {rain: {timeout: soon}}")
                os.kill(_pid(gateway), signal.SIGUSR2)
                await eventually(_logged(gateway, "upgrade refused"), "it is refused")
                assert gateway.children("gateway.process") == before
                gateway.config.write_text(good)
                gateway.document["workers"] = 2
                gateway.write()
                async with Clients(gateway.port, count=4) as clients:
                    os.kill(_pid(gateway), signal.SIGUSR2)
                    for _ in range(2400):
                        now = gateway.children("gateway.process")
                        if len(now) == 2 and not set(now) & set(before):
                            break
                        await asyncio.sleep(0.02)
                    else:
                        raise AssertionError("the workers never were two new ones")
                    await gateway.ready()
                    await clients.more(100)
                assert not clients.failures
                assert await gateway.stop() == 0
                gateway._process = None

    _run(scenario)


def test_a_control_process_that_starts_while_the_file_is_broken_goes_on_from_the_last_good_one(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            async with Gateway(tmp_path, one.port, free_port()) as gateway:
                gateway.config.write_text("endpoints: {rain: {timeout: soon}}")
                gateway.kill_child("control")
                await eventually(_logged(gateway, "the last good one is served"), "it says so")
                await gateway.ready()
                assert (await gateway.view())["incumbent"]["version"] == "rain-1"

    _run(scenario)


def test_a_renewed_certificate_is_served_and_a_broken_one_is_not(tmp_path: Path) -> None:
    authority = trustme.CA()
    chain, key = tmp_path / "one.pem", tmp_path / "one.key"

    def issue(name: str) -> None:
        issued = authority.issue_cert(name)
        chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)

    async def shown(port: int) -> str:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.check_hostname = False
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="any.example"
        )
        name = str(writer.get_extra_info("peercert")["subjectAltName"][0][1])
        writer.close()
        return name

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            issue("old.example")
            gateway = Gateway(tmp_path, one.port, free_port(), workers=2)
            gateway.document["tls"] = [{"certificate": str(chain), "key": str(key)}]
            async with gateway:
                workers = gateway.children("gateway.process")
                assert await shown(gateway.port) == "old.example"
                chain.write_text("-----BEGIN CERT")
                await eventually(_logged(gateway, "last good certificates"), "it is refused")
                assert await shown(gateway.port) == "old.example"
                issue("new.example")
                for _ in range(400):
                    if {await shown(gateway.port) for _ in range(8)} == {"new.example"}:
                        break
                    await asyncio.sleep(0.05)
                else:
                    raise AssertionError("the new certificate never was served by every worker")
                assert gateway.children("gateway.process") == workers, "by the same workers"

    _run(scenario)


def test_without_file_descriptors_clients_wait_and_are_served_when_there_are_some_again(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            gateway = Gateway(tmp_path, one.port, free_port())
            gateway.document["limits"] = {"connections": 10_000}
            async with gateway:
                (worker,) = gateway.children("gateway.process")
                open_now = len(os.listdir(f"/proc/{worker}/fd"))
                _limit(worker, open_now + 12)
                crowd = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(40)]
                await eventually(_logged(gateway, "accepting pauses"), "it runs out")
                before = _cpu_ticks(worker)
                await asyncio.sleep(1.0)
                assert _cpu_ticks(worker) - before <= 0.2 * os.sysconf("SC_CLK_TCK"), "no busy loop"
                for _, writer in crowd[:35]:
                    writer.close()
                for reader, writer in crowd[35:]:
                    writer.write(post())
                    assert b" 200 " in await asyncio.wait_for(reader.readline(), 10), (
                        "whoever waited is served"
                    )
                    writer.close()
                metrics = (await gateway.admin.get("/metrics")).text
                assert 'pointsman_gateway_events_total{event="accept_paused"}' in metrics

    _run(scenario)


def _limit(pid: int, descriptors: int) -> None:
    import resource

    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_a_unix_socket_is_listened_on_and_taken_away_at_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            path = tmp_path / "p.sock"
            gateway = Gateway(tmp_path, one.port, free_port(), workers=2)
            gateway.document["listen"] = f"unix:{path}"
            async with gateway:
                transport = httpx.AsyncHTTPTransport(uds=str(path))
                async with httpx.AsyncClient(transport=transport, base_url="http://models") as client:
                    for _ in range(4):
                        answer = await client.post("/v2/models/rain/infer", content=b"[1]")
                        assert answer.status_code == 200
                assert path.stat().st_mode & 0o777 == 0o660
            assert not path.exists()

    _run(scenario)


def test_the_access_log_goes_on_in_a_new_file_after_sighup(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            path, old = tmp_path / "access.log", tmp_path / "access.log.1"
            gateway = Gateway(tmp_path, one.port, free_port())
            gateway.document["access_log"] = {"path": str(path), "sample": "100%"}
            async with gateway:
                async with Clients(gateway.port, count=2) as clients:
                    await clients.more(20)
                    await eventually(path.exists, "it is written")
                    path.rename(old)
                    os.kill(_pid(gateway), signal.SIGHUP)
                    await clients.more(50)
                    await eventually(path.exists, "it is opened anew")
                answers = clients.answers
            lines = [json.loads(line) for file in (old, path) for line in file.read_text().splitlines()]
            assert len(lines) == answers, "every answer stands in one of the two"

    _run(scenario)


def test_a_gateway_that_is_held_ends_with_its_holder(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            gateway = Gateway(tmp_path, one.port, free_port())
            gateway.write()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "-c", str(gateway.config), "--held",
                cwd=ROOT, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stderr is not None
            assert b"listening" in await process.stderr.readline()
            process.stdin.close()
            await process.communicate()
            assert process.returncode == 0

    _run(scenario)


def test_sigusr1_kills_every_candidate_also_while_the_control_process_is_not_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            async with Gateway(tmp_path, one.port, free_port()) as gateway:
                os.kill(_pid(gateway), signal.SIGUSR1)
                await eventually(_logged(gateway, "signal SIGUSR1"), "the kill is logged")
                (kill,) = (await gateway.view())["switch"]["kills"]
                assert (kill["actor"], kill["reason"]) == ("operator", "signal SIGUSR1")
                answer = await gateway.admin.post(
                    "/api/v1/endpoints/rain/rearm", json={"reason": "drill over"}
                )
                assert answer.status_code == 200
                gateway.kill_child("control")
                await eventually(_logged(gateway, '"process ended"'), "its end is noticed")
                os.kill(_pid(gateway), signal.SIGUSR1)
                await gateway.ready()
                assert (await gateway.view())["switch"]["tripped"]

    _run(scenario)


@pytest.mark.parametrize(
    ("asked", "code", "lived", "undone"),
    [
        (True, 2, 1.0, True),  # it could not have its port, say
        (True, -signal.SIGKILL, 1.0, True),
        (False, -signal.SIGUSR1, 0.1, True),  # the signal came before it could take it
        (True, 0, 1.0, False),
        (True, 2, 60.0, False),  # it has killed long ago, and kept it
        (False, 2, 1.0, False),
    ],
)
def test_a_kill_by_signal_outlives_a_control_process_that_ends_before_it_is_kept(
    asked: bool, code: int, lived: float, undone: bool
) -> None:
    assert kill_is_undone(asked, code, lived) is undone
