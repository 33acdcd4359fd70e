"""Where a client's connection comes from."""

from __future__ import annotations

from typing import NamedTuple


class Origin(NamedTuple):
    """`peer`: the client's address, empty through a unix socket; `secure`: it speaks TLS, to us or to the
    load balancer that says so."""

    peer: str = ""
    secure: bool = False

    def fields(self, via: bytes) -> bytes:
        """The header lines that tell a model server about it, each with its CRLF. `via` is our name."""
        forwarded = b"\r\nx-forwarded-for: %b" % self.peer.encode() if self.peer else b""
        protocol = b"https" if self.secure else b"http"
        return b"%b\r\nx-forwarded-proto: %b\r\nvia: 1.1 %b" % (forwarded, protocol, via)


UNKNOWN = Origin()
