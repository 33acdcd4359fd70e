"""The PROXY protocol, version 2: a load balancer says for whom it connects.

Source: haproxy.org/download/3.0/doc/proxy-protocol.txt. A header is 16 bytes and as many as these announce,
so it is read to the byte, before TLS. It is demanded of the peers that are configured and of nobody else:
"the receiver MUST be configured to only receive this protocol and MUST NOT try to guess" (section 2).
Version 1, which is text of unknown length, is refused.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct

from gateway.origin import Origin

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
PREFIX = 16
"""Bytes of the part of known length."""
LONGEST = 4096
"""Bytes of addresses and extensions; the largest that load balancers send are a few hundred."""

_VERSION_2 = 0x20
_LOCAL, _PROXY = 0, 1
_STREAM_4, _STREAM_6 = 0x11, 0x21
_LENGTHS = {_STREAM_4: 4, _STREAM_6: 16}
_TLS_EXTENSION = 0x20
_CLIENT_SPOKE_TLS = 0x01


class ProxyHeaderError(Exception):
    """What should be a PROXY header is none that we speak."""


def rest_of(prefix: bytes) -> int:
    """How many bytes follow the first `PREFIX` ones. Raises ProxyHeaderError."""
    if prefix[:12] != SIGNATURE:
        if prefix.startswith(b"PROXY "):
            raise ProxyHeaderError("a PROXY header of version 1: let the load balancer send version 2")
        raise ProxyHeaderError("no PROXY header of version 2 (its signature is missing)")
    if prefix[12] & 0xF0 != _VERSION_2:
        raise ProxyHeaderError(f"a PROXY header of version {prefix[12] >> 4}; version 2 is spoken here")
    if prefix[12] & 0x0F not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"a PROXY header with the unknown command {prefix[12] & 0x0F}")
    (length,) = struct.unpack_from(">H", prefix, 14)
    if length > LONGEST:
        raise ProxyHeaderError(f"a PROXY header of {length} bytes; at most {LONGEST} are read")
    return int(length)


def origin_of(prefix: bytes, rest: bytes, direct: Origin) -> Origin:
    """Who is behind the connection whose peer is `direct`. Raises ProxyHeaderError.

    The peer itself for the LOCAL command (a health check of the load balancer's own) and for families without
    an IP address.
    """
    if prefix[12] & 0x0F == _LOCAL:
        return direct
    size = _LENGTHS.get(prefix[13])
    if size is None:
        return direct
    if len(rest) < 2 * size + 4:
        raise ProxyHeaderError("a PROXY header that is too short for its addresses")
    peer = str(ipaddress.ip_address(rest[:size]))
    return Origin(peer, direct.secure or _tls(rest[2 * size + 4 :]))


def _tls(extensions: bytes) -> bool:
    """Whether the client spoke TLS to the load balancer (section 2.2.6)."""
    while extensions:
        if len(extensions) < 3:
            raise ProxyHeaderError("a PROXY header with an extension that is cut off")
        kind, length = struct.unpack_from(">BH", extensions)
        value = extensions[3 : 3 + length]
        if len(value) < length:
            raise ProxyHeaderError("a PROXY header with an extension that is cut off")
        if kind == _TLS_EXTENSION and value and value[0] & _CLIENT_SPOKE_TLS:
            return True
        extensions = extensions[3 + length :]
    return False


async def read_origin(
    loop: asyncio.AbstractEventLoop, connection: socket.socket, direct: Origin, within: float
) -> Origin:
    """Read the header off `connection`. Raises ProxyHeaderError, OSError, TimeoutError after `within` s."""
    async with asyncio.timeout(within):
        prefix = await _exactly(loop, connection, PREFIX)
        return origin_of(prefix, await _exactly(loop, connection, rest_of(prefix)), direct)


async def _exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await loop.sock_recv(connection, count - len(data))
        if not more:
            raise ProxyHeaderError("a PROXY header that is cut off")
        data += more
    return data
