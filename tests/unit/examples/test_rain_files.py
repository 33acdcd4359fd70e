"""The files that the demo writes are files that the gateway takes, and its processes end with it."""

from __future__ import annotations

import asyncio
import io
import os
import socket
from pathlib import Path

import pytest

from domain.routing import Mode
from examples.rain.configuration import configuration, write_configuration, write_flags
from examples.rain.processes import Children, DemoError, demand_free, free_ports
from examples.rain.report import Report
from routing.exposure import FlagContext, compile_flags
from settings.file import load


def test_the_configuration_is_valid_and_wholly_acted_upon(tmp_path: Path) -> None:
    settings = load(write_configuration(tmp_path, configuration(8080, 8081, 9001, 9002, 2)))
    rain = settings.endpoint("rain")
    assert settings.inert == ()
    assert (settings.workers, rain.flag) == (2, "rain-v2-canary")
    assert [stage.mode for stage in rain.plan] == [Mode.SHADOW, Mode.CANARY]


@pytest.mark.parametrize("percent", [0, 25, 100])
def test_the_flag_file_exposes_its_percentage(tmp_path: Path, percent: int) -> None:
    document = write_flags(tmp_path, percent).read_bytes()
    exposed = compile_flags(document, lambda: 0.5)["rain-v2-canary"]
    users = [f"user-{number:05d}" for number in range(4000)]
    share = sum(exposed(user, FlagContext(user_id=user)) for user in users) / len(users)
    assert abs(share - percent / 100) < 0.03


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=f"port {port} is taken.*--once"):
            demand_free([port])


def test_free_ports_are_different() -> None:
    ports = free_ports(4)
    assert len(set(ports)) == 4
    demand_free(ports)


def test_a_child_that_ends_is_named_with_the_tail_of_its_log(tmp_path: Path) -> None:
    async def run() -> None:
        children = Children(tmp_path)
        child = await children.start("rain-1", "examples.model_server", "--nonsense")
        await child.process.wait()
        try:
            with pytest.raises(DemoError, match=r"rain-1 ended with exit status 2(.|\n)*--model"):
                children.check()
        finally:
            await children.end()

    asyncio.run(run())


def test_ending_ends_every_child_even_one_that_will_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("examples.rain.processes.GRACE_SECONDS", 0.2)
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import signal, time, pathlib\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path('ready').touch()\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def run() -> int:
        children = Children(tmp_path)
        child = await children.start("stubborn", "stubborn")
        while not (tmp_path / "ready").exists():
            children.check()
            await asyncio.sleep(0.01)
        await children.end()
        return child.process.pid

    pid = asyncio.run(run())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "stubborn did not end" in capsys.readouterr().err


def test_without_a_terminal_the_report_is_plain_lines() -> None:
    stream = io.StringIO()
    with Report(stream) as report:
        report.act("Act 1: [all] is well")
        report.progress("shadow", 1, 10)
        report.progress("shadow", 10, 10)
        report.line("  250 requests")
    assert stream.getvalue() == "\nAct 1: [all] is well\n  250 requests\n"
