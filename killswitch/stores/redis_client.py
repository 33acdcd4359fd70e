"""The connection to Redis: a server, one behind sentinels, a cluster, or a unix socket, by the settings.

Every call ends within a bound and fails as StateUnavailable, with the address and the reason and never with a
password. Nothing here waits for Redis to come back or tries for long: whoever calls does so again anyway.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from domain.errors import StateUnavailable
from killswitch.stores.redis_line import KillLine, Refused
from killswitch.stores.redis_scripts import Script
from settings.shared import RedisSettings
from settings.sharing import password

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.client import PubSub
    from redis.asyncio.sentinel import Sentinel

PATIENCE = 1.0
"""Seconds for a call, and for making a connection."""

Argument = str | bytes | int | float


class RedisClient:
    """Runs commands and scripts, and listens. `failures` counts the calls that failed."""

    def __init__(
        self,
        settings: RedisSettings,
        environment: Mapping[str, str],
        patience: float = PATIENCE,
        *,
        name: str = "shared state",
        key: str = "state.redis_password_env",
    ) -> None:
        """Connects when it is first used. Raises ConfigError when a secret is missing.

        `name` is what errors call it, `key` the setting that names the variable with its password.
        """
        self.where = str(settings)
        self._name = name
        self._key = key
        self.failures = 0
        self._settings = settings
        self._patience = patience
        self._password = password(settings, environment, key)
        self._client: Redis | RedisCluster | None = None
        self._listeners: list[Redis] = []
        self._sentinels: list[Redis] = []

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Any:
        """What `script` answers. Raises StateUnavailable."""
        from redis.exceptions import NoScriptError

        async def call(client: Any) -> Any:
            try:
                return await client.evalsha(script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return await client.eval(script.text, len(keys), *keys, *arguments)

        return await self._call(call)

    async def ask(self, *command: Argument) -> Any:
        """What one command answers. Raises StateUnavailable."""
        return await self._call(lambda client: client.execute_command(*command))

    async def ask_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """What commands answer, in one go; an error of one of them is its answer. Raises StateUnavailable."""
        if not commands:
            return []

        async def call(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(await pipeline.execute(raise_on_error=False))

        answers = cast("list[Any]", await self._call(call))
        for answer in answers:
            if isinstance(answer, Exception) and not _is_wrong_type(answer):
                raise self._unavailable(answer)
        return answers

    @asynccontextmanager
    async def listening(self, channels: Sequence[str]) -> AsyncIterator[PubSub]:
        """Subscribed to `channels`, on a connection of its own. Raises StateUnavailable."""
        sentinels = len(self._sentinels)
        client = await self._listener()
        pubsub: PubSub = client.pubsub(ignore_subscribe_messages=True)
        try:
            try:
                async with asyncio.timeout(self._patience):
                    await pubsub.subscribe(*channels)
            except Exception as error:
                raise self._translated(error) from error
            yield pubsub
        finally:
            self._listeners.remove(client)
            await _quietly(pubsub.aclose())  # type: ignore[no-untyped-call]
            await _quietly(client.aclose())
            for sentinel in self._sentinels[sentinels:]:
                await _quietly(sentinel.aclose())
            del self._sentinels[sentinels:]

    @asynccontextmanager
    async def line(self, channel: str, hear: Callable[[bytes], None]) -> AsyncIterator[KillLine]:
        """A line that calls `hear` with every message on `channel`. Raises StateUnavailable."""
        try:
            async with asyncio.timeout(self._patience):
                line = await self._dialled(lambda: KillLine(channel, hear))
        except Exception as error:
            raise self._translated(error) from error
        try:
            try:
                async with asyncio.timeout(self._patience):
                    await line.subscribe(self._settings.user, self._password)
            except Exception as error:
                raise self._translated(error) from error
            yield line
        finally:
            line.close()

    async def _dialled(self, line: Callable[[], KillLine]) -> KillLine:
        """Connected to the server, or to any node of a cluster: what is told at one is heard at all."""
        loop, settings = asyncio.get_running_loop(), self._settings
        if settings.kind == "unix":
            return (await loop.create_unix_connection(line, settings.path))[1]
        tls = ssl.create_default_context(cafile=settings.ca) if settings.tls else None
        host, port = await self._address()
        return (await loop.create_connection(line, host, port, ssl=tls))[1]

    async def _address(self) -> tuple[str, int]:
        settings = self._settings
        if settings.kind == "cluster":
            await self.ask("PING")
            node = cast("RedisCluster", self._client).get_random_node()
            return str(node.host), int(node.port)
        if settings.kind == "sentinel":
            sentinel = self._sentinel()
            try:
                host, port = await sentinel.discover_master(settings.master)
            finally:
                for one in sentinel.sentinels:
                    await _quietly(one.aclose())
            return str(host), int(port)
        return settings.nodes[0]

    async def next_message(self, pubsub: PubSub, within: float) -> tuple[str, bytes] | None:
        """The next message as channel and content; None when none came. Raises StateUnavailable."""
        try:
            message = await pubsub.get_message(timeout=within)
        except Exception as error:
            raise self._translated(error) from error
        if message is None or not isinstance(message.get("data"), bytes):
            return None
        return message["channel"].decode(), message["data"]

    async def close(self) -> None:
        """Let go of all connections."""
        client, self._client = self._client, None
        for one in (client, *self._listeners, *self._sentinels):
            if one is not None:
                await _quietly(one.aclose())

    async def _call(self, work: Any) -> Any:
        try:
            async with asyncio.timeout(self._patience):
                if self._client is None:
                    self._client = self._connect()
                return await work(self._client)
        except Exception as error:
            raise self._translated(error) from error

    def lost(self, error: Exception) -> Exception:
        """What to raise for the `error` that ended a line."""
        return self._translated(error)

    def _translated(self, error: Exception) -> Exception:
        """StateUnavailable for whatever Redis or the way to it did; defects of our own stay what they are."""
        from redis.exceptions import RedisClusterException, RedisError

        # That no node of a cluster answers is no RedisError.
        # What `KillLine` was refused, or could not read, is no RedisError either.
        if isinstance(error, RedisError | RedisClusterException | OSError | TimeoutError | Refused):
            self.failures += 1
            return self._unavailable(error)
        return error

    def _unavailable(self, error: Exception) -> StateUnavailable:
        from redis import exceptions

        reason = str(error) or type(error).__name__
        refused = exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError
        if isinstance(error, refused) or any(word in reason for word in ("WRONGPASS", "NOAUTH", "NOPERM")):
            key = self._key if self._settings.password_env else "no password is configured"
            user = f"user {self._settings.user!r}" if self._settings.user else "the default user"
            reason = f"it refuses {user} ({key}): {reason}"
        elif isinstance(error, TimeoutError | exceptions.TimeoutError):
            reason = f"no answer within {self._patience:g} s"
        return StateUnavailable(f"{self._name} {self.where}: {reason}")

    # Connections.

    def _options(self) -> dict[str, Any]:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as Broken

        options: dict[str, Any] = {
            "username": self._settings.user,
            "password": self._password,
            "socket_timeout": self._patience,
            "socket_connect_timeout": self._patience,
            "protocol": 2,
            # A connection that went stale while nobody used it is replaced once; nothing is tried for longer.
            "retry": Retry(NoBackoff(), 1, supported_errors=(Broken,)),
        }
        if self._settings.tls:
            options |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
            options["ssl_ca_certs"] = self._settings.ca
        return options

    def _connect(self) -> Redis | RedisCluster:
        from redis.asyncio import RedisCluster
        from redis.asyncio.cluster import ClusterNode

        if self._settings.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in self._settings.nodes]
            return RedisCluster(startup_nodes=nodes, **self._options())
        return self._server()

    def _server(self, **more: Any) -> Redis:
        from redis.asyncio import Redis

        settings = self._settings
        options = {**self._options(), "db": settings.database, **more}
        if settings.kind == "unix":
            return Redis(unix_socket_path=settings.path, **options)
        if settings.kind == "sentinel":
            sentinel = self._sentinel(**options)
            self._sentinels += sentinel.sentinels
            return cast("Redis", sentinel.master_for(settings.master))
        host, port = settings.nodes[0]
        return Redis(host=host, port=port, **options)

    def _sentinel(self, **options: Any) -> Sentinel:
        from redis.asyncio.sentinel import Sentinel

        asking = {"socket_timeout": self._patience, "socket_connect_timeout": self._patience, "protocol": 2}
        return Sentinel(self._settings.nodes, sentinel_kwargs=asking, **options)  # type: ignore[no-untyped-call]

    async def _listener(self) -> Redis:
        """A client for one subscription; in a cluster any node hears what is published at any other."""
        from redis.asyncio import Redis

        if self._settings.kind != "cluster":
            client = self._server(socket_timeout=None)
        else:
            await self.ask("PING")
            node = cast("RedisCluster", self._client).get_random_node()
            client = Redis(host=node.host, port=int(node.port), **{**self._options(), "socket_timeout": None})
        self._listeners.append(client)
        return client


def _is_wrong_type(error: Exception) -> bool:
    return str(error).startswith("WRONGTYPE")


async def _quietly(closing: Any) -> None:
    """What is being let go may be broken already, which is no news."""
    from redis.exceptions import RedisClusterException, RedisError

    try:
        async with asyncio.timeout(PATIENCE):
            await closing
    except (RedisError, RedisClusterException, OSError, TimeoutError):
        return
