"""One suite over every way to reach Redis: scripts do what `killswitch.replication.Shared` says they do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from domain.errors import ConfigError, StaleRearm, StateUnavailable
from domain.kill import Clearance, Kill
from killswitch.evidence_log import Evidence, Sent, Standing
from killswitch.increments import Increments
from killswitch.replication import Inventory, News, Shared
from killswitch.stores.redis import UNREADABLE, Presence, RedisStore, said
from killswitch.stores.redis_client import RedisClient
from killswitch.stores.redis_log import LogName, RedisLog
from settings.shared import RedisSettings
from settings.sharing import redis as settings_of
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, sentinel_of

KINDS = ("server", "unix", "sentinel", "cluster", "tls", "user")


def kill(name: str, endpoint: str = "rain") -> Kill:
    return Kill(name, endpoint, "operator", "bad", 1.0, "rain-2")


def clearance(*ids: str) -> Clearance:
    return Clearance("rain", frozenset(ids), "operator", "good again", 2.0)


@asynccontextmanager
async def encrypted(target: int, folder: Path) -> AsyncIterator[tuple[int, Path]]:
    """A TLS port in front of `target`, and the file of its authority."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    pipes: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        loop = asyncio.get_running_loop()
        pipes.update((loop.create_task(pipe(reader, far_writer)), loop.create_task(pipe(far_reader, writer))))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], folder / "ca.pem"
    finally:
        server.close()
        for task in pipes:
            task.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)


@asynccontextmanager
async def reached(kind: str, folder: Path) -> AsyncIterator[RedisClient]:
    """A client of a server of this kind."""
    from contextlib import AsyncExitStack

    environment: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        options: tuple[str, ...] = ()
        if kind == "unix":
            options = ("--unixsocket", str(folder / "redis.sock"))
        elif kind == "cluster":
            bus = "--cluster-port", str(free_port())  # left alone, one in the range of outgoing connections
            options = ("--cluster-enabled", "yes", *bus, "--cluster-require-full-coverage", "no")
        elif kind == "user":
            rights = "on", ">secret", "~pointsman:*", "&pointsman:*", "+@all"
            options = ("--user", "pointsman", *rights, "--requirepass", "other")
        server = await stack.enter_async_context(RedisServer(*options))
        settings = settings_of(server.url)
        if kind == "unix":
            settings = settings_of(f"unix://{folder}/redis.sock")
        elif kind == "cluster":
            await server.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            async with asyncio.timeout(20):
                while await server.ask("SET", "a", "b") != b"+OK":  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.05)
            settings = settings_of(f"redis+cluster://127.0.0.1:{server.port}")
        elif kind == "sentinel":
            watch = await stack.enter_async_context(RedisServer(sentinel=sentinel_of("main", server.port)))
            settings = settings_of(f"redis+sentinel://127.0.0.1:{watch.port}/main")
        elif kind == "tls":
            port, authority = await stack.enter_async_context(encrypted(server.port, folder))
            settings = RedisSettings("server", (("localhost", port),), tls=True, ca=str(authority))
        elif kind == "user":
            environment = {"SECRET": "secret"}
            settings = RedisSettings(
                "server", (("127.0.0.1", server.port),), user="pointsman", password_env="SECRET"
            )
        client = RedisClient(settings, environment)
        try:
            yield client
        finally:
            await client.close()


def run(kind: str, folder: Path, scenario: Callable[[RedisClient], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(50), reached(kind, folder) as client:
            await scenario(client)

    asyncio.run(whole())


@pytest.mark.parametrize("kind", KINDS)
def test_kills_and_rearms_are_as_the_protocol_says(kind: str, tmp_path: Path) -> None:
    async def scenario(client: RedisClient) -> None:
        store, model = RedisStore(client, "me"), Shared()
        for news in (
            News(kills=frozenset((kill("a"),))),
            News(kills=frozenset((kill("a"), kill("b")))),
            News(frozenset((kill("c"),)), frozenset((clearance("c"),))),
        ):
            await store.push("rain", news)
            model = model.pushed(news)
            assert (await store.inventories(["rain"]))["rain"] == model.inventory
        wanted = Inventory(frozenset("abc"), frozenset("abc"))
        assert await store.fetched("rain", wanted) == model.fetched(wanted)
        for ids in (("a",), ("a", "b", "c"), ("d",)):
            with pytest.raises(StaleRearm):
                model.rearmed(clearance(*ids))
            with pytest.raises(StaleRearm, match="in force for all replicas are a, b"):
                await store.rearm(clearance(*ids))
        await store.rearm(clearance("a", "b"))
        model = model.rearmed(clearance("a", "b"))
        assert (await store.inventories(["rain", "snow"])) == {"rain": model.inventory, "snow": Inventory()}
        with pytest.raises(StaleRearm, match="in force for all replicas are none"):
            await store.rearm(clearance("a", "b"))

    run(kind, tmp_path, scenario)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pushed_is_told_whole_to_everybody(kind: str, tmp_path: Path) -> None:
    async def scenario(client: RedisClient) -> None:
        store = RedisStore(client, "me")
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        async with store.line(heard.put_nowait) as line:
            await store.push("rain", News(kills=frozenset((kill("a"),))))
            line.ring("rain", News(kills=frozenset((kill("b"),))))
            for expected in "ab":
                words = said(await asyncio.wait_for(heard.get(), 5.0))
                assert words is not None
                news = frozenset((kill(expected),))
                assert (words.life, words.endpoint, words.news.kills) == ("me", "rain", news)

    run(kind, tmp_path, scenario)


@pytest.mark.parametrize("kind", KINDS)
def test_one_leads_at_a_time_and_tokens_rise(kind: str, tmp_path: Path) -> None:
    async def scenario(client: RedisClient) -> None:
        one, other = RedisStore(client, "one"), RedisStore(client, "other")
        first = await one.take_lease(60)
        assert first > 0
        assert await other.take_lease(60) == 0
        assert await one.take_lease(60) == first
        await other.give_lease()
        assert await other.take_lease(60) == 0
        await one.give_lease()
        second = await other.take_lease(60)
        assert second > first
        await client.ask("DEL", "pointsman:{lease}:holder", "pointsman:{lease}:token")
        await asyncio.sleep(0.005)
        assert await one.take_lease(60) > second

    run(kind, tmp_path, scenario)


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_takes_each_number_once_and_in_turn(kind: str, tmp_path: Path) -> None:
    async def scenario(client: RedisClient) -> None:
        logs, name = RedisLog(client), LogName("rain", "t")
        entry = Evidence(1.0, (Increments(latencies={1: 1}),), 1)
        assert (await logs.states([name])) == [(None, 0, None)]
        assert (await logs.append(name, "e", Sent("a", 1, entry))).kind == "epoch"
        standing = Standing(0, {"old": 4}, {"s": 2}, b"state")
        assert (await logs.open(name, None, "e", 7, standing)).kind == "ok"
        assert (await logs.open(name, None, "f", 7, standing)) == ("epoch", "e", None)
        assert await logs.standing(name, "e") == standing
        async with logs.lines(["rain"]) as lines:
            assert (await logs.append(name, "e", Sent("a", 1, entry))) == ("ok", "1", None)
            while (shown := await lines.next(5.0)) is None:
                pass
            assert shown[:5] == ("rain", "e", 1, "a", 1)
        assert (await logs.append(name, "e", Sent("a", 1, entry))) == ("known", "1", None)
        assert (await logs.append(name, "e", Sent("a", 3, entry))) == ("gap", "1", None)
        assert (await logs.append(name, "e", Sent("old", 5, entry))) == ("ok", "2", ("a", 1))
        assert (await logs.append(name, "e", Sent("b", 1, entry), token=6)) == ("fenced", "7", None)
        assert (await logs.append(name, "e", Sent("b", 1, entry), token=8)) == ("ok", "3", ("old", 5))
        assert (await logs.states([name])) == [("e", 3, ("b", 1))]
        assert [(index, sent.sender) for index, sent, _ in await logs.entries(name, "e", 0)] == [
            (1, "a"), (2, "old"), (3, "b"),
        ]  # fmt: skip
        assert await logs.entries(name, "e", 2) == [(3, Sent("b", 1, entry), ("old", 5))]
        later = Standing(3, {"a": 1}, {}, b"later")
        assert (await logs.checkpoint(name, "e", 7, later)).kind == "fenced"
        assert (await logs.checkpoint(name, "e", 8, later)).kind == "ok"
        assert await logs.standing(name, "e") == later

    run(kind, tmp_path, scenario)


def test_replicas_say_that_they_are_there_and_go(tmp_path: Path) -> None:
    async def scenario(client: RedisClient) -> None:
        one, other = RedisStore(client, "one"), RedisStore(client, "other")
        mine = Presence("one", "r1", "d", "0.1", "h", False)
        its = Presence("other", "r2", "d", "0.1", "h", True)
        assert await one.beat(mine) == (mine,)
        assert await other.beat(its) == (mine, its)
        await one.leave()
        assert await other.beat(its) == (its,)

    run("server", tmp_path, scenario)


GARBAGE = [
    b"", b"{", b"null", b'{"id":"z"}', b"\xff\xfe", b"[" * 2000, b'{"more":' + b"[" * 200_000,
    b'{"id":"\xff","endpoint":"rain"}',
    b'{"id":"x","endpoint":"rain","actor":"o","reason":"r","at":1e300,"version":"v","ids":["a"]}',
]  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_clears_nothing_and_an_unreadable_kill_is_a_kill(garbage: bytes, tmp_path: Path) -> None:
    async def scenario(client: RedisClient) -> None:
        store = RedisStore(client, "me")
        await store.push("rain", News(kills=frozenset((kill("a"),))))
        await client.ask("HSET", "pointsman:cleared:{rain}", "a", garbage)
        await client.ask("HSET", "pointsman:kills:{rain}", "x", garbage)
        news = await store.fetched("rain", Inventory(frozenset("ax"), frozenset("a")))
        assert not news.clearances
        assert {one.id for one in news.kills} == {"a", "x"}
        assert {one.reason for one in news.kills if one.id == "x"} == {UNREADABLE}
        assert (await store.inventories(["rain"]))["rain"].cleared == frozenset()
        assert said(garbage) is None

    run("server", tmp_path, scenario)


def test_a_kill_whose_id_is_no_text_is_in_force_and_can_be_cleared(tmp_path: Path) -> None:
    async def scenario(client: RedisClient) -> None:
        store = RedisStore(client, "me")
        await client.ask("HSET", "pointsman:kills:{rain}", b"\xff", b"{}", "a", b"{}")
        await client.ask("HSET", "pointsman:cleared:{rain}", b"\xfe", b"{}")
        named = (await store.inventories(["rain"]))["rain"]
        assert named == Inventory(frozenset(("\\xff", "a")), frozenset(("\\xfe",)))
        assert (await store.inventories(["rain"]))["rain"] == named
        news = await store.fetched("rain", named)
        assert {one.id for one in news.kills} == named.kills
        assert not news.clearances
        with pytest.raises(StaleRearm):
            await store.rearm(clearance("a"))
        await store.rearm(clearance("a", "\\xff"))
        assert (await store.inventories(["rain"]))["rain"].cleared == named.kills

    run("server", tmp_path, scenario)


def test_keys_of_another_type_are_put_aside_and_filled_again(tmp_path: Path) -> None:
    async def scenario(client: RedisClient) -> None:
        store = RedisStore(client, "me")
        for key in ("pointsman:kills:{rain}", "pointsman:cleared:{rain}"):
            await client.ask("SET", key, "mistake")
        assert (await store.inventories(["rain"]))["rain"] == Inventory()
        await store.push("rain", News(frozenset((kill("a"),)), frozenset((clearance("b"),))))
        assert (await store.inventories(["rain"]))["rain"] == Inventory(frozenset("a"), frozenset("b"))
        assert await client.ask("GET", "pointsman:kills:{rain}:damaged") == b"mistake"

    run("server", tmp_path, scenario)


def test_out_of_reach_is_said_within_a_bound_with_the_address_and_no_secret() -> None:
    async def scenario() -> None:
        settings = RedisSettings("server", (("127.0.0.1", free_port()),), password_env="SECRET")
        client = RedisClient(settings, {"SECRET": "hunter2"})
        with pytest.raises(StateUnavailable, match=r"redis://127\.0\.0\.1:\d+") as refused:
            await RedisStore(client, "me").inventories(["rain"])
        assert "hunter2" not in str(refused.value)
        async with RedisServer("--requirepass", "other") as server:
            for user, password in ((None, "hunter2"), ("nobody", "hunter2")):
                node = ("127.0.0.1", server.port)
                settings = RedisSettings("server", (node,), user=user, password_env="SECRET")
                client = RedisClient(settings, {"SECRET": password})
                with pytest.raises(StateUnavailable, match="it refuses") as refused:
                    await RedisStore(client, "me").inventories(["rain"])
                assert "hunter2" not in str(refused.value)
                await client.close()
            client = RedisClient(RedisSettings("server", (("127.0.0.1", server.port),)), {})
            with pytest.raises(StateUnavailable, match="no password is configured"):
                await RedisStore(client, "me").inventories(["rain"])
            await client.close()

    asyncio.run(scenario())


def test_a_cluster_out_of_reach_is_said_like_any_other() -> None:
    async def scenario() -> None:
        client = RedisClient(RedisSettings("cluster", (("127.0.0.1", free_port()),)), {})
        for call in (
            lambda: RedisStore(client, "me").inventories(["rain"]),
            lambda: RedisStore(client, "me").take_lease(60),
            lambda: RedisLog(client).states([LogName("rain", "t")]),
        ):
            with pytest.raises(StateUnavailable):
                await call()
        with pytest.raises(StateUnavailable):
            async with RedisLog(client).lines(["rain"]):
                pass
        await client.close()

    asyncio.run(scenario())


def test_a_server_that_accepts_and_is_silent_is_given_up_in_time() -> None:
    async def scenario() -> None:
        async with RedisServer() as server:
            client = RedisClient(settings_of(server.url), {}, patience=0.2)
            store = RedisStore(client, "me")
            await store.push("rain", News(kills=frozenset((kill("a"),))))
            server.freeze()
            with pytest.raises(StateUnavailable, match=r"no answer within 0\.2 s"):
                await store.inventories(["rain"])
            server.thaw()
            async with asyncio.timeout(20):
                while True:
                    try:
                        found = await store.inventories(["rain"])
                        break
                    except StateUnavailable:
                        await asyncio.sleep(0.05)
            assert found["rain"].kills == frozenset("a")
            await client.close()

    asyncio.run(scenario())


def test_a_missing_secret_is_named() -> None:
    settings = RedisSettings("server", (("127.0.0.1", 1),), password_env="NOT_THERE")
    with pytest.raises(ConfigError, match=r"state\.redis_password_env.*NOT_THERE"):
        RedisClient(settings, {})


def test_a_failover_by_sentinel_is_followed() -> None:
    async def scenario() -> None:
        async with RedisServer() as first, RedisServer("--replicaof", "127.0.0.1", str(first.port)) as second:
            async with RedisServer(sentinel=sentinel_of("main", first.port)) as watch:
                client = RedisClient(settings_of(f"redis+sentinel://127.0.0.1:{watch.port}/main"), {})
                store = RedisStore(client, "me")
                await store.push("rain", News(kills=frozenset((kill("a"),))))
                async with asyncio.timeout(40):
                    while await second.ask("HLEN", "pointsman:kills:{rain}") != b":1":  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
                    while b"slave" not in await _replicas(watch):  # noqa: ASYNC110 - it tells nobody
                        await asyncio.sleep(0.1)
                    first.kill()
                    while True:
                        try:
                            await store.push("rain", News(kills=frozenset((kill("b"),))))
                            break
                        except StateUnavailable:
                            await asyncio.sleep(0.1)
                assert (await store.inventories(["rain"]))["rain"].kills >= frozenset("b")
                assert (await second.ask("HLEN", "pointsman:kills:{rain}")) == b":2"
                await client.close()

    asyncio.run(scenario())


async def _replicas(watch: RedisServer) -> bytes:
    """What the sentinel knows of replicas, whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", watch.port)
    writer.write(b"SENTINEL REPLICAS main\r\n")
    answer = await reader.read(4096)
    writer.close()
    return answer
