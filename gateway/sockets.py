"""Listening sockets: bound by the supervisor, served by the workers, handed on and never closed in between.

A connection that the kernel has accepted and no process has is lost with the socket it waits at. So a
worker's socket outlives its worker, and an upgrade hands the sockets to the next supervisor.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from domain.errors import ConfigError
from settings.schema import Address, UnixAddress

BACKLOG = 4096
"""Connections that wait in the kernel, at most (and at most net.core.somaxconn)."""
UNIX_MODE = 0o660
"""Who may connect to a unix socket: owner and group."""


def bind(address: Address | UnixAddress, count: int) -> list[socket.socket]:
    """`count` listening sockets, one a worker. Raises ConfigError when the address cannot be had.

    TCP sockets share the port (SO_REUSEPORT); of a unix socket there is one, which all workers accept from.
    """
    if isinstance(address, UnixAddress):
        first = _bound_unix(address)
        return [_listening(first), *(first.dup() for _ in range(count - 1))]
    _demand_free(address)
    return more([_listening(_bound(address, socket.SO_REUSEADDR, socket.SO_REUSEPORT))], count)


def more(have: list[socket.socket], count: int) -> list[socket.socket]:
    """`have` and as many further sockets at the same address as make `count`."""
    added = []
    for _ in range(count - len(have)):
        if have[0].family == socket.AF_UNIX:
            added.append(have[0].dup())
        else:
            host, port = have[0].getsockname()[:2]
            shared = _bound(Address(host, port), socket.SO_REUSEADDR, socket.SO_REUSEPORT)
            added.append(_listening(shared))
    return [*have, *added]


def adopt(descriptors: list[int]) -> list[socket.socket]:
    """Sockets that another process image left open."""
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def address_of(listening: socket.socket) -> Address | UnixAddress:
    """Where `listening` listens, the port as the system chose it."""
    if listening.family == socket.AF_UNIX:
        return UnixAddress(listening.getsockname())
    host, port = listening.getsockname()[:2]
    return Address(host, port)


def remove(address: Address | UnixAddress) -> None:
    """Take the name of a unix socket away once nobody listens any more."""
    if isinstance(address, UnixAddress) and not _answers(address):
        with contextlib.suppress(OSError):
            os.unlink(address.path)


def _demand_free(address: Address) -> None:
    """SO_REUSEPORT lets two gateways share a port unnoticed: refuse an address that somebody serves."""
    if address.port:
        _bound(address, socket.SO_REUSEADDR).close()


def _listening(bound: socket.socket) -> socket.socket:
    bound.listen(BACKLOG)
    bound.setblocking(False)
    return bound


def _bound(address: Address, *options: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind((address.host, address.port))
    except OSError as error:
        bound.close()
        raise _refusal(address, error) from error
    return bound


def _bound_unix(address: UnixAddress) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_socket(address.path) and not _answers(address):
            os.unlink(address.path)  # left behind by a process that was killed
        bound.bind(address.path)
        os.chmod(address.path, UNIX_MODE)
    except OSError as error:
        bound.close()
        raise _refusal(address, error) from error
    return bound


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _answers(address: UnixAddress) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # its queue is full, or it is not ours to ask: somebody is there
            return True
        return True


def _refusal(address: Address | UnixAddress, error: OSError) -> ConfigError:
    way_out = f"the address cannot be listened on ({error.strerror}): free it or choose another"
    return ConfigError("listen", str(address), way_out)
