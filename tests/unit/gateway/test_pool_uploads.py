"""Slow uploads have their share of a server's connections, and the rest is everybody else's."""

from __future__ import annotations

from dataclasses import replace

from domain.observation import Outcome
from domain.routing import ConnectionLimits, Policy
from tests.support.pools import SERVER, Bench, answer, run

TEN = replace(SERVER, policy=Policy(connections=ConnectionLimits(max=10, pending=5, uploads=0.5)))


def test_uploads_that_never_end_leave_half_of_the_connections() -> None:
    async def scenario(bench: Bench) -> None:
        uploads = [bench.upload(str(n)) for n in range(10)]
        await bench.connect(10)
        assert sum(upload.connection is not None for upload in uploads) == 5
        others = [bench.ask() for _ in range(5)]
        await bench.connect(5)
        assert all(asker.connection is not None for asker in others)
        assert not any(upload.failures for upload in uploads)

    run(scenario, TEN)


def test_an_upload_that_is_whole_makes_room_though_its_answer_is_not_there() -> None:
    async def scenario(bench: Bench) -> None:
        uploads = [bench.upload(str(n)) for n in range(6)]
        await bench.connect(5)
        assert uploads[5].connection is None
        uploads[0].streams_upload = False
        await bench.pass_time(0.05)
        await bench.connect()
        assert uploads[5].connection is not None
        answer(uploads[5])
        assert uploads[5].bodies == [b"ok"]

    run(scenario, TEN)


def test_an_upload_that_broke_off_makes_room() -> None:
    async def scenario(bench: Bench) -> None:
        uploads = [bench.upload(str(n)) for n in range(5)]
        await bench.connect(5)
        broken = uploads[2].connection
        assert broken is not None
        broken.abort()
        late = bench.upload("late")
        await bench.connect()
        assert late.connection is not None

    run(scenario, TEN)


def test_waiting_uploads_are_bounded_expire_and_may_leave() -> None:
    async def scenario(bench: Bench) -> None:
        for n in range(5):
            bench.upload(str(n), timeout=60.0)
        await bench.connect(5)
        held = [bench.upload("held") for _ in range(5)]
        refused = bench.upload("refused")
        assert refused.failures == [Outcome.OVERLOAD]
        assert refused.reasons == ["5 uploads wait for http://10.0.0.1:9001 already"]
        held[0].abandoned = True
        bench.pool.leave(held[0])
        patient = bench.upload("patient", timeout=60.0)
        assert patient.failures == []
        await bench.pass_time(2.1)
        assert [asker.failures for asker in held] == [[], *[[Outcome.TIMEOUT]] * 4]
        assert patient.failures == []

    run(scenario, TEN)


def test_ended_uploads_are_forgotten() -> None:
    async def scenario(bench: Bench) -> None:
        uploads = [bench.upload(str(n)) for n in range(4)]
        await bench.connect(4)
        for upload in uploads:
            upload.streams_upload = False
            answer(upload)
        await bench.pass_time(0.05)
        assert len(bench.pool._uploads) == 0

    run(scenario, TEN)
