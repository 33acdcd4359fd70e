"""TLS towards clients: certificates by server name, replaced without closing a connection.

The supervisor reads the files and proves every certificate by a handshake with itself, in memory, before any
worker gets to see it; the workers are given the bytes. So a file that is half written, a key that belongs to
another certificate or one that has expired is refused while the last good one is served on, even by a worker
that starts meanwhile.
"""

from __future__ import annotations

import re
import ssl
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from domain.errors import ConfigError
from gateway.log import log
from settings.schema import CertificateFiles

LARGEST = 1024 * 1024
"""Bytes of a certificate's or a key's file."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Certificate(msgspec.Struct, frozen=True):
    """A certificate that works: PEM bytes, and the names it serves, in lower case."""

    chain: bytes
    key: bytes
    names: tuple[str, ...]


class ServerTls:
    """`context` is for new connections; it hands each to the certificate of the name it asks for (RFC 6066).

    An exact name goes before a wildcard, and who asks for none or for an unknown one gets the first.
    """

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        self._by_name: dict[str, ssl.SSLContext] = {}
        contexts = []
        for certificate in certificates:
            context = _context(certificate.chain, certificate.key)
            contexts.append(context)
            for name in certificate.names:
                self._by_name.setdefault(name, context)
        self.context = contexts[0]
        self.context.sni_callback = self._choose

    def _choose(self, handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if name is not None:
            lower = name.lower()
            wildcard = "*." + lower.partition(".")[2]
            chosen = self._by_name.get(lower) or self._by_name.get(wildcard)
            if chosen is not None:
                handshake.context = chosen


def read(files: Iterable[CertificateFiles]) -> tuple[Certificate, ...]:
    """The certificates in these files, each proved. Raises ConfigError that says what is wrong."""
    return tuple(_read(f"tls[{index}]", one) for index, one in enumerate(files))


def _read(where: str, files: CertificateFiles) -> Certificate:
    chain = _bytes(f"{where}.certificate", files.certificate)
    key = _bytes(f"{where}.key", files.key)
    leaf = _CERTIFICATE.search(chain.decode("ascii", "replace"))
    if leaf is None:
        raise ConfigError(f"{where}.certificate", files.certificate, "there is no certificate in it; use PEM")
    try:
        context = _context(chain, key)
    except (ssl.SSLError, ValueError) as error:
        reason = f"certificate and key cannot be used together ({error}): give a PEM pair without passphrase"
        raise ConfigError(f"{where}.key", files.key, reason) from error
    try:
        shown = _proved(context, leaf[0])
    except ssl.SSLError as error:
        reason = f"clients would refuse it ({getattr(error, 'verify_message', '') or error}): renew it"
        raise ConfigError(f"{where}.certificate", files.certificate, reason) from error
    alternatives = shown.get("subjectAltName")
    pairs = alternatives if isinstance(alternatives, tuple) else ()
    named = tuple(str(value).lower() for kind, value in pairs if kind == "DNS")
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
    names = files.names or named
    log("info", "certificate read", path=files.certificate, names=names, expires=ends.isoformat())
    return Certificate(chain, key, names)


def _bytes(where: str, path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(where, path, f"it cannot be read ({error.strerror})") from error
    if len(data) > LARGEST:
        raise ConfigError(where, path, f"a file of more than {LARGEST} bytes is no certificate and no key")
    return data


def _context(chain: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    with tempfile.NamedTemporaryFile() as one, tempfile.NamedTemporaryFile() as other:  # mode 0600
        for file, data in ((one, chain), (other, key)):
            file.write(data)
            file.flush()
        context.load_cert_chain(one.name, other.name, password=lambda: "")
    return context


def _proved(server: ssl.SSLContext, leaf: str) -> dict[str, object]:
    """What a client that trusts this very certificate learns in a handshake. Raises ssl.SSLError."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=leaf)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(down, up)
    far = server.wrap_bio(up, down, server_side=True)
    waiting = [near, far]
    while waiting:
        before = (up.pending, down.pending)
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
        if waiting and (up.pending, down.pending) == before == (0, 0):
            raise ssl.SSLError("the handshake does not come to an end")
    return dict(near.getpeercert() or {})
