"""Accepting: who comes in, whose connection it is, and what happens when there is no room.

The event loop's own server closes what it accepts when the process has no file descriptor left, and closes a
listening socket with connections in its queue. Here nothing that the kernel accepted is thrown away: without
descriptors, at the limit of connections and under memory pressure accepting pauses and clients wait in the
kernel's queue; at the end the queue is emptied before the socket is closed.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, cast

from gateway.certificates import ServerTls
from gateway.log import log
from gateway.origin import Origin
from gateway.plain import Plain
from gateway.proxy_protocol import ProxyHeaderError, read_origin
from settings.downstream import LOCAL
from settings.schema import Downstream
from shadow.tasks import Tasks

if TYPE_CHECKING:
    from gateway.client import ClientConnection

AT_ONCE = 64
"""Connections accepted before the event loop gets to anything else."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4
"""Seconds between attempts to accept while file descriptors or memory are short."""
SHUTDOWN = 5.0
"""Seconds a client gets for TLS's goodbye."""

_SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Host(Protocol):
    """Whose clients they are."""

    def welcome(self, origin: Origin) -> ClientConnection:
        """The protocol of a new connection; it calls `Listener.left` when the connection is lost."""

    def event(self, name: str, count: int = 1) -> None:
        """Count what happened to a connection."""


class Listener:
    """Accepts for one worker from `listening`.

    `tls`, when there is one, may be replaced at any time: open connections keep what they began with.
    """

    def __init__(
        self,
        listening: socket.socket,
        settings: Downstream,
        host: Host,
        *,
        connections: int,
        loop: asyncio.AbstractEventLoop,
        tasks: Tasks,
        tls: ServerTls | None,
        plain: Plain,
    ) -> None:
        self.tls = tls
        self._plain = plain
        self._socket = listening
        self._host = host
        self._most = connections
        self._most_per_client = settings.limits.connections_per_client
        self._patience = settings.timeouts.head
        self._trusted = _trust(settings.proxied_by)
        self._loop = loop
        self._tasks = tasks
        self._inside: dict[ClientConnection, Origin] = {}
        self._opening = 0
        self._peers: Counter[str] = Counter()
        self._accepting = False
        self._at_once = 1
        self._again: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE
        self._held = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<Listener connections={self.connections} accepting={self._accepting} held={self._held}>"

    @property
    def connections(self) -> int:
        """Open ones and those that are being opened."""
        return len(self._inside) + self._opening

    @property
    def full(self) -> bool:
        """Whether the limit of connections keeps others out."""
        return self.connections >= self._most

    def start(self) -> None:
        """Accept, unless held."""
        if not (self._accepting or self._held or self._closed or self._again):
            self._accepting = True
            self._loop.add_reader(self._socket, self._accept)

    def hold(self, *, held: bool) -> None:
        """Leave new connections in the kernel's queue while `held`."""
        self._held = held
        if held:
            self._stop()
        else:
            self.start()

    def _stop(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._socket)

    def close(self) -> None:
        """Accept what the kernel has accepted already, then no more."""
        if self._closed:
            return
        self._stop()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if not self._held:
            while self._accept_one():
                pass
        self._closed = True
        self._socket.close()

    def left(self, client: ClientConnection) -> None:
        """`client`'s connection is gone, or never came to be. Any client may be named, once or more."""
        origin = self._inside.pop(client, None)
        if origin is None:
            return
        if self._most_per_client is not None and origin.peer:
            self._peers[origin.peer] -= 1
            if not self._peers[origin.peer]:
                del self._peers[origin.peer]
        self.start()

    def _accept(self) -> None:
        """As many as came last time and as many again: to find the queue empty costs half an accept."""
        for _ in range(self._at_once):
            if not self._accept_one():
                self._at_once = 1
                return
        self._at_once = min(2 * self._at_once, AT_ONCE)

    def _accept_one(self) -> bool:
        if self.full:
            self._stop()  # `left` starts again
            return False
        try:
            connection, address = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            self._back_off(error)
            return False
        self._pause = FIRST_PAUSE
        connection.setblocking(False)
        origin = Origin(_peer(address), self.tls is not None)
        if self._trusted is None and self.tls is None:
            client = self._admitted(origin)
            if client is None:
                connection.close()
            else:
                _Opening(self._opened(client, connection, None)).go_on()
        else:
            self._opening += 1
            self._tasks.spawn(self._open(connection, origin), "client")
        return True

    def _back_off(self, error: OSError) -> None:
        """The connection stays in the kernel's queue; so would a loop that tried again at once."""
        if error.errno not in _SCARCE:
            log("error", "accepting failed", reason=str(error))
        elif self._pause == FIRST_PAUSE:
            log("error", "accepting pauses", reason=str(error), connections=self.connections)
        self._host.event("accept_paused")
        self._stop()
        if not self._closed:
            self._again = self._loop.call_later(self._pause, self._try_again)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _try_again(self) -> None:
        self._again = None
        self.start()

    async def _open(self, connection: socket.socket, origin: Origin) -> None:
        """Hear who it is, and shake hands."""
        tls = self.tls
        client = None
        try:
            known = await self._identified(connection, origin)
            client = None if known is None else self._admitted(known)
        finally:
            self._opening -= 1
            if client is None:
                connection.close()
                self.start()
        if client is not None:
            await self._opened(client, connection, tls)

    async def _identified(self, connection: socket.socket, origin: Origin) -> Origin | None:
        """Who is at the other end; None, counted, when a trusted peer does not say so."""
        if self._trusted is None or not self._trusted(origin.peer):
            return origin
        try:
            return await read_origin(self._loop, connection, origin, self._patience)
        except (ProxyHeaderError, OSError) as error:
            self._host.event("refused_proxy_header")
            log("warning", "connection refused", reason=str(error) or "it sent nothing", peer=origin.peer)
            return None

    def _admitted(self, origin: Origin) -> ClientConnection | None:
        """The protocol of the connection; None, counted, when its address has too many."""
        most = self._most_per_client
        if most is not None and origin.peer:
            if self._peers[origin.peer] >= most:
                self._host.event("refused_per_client")
                return None
            self._peers[origin.peer] += 1
        client = self._host.welcome(origin)
        self._inside[client] = origin
        return client

    async def _opened(
        self, client: ClientConnection, connection: socket.socket, tls: ServerTls | None
    ) -> None:
        opened = False
        protocol = cast("asyncio.Protocol", client)
        try:
            if tls is None:
                await self._plain.accept(protocol, connection)
            else:
                await self._loop.connect_accepted_socket(
                    lambda: protocol,
                    connection,
                    ssl=tls.context,
                    ssl_handshake_timeout=self._patience,
                    ssl_shutdown_timeout=SHUTDOWN,
                )
            opened = True
        except OSError:  # it left, or the handshake failed: strangers do that; timeouts are OSErrors, too
            self._host.event("connection_lost" if tls is None else "tls_failed")
        finally:
            if not opened:
                self.left(client)


class _Opening:
    """Runs `work`, which waits for one thing that comes at once, without the cost of a task."""

    __slots__ = ("_work",)

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work

    def go_on(self, awaited: asyncio.Future[Any] | None = None) -> None:
        """Up to the next thing that it waits for."""
        try:
            waits_for = self._work.send(None)
        except StopIteration:
            return
        waits_for.add_done_callback(self.go_on)


def _peer(address: object) -> str:
    return address[0] if isinstance(address, tuple) else ""


def _trust(peers: tuple[str, ...]) -> Callable[[str], bool] | None:
    """Whether a peer's address is one of `peers`; None when nobody is."""
    if not peers:
        return None
    networks = [ipaddress.ip_network(peer) for peer in peers if peer != LOCAL]
    local = LOCAL in peers

    def trusted(peer: str) -> bool:
        if not peer:
            return local
        address = ipaddress.ip_address(peer)
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in networks)

    return trusted
