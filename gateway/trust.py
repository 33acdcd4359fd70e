"""TLS to model servers: which authorities are trusted, who we are, and which name must be proven.

Certificates are rotated by replacing their files: a context is made again when a file changed. A file that
cannot be read fails the connect, and the next one tries again: neither is TLS ever left out, nor does a
mistake in one version's files stop a worker that serves others.
"""

from __future__ import annotations

import asyncio
import os
import ssl

from domain.routing import Trust


class TrustError(ssl.SSLError):
    """A PEM file cannot be used."""


class Contexts:
    """The TLS context of one server, made in a thread: reading the authorities takes tens of milliseconds."""

    def __init__(self, trust: Trust, loop: asyncio.AbstractEventLoop) -> None:
        self._trust = trust
        self._loop = loop
        self._made: ssl.SSLContext | None = None
        self._stamp: tuple[tuple[int, int, int], ...] = ()

    async def current(self) -> ssl.SSLContext:
        """The context for one connect. Raises TrustError, which names the file."""
        stamp = self._stamps()
        if self._made is None or stamp != self._stamp:
            self._made = await self._loop.run_in_executor(None, context, self._trust)
            self._stamp = stamp
        return self._made

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for path in (self._trust.ca, self._trust.certificate, self._trust.key):
            if path is not None:
                try:
                    found = os.stat(path)
                except OSError as error:
                    raise TrustError(f"{path} cannot be read: {error.strerror}") from error
                stamps.append((found.st_ino, found.st_mtime_ns, found.st_size))
        return tuple(stamps)


def context(trust: Trust) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and name checked. Raises TrustError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    if trust.ca is None:
        made.load_default_certs()
    else:
        try:
            made.load_verify_locations(cafile=trust.ca)
        except OSError as error:
            raise TrustError(f"{trust.ca} holds no certificate authority: {error}") from error
    if trust.certificate is not None:
        try:
            made.load_cert_chain(trust.certificate, trust.key, password=_no_password)
        except OSError as error:
            files = trust.certificate if trust.key is None else f"{trust.certificate} with {trust.key}"
            raise TrustError(f"{files} is no certificate with its key: {error}") from error
    return made


def _no_password() -> str:
    """Without it OpenSSL would ask the terminal."""
    return ""
