"""PostgreSQL against what goes wrong: down, killed, silent, slow, full, closed to us. Nothing is lost, and no
call waits for ever."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text, update

from control.keeper import Keeper
from domain.errors import StateUnavailable
from domain.kill import Clearance, Kill
from killswitch.stores.database import DatabaseStore
from shadow.tasks import Tasks
from storage.database import Database
from storage.tables import GENERATIONS
from tests.support.certificates import Authority
from tests.support.control import document, here, write
from tests.support.databases import (
    GUARDED,
    PASSWORD,
    PostgresProcess,
    asked,
    faulty,
    postgres_process,
    tls_front,
)
from tests.support.faults import refusing_port
from tests.support.gateway import eventually
from tests.support.unleash import MissingError

RAIN = "/api/v1/endpoints/rain"


def kill(number: int, reason: str = "flips 23 %") -> Kill:
    return Kill(f"kill-{number}", "rain", "guard:flips", reason, float(number), "rain-2")


@pytest.fixture
def own_server() -> Iterator[PostgresProcess]:
    try:
        with postgres_process() as process:
            yield process
    except MissingError as error:
        pytest.skip(f"no PostgreSQL: {error}")


# Replicas.


def test_replicas_share_kills_clearances_and_generations_but_not_states(
    postgres_url: Callable[[], str],
) -> None:
    url = postgres_url()
    one, other = DatabaseStore.open(url, "a-8081"), DatabaseStore.open(url, "b-8081")
    one.add_kill(kill(1))
    other.add_kill(kill(1, "the second writing"))
    other.add_kill(kill(2))
    cleared = Clearance("rain", frozenset({"kill-1"}), "ada", "fixed", 1.0)
    one.add_clearance(cleared)
    other.add_clearance(cleared)
    one.checkpoint({"rain": b"one"}, {"worker-0": 7})
    other.checkpoint({"rain": b"other"}, {})
    generations = [one.reserve_generations(3), other.reserve_generations(3), one.reserve_generations(1)]
    found = [(each.kills(), each.clearances(), each.states(), each.sequences()) for each in (one, other)]
    one.close()
    other.close()
    shared = ((kill(1), kill(2)), (cleared,))
    assert found == [(*shared, {"rain": b"one"}, {"worker-0": 7}), (*shared, {"rain": b"other"}, {})]
    assert generations == [1, 4, 7]


def test_generations_that_threads_of_several_replicas_reserve_never_overlap(
    postgres_url: Callable[[], str],
) -> None:
    url = postgres_url()
    firsts: list[int] = []

    def reserve() -> None:
        store = DatabaseStore.open(url)
        firsts.extend([store.reserve_generations(4) for _ in range(25)])
        store.close()

    threads = [threading.Thread(target=reserve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(firsts) == list(range(1, 4 * 25 * 4, 4))


def test_gateways_that_share_a_database_know_each_other_s_kills_and_clearances_after_a_start(
    postgres_url: Callable[[], str], tmp_path: Path
) -> None:
    url = postgres_url()
    folders = [tmp_path / name for name in ("one", "other")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        admin = f"127.0.0.1:{18081 + number}"
        write(folder, document(folder) | {"state": {"database": url}, "admin": admin})

    async def scenario() -> None:
        async with here(folders[0]) as one:
            answer = (await one.client.post(f"{RAIN}/kill", json={"reason": "drill"})).json()
            assert answer["durable"] is True
            async with here(folders[1]) as other:
                switch = (await other.endpoint())["switch"]
                assert [kill["id"] for kill in switch["kills"]] == [answer["kill"]]
                generations = [each.control.switchboard.generations.next() for each in (one, other)]
                assert len(set(generations)) == 2
                again = {"reason": "fine", "kills": [answer["kill"]]}
                assert (await other.client.post(f"{RAIN}/rearm", json=again)).status_code == 200
        async with here(folders[0]) as one:
            assert (await one.endpoint())["switch"]["kills"] == []

    asyncio.run(scenario())


# Down, and back.


def test_a_server_that_is_down_at_start_is_unavailable_with_the_reason() -> None:
    port = refusing_port()
    with pytest.raises(StateUnavailable, match=rf"127\.0\.0\.1:{port}/state: .*onnect.*failed"):
        DatabaseStore.open(f"postgresql://ada@127.0.0.1:{port}/state")


def test_what_was_acknowledged_outlives_a_server_that_is_killed(own_server: PostgresProcess) -> None:
    url = own_server.fresh()
    store = DatabaseStore.open(url)
    store.add_kill(kill(1))
    own_server.end(signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(StateUnavailable):
            store.add_kill(kill(2))
    own_server.start()
    assert store.kills() == (kill(1),)
    store.add_kill(kill(2))
    assert store.kills() == (kill(1), kill(2))
    store.close()


def test_of_several_hosts_the_one_that_answers_is_taken(postgres_server: PostgresProcess) -> None:
    url = postgres_server.fresh()
    gone, there = f"127.0.0.1:{refusing_port()}", f"127.0.0.1:{postgres_server.port}"
    store = DatabaseStore.open(f"{url.replace(there, f'{gone},{there}')}?target_session_attrs=read-write")
    store.add_kill(kill(1))
    store.close()


def test_a_restart_between_two_calls_is_not_noticed(own_server: PostgresProcess) -> None:
    store = DatabaseStore.open(own_server.fresh())
    own_server.end()
    own_server.start()
    store.add_kill(kill(1))
    assert store.kills() == (kill(1),)
    store.close()


def test_a_kill_is_kept_when_the_server_is_back(postgres_server: PostgresProcess) -> None:
    url = postgres_server.fresh()

    async def scenario() -> None:
        with faulty(postgres_server.port) as (proxy, loop):
            through = url.replace(str(postgres_server.port), str(proxy.port))
            failures: list[BaseException] = []
            tasks = Tasks(lambda name, error: failures.append(error))
            keeper = Keeper(lambda: DatabaseStore.open(through, bound=0.5), tasks, retry=0.05)
            assert await keeper.reserve(1) == 1
            await asyncio.to_thread(loop.run, proxy.break_down())
            assert not await keeper.keep_kill(kill(1))
            assert keeper.failure is not None
            with pytest.raises(StateUnavailable):
                await keeper.run(lambda database: database.read(lambda on: on.scalar(text("SELECT 1"))))
            tasks.spawn(keeper.try_again(), "store")
            await asyncio.to_thread(loop.run, proxy.come_back())
            await eventually(lambda: keeper.unkept == 0 and keeper.failure is None, "the kill is durable")
            assert (await keeper.restore()).kills == (kill(1),)
            await tasks.cancel()
            await keeper.close()
            assert not failures

    asyncio.run(scenario())


# Silent, and slow.


@pytest.mark.parametrize("known", [True, False], ids=["in run", "at start"])
def test_a_server_that_falls_silent_is_given_up_and_then_works_again(
    postgres_server: PostgresProcess, known: bool
) -> None:
    url = postgres_server.fresh()
    DatabaseStore.open(url).close()
    with faulty(postgres_server.port) as (proxy, _):
        through = url.replace(str(postgres_server.port), str(proxy.port))
        if known:
            store = DatabaseStore.open(through, bound=1.0)
            proxy.blackhole = True
            with pytest.raises(StateUnavailable, match="no answer within 1 s"):
                store.add_kill(kill(1))
            with pytest.raises(StateUnavailable, match="no answer within 1 s"):
                store.kills()
            proxy.blackhole = False
        else:
            proxy.blackhole = True
            with pytest.raises(StateUnavailable, match="no answer within 1 s"):
                DatabaseStore.open(through, bound=1.0)
            proxy.blackhole = False
            store = DatabaseStore.open(through, bound=20.0)
        store.add_kill(kill(2))
        assert store.kills()[-1] == kill(2)
        store.close()


def test_a_lock_that_others_hold_is_given_up_and_nothing_was_written(
    postgres_server: PostgresProcess,
) -> None:
    url = postgres_server.fresh()
    store = DatabaseStore.open(url, bound=0.5)
    with locked(url, "kills"):
        with pytest.raises(StateUnavailable, match=r"no answer within 0.5 s|statement timeout"):
            store.add_kill(kill(1))
    assert store.kills() == ()
    store.add_kill(kill(1))
    assert store.kills() == (kill(1),)
    store.close()


@contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    """Somebody else holds a lock on `table`."""
    held, let_go = threading.Event(), threading.Event()

    def hold(on: Connection) -> None:
        on.execute(text(f"LOCK TABLE {table} IN EXCLUSIVE MODE"))
        held.set()
        let_go.wait(20)

    other = Database.open(url, bound=30.0)
    holder = threading.Thread(target=other.write, args=(hold,))
    holder.start()
    assert held.wait(20)
    try:
        yield
    finally:
        let_go.set()
        holder.join()
        other.close()


def test_a_replica_that_stops_in_the_middle_does_not_hold_up_the_others(
    postgres_server: PostgresProcess,
) -> None:
    url = postgres_server.fresh()
    stopped, store = Database.open(url, bound=0.5), DatabaseStore.open(url, bound=30.0)
    reserved: list[int] = []

    def stop(on: Connection) -> None:
        on.execute(update(GENERATIONS).values(next=1000))
        waiting = threading.Thread(target=lambda: reserved.append(store.reserve_generations(5)))
        waiting.start()
        waiting.join(30)  # until the server has ended this transaction

    with pytest.raises(StateUnavailable):
        stopped.write(stop)
    assert reserved == [1]
    assert store.reserve_generations(5) == 6
    stopped.close()
    store.close()


def test_a_query_that_takes_too_long_is_ended_by_the_server_as_well(postgres_server: PostgresProcess) -> None:
    url = postgres_server.fresh()
    database = Database.open(url, bound=0.5)
    with pytest.raises(StateUnavailable, match=r"no answer within 0.5 s|statement timeout"):
        database.read(lambda on: on.execute(text("SELECT pg_sleep(600)")))
    running = "SELECT count(*) AS running FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%'"

    async def ended() -> None:
        await eventually(lambda: postgres_server.ask(running)[0]["running"] == 0, "the query was ended")

    asyncio.run(ended())
    assert database.read(lambda on: on.scalar(text("SELECT 1"))) == 1
    database.close()


# Full.


def test_a_full_disk_is_unavailable_loses_nothing_and_heals(own_server: PostgresProcess) -> None:
    url = own_server.fresh()
    own_server.end()
    own_server.start(longest_file=20 * 2**20)
    store = DatabaseStore.open(url)
    noise = random.Random(5)
    kept: list[str] = []

    def fill() -> None:
        for number in range(100):
            store.add_kill(kill(number, noise.randbytes(2**19).hex()))
            kept.append(f"kill-{number}")

    with pytest.raises(StateUnavailable, match="could not extend file"):
        fill()
    assert kept
    assert [one.id for one in store.kills()] == kept
    store.close()
    own_server.end()
    own_server.start()
    store = DatabaseStore.open(url)
    store.add_kill(kill(1000))
    assert [one.id for one in store.kills()] == [*kept, "kill-1000"]
    store.close()


# Closed to us.


def test_a_password_comes_from_the_environment_or_a_file_and_a_wrong_one_is_refused(
    postgres_server: PostgresProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.fresh()
    name = url.rpartition("/")[2]
    postgres_server.ask(f"GRANT ALL ON DATABASE {name} TO {GUARDED}")
    guarded = postgres_server.url(name, GUARDED)
    monkeypatch.setenv("PGPASSWORD", "wrong-" + PASSWORD)
    with pytest.raises(StateUnavailable, match="password authentication failed") as caught:
        DatabaseStore.open(guarded)
    assert PASSWORD not in str(caught.value)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    DatabaseStore.open(guarded).close()
    monkeypatch.delenv("PGPASSWORD")
    passfile = tmp_path / "passfile"
    passfile.write_text(f"127.0.0.1:*:*:{GUARDED}:{PASSWORD}\n")
    passfile.chmod(0o600)
    store = DatabaseStore.open(f"{guarded}?passfile={passfile}")
    store.add_kill(kill(1))
    store.close()


def test_a_user_who_may_not_make_tables_is_told_so(postgres_server: PostgresProcess) -> None:
    url = postgres_server.fresh()
    postgres_server.ask("CREATE USER guest")
    with pytest.raises(StateUnavailable, match="permission denied"):
        DatabaseStore.open(postgres_server.url(url.rpartition("/")[2], "guest"))


def test_a_schema_of_that_name_with_other_tables_is_refused(postgres_server: PostgresProcess) -> None:
    url = postgres_server.fresh()
    asked(url, "CREATE SCHEMA pointsman CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(StateUnavailable, match="another program's database"):
        DatabaseStore.open(url)


def test_other_programs_tables_in_the_same_database_are_left_alone(postgres_server: PostgresProcess) -> None:
    url = postgres_server.fresh()
    asked(url, "CREATE TABLE kills (url TEXT)")
    store = DatabaseStore.open(url)
    store.add_kill(kill(1))
    store.close()
    assert asked(url, "SELECT * FROM public.kills") == []
    assert [row["id"] for row in asked(url, "SELECT id FROM pointsman.kills")] == ["kill-1"]


def test_commits_are_synchronous_whatever_the_server_s_default_is(postgres_server: PostgresProcess) -> None:
    url = postgres_server.fresh()
    name = url.rpartition("/")[2]
    for default, wanted in (("off", "on"), ("remote_apply", "remote_apply")):
        postgres_server.ask(f"ALTER DATABASE {name} SET synchronous_commit = {default}")
        database = Database.open(url)
        found = database.read(lambda on: on.scalar(text("SELECT current_setting('synchronous_commit')")))
        database.close()
        assert found == wanted


def test_tls_is_checked_where_it_is_asked_for(postgres_server: PostgresProcess, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "theirs")
    with tls_front(postgres_server.port, authority.server("localhost")) as front:
        url = postgres_server.fresh().replace(f"127.0.0.1:{postgres_server.port}", f"localhost:{front.port}")
        checked = f"{url}?sslmode=verify-full&sslrootcert="
        with pytest.raises(StateUnavailable, match="certificate verify failed"):
            DatabaseStore.open(f"{checked}{stranger.ca}")
        with pytest.raises(StateUnavailable, match="certificate verify failed"):
            DatabaseStore.open(f"{checked}{authority.ca}".replace("localhost", "127.0.0.1"))
        assert front.encrypted == 0
        store = DatabaseStore.open(f"{checked}{authority.ca}")
        store.add_kill(kill(1))
        assert front.encrypted == 1
        assert store.kills() == (kill(1),)
        store.close()


def test_a_server_without_tls_is_refused_where_tls_is_demanded(postgres_server: PostgresProcess) -> None:
    with pytest.raises(StateUnavailable, match="rejected SSL"):
        DatabaseStore.open(f"{postgres_server.fresh()}?sslmode=require")
