"""PROXY protocol, version 2: what a header says, and what is refused (proxy-protocol.txt, section 2.2)."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.origin import Origin
from gateway.proxy_protocol import LONGEST, PREFIX, SIGNATURE, ProxyHeaderError, origin_of, rest_of

DIRECT = Origin("10.0.0.1", False)
IPV4 = socket.inet_aton("203.0.113.7") + socket.inet_aton("10.0.0.9") + struct.pack(">HH", 40000, 443)
IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + struct.pack(">HH", 40000, 443)


def prefix(length: int, *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", length)


def extension(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def read(body: bytes, *, command: int = 0x21, family: int = 0x11, direct: Origin = DIRECT) -> Origin:
    start = prefix(len(body), command=command, family=family)
    assert rest_of(start) == len(body)
    return origin_of(start, body, direct)


@pytest.mark.parametrize(
    ("family", "body", "peer"), [(0x11, IPV4, "203.0.113.7"), (0x21, IPV6, "2001:db8::7")]
)
def test_the_source_address_is_the_client(family: int, body: bytes, peer: str) -> None:
    assert read(body, family=family) == Origin(peer, False)


@pytest.mark.parametrize(
    ("command", "family"), [(0x20, 0x11), (0x20, 0x00), (0x21, 0x00), (0x21, 0x31), (0x21, 0x12)]
)
def test_a_local_command_and_an_unknown_family_leave_the_peer_as_it_is(command: int, family: int) -> None:
    assert read(IPV4, command=command, family=family) == DIRECT


def test_extensions_are_passed_over_and_tls_to_the_load_balancer_is_believed() -> None:
    assert not read(IPV4 + extension(0x04, b"xyz")).secure
    assert not read(IPV4 + extension(0x20, b"\x00\x00\x00\x00\x00")).secure
    assert read(IPV4 + extension(0x05, b"id") + extension(0x20, b"\x01\x00\x00\x00\x00")).secure


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"PROXY TCP4 1.2.3", "version 1"),
        (b"GET / HTTP/1.1\r\n", "signature"),
        (SIGNATURE + b"\x11\x11\x00\x0c", "version 1; version 2"),
        (SIGNATURE + b"\x2f\x11\x00\x0c", "command 15"),
        (prefix(LONGEST + 1), f"at most {LONGEST}"),
    ],
)
def test_what_is_no_header_of_version_2_is_refused_by_reason(start: bytes, reason: str) -> None:
    with pytest.raises(ProxyHeaderError, match=reason):
        rest_of(start)


@pytest.mark.parametrize("body", [IPV4[:-1], IPV4 + b"\x04", IPV4 + extension(0x04, b"xyz")[:-1]])
def test_a_header_that_is_cut_off_is_refused(body: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        read(body)


@settings(deadline=None)
@given(st.binary(min_size=PREFIX, max_size=PREFIX), st.binary(max_size=100), st.booleans())
def test_any_bytes_are_an_origin_or_refused(start: bytes, body: bytes, signed: bool) -> None:
    start = SIGNATURE + start[12:] if signed else start
    with contextlib.suppress(ProxyHeaderError):
        rest_of(start)
        origin = origin_of(start, body, DIRECT)
        assert origin == DIRECT or ipaddress.ip_address(origin.peer)
