"""A certificate authority of the test's own, servers that it vouches for, and clients."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

NAME = "models.example"


class Authority:
    """Writes PEM files into `folder`."""

    def __init__(self, folder: Path, name: str = "ours") -> None:
        self._folder = folder
        self._name = name
        self.authority = trustme.CA()
        self.ca = str(folder / f"{name}-ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)

    def server(self, *names: str, expired: bool = False, asks_client: bool = False) -> ssl.SSLContext:
        """A server's context with a certificate for `names` (`NAME` when there are none)."""
        past = datetime.now(UTC) - timedelta(days=1)
        issued = self.authority.issue_cert(*(names or (NAME,)), not_after=past if expired else None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        if asks_client:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, name: str = "gateway") -> tuple[str, str]:
        """Paths of a client's certificate and of its key."""
        issued = self.authority.issue_cert(f"{name}.example")
        certificate, key = (self._folder / f"{self._name}-{name}.{kind}" for kind in ("pem", "key"))
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return str(certificate), str(key)
