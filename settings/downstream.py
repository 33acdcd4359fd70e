"""Reading how clients reach the data plane: address, TLS, PROXY protocol, patience, bounds, access log."""

from __future__ import annotations

import ipaddress
import re

from settings import units, values
from settings.reader import Section
from settings.schema import (
    AccessLogSettings,
    Address,
    CertificateFiles,
    Downstream,
    Limits,
    Timeouts,
    UnixAddress,
)

UNIX = "unix:"
LOCAL = "unix"
"""Stands among the trusted peers of the PROXY protocol for connections through a unix socket."""

_LONGEST_UNIX_PATH = 107  # sun_path of unix(7), less its final zero
_SERVER_NAME = re.compile(r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9-]{1,63}")
_MOST_CERTIFICATES = 100
_MOST_PEERS = 1000


def listening(value: object) -> Address | UnixAddress:
    """`host:port` or `unix:/path`.

    >>> listening("unix:/run/pointsman.sock")
    UnixAddress(path='/run/pointsman.sock')
    """
    if not isinstance(value, str) or not value.startswith(UNIX):
        try:
            return units.address(value)
        except ValueError as error:
            raise ValueError(f"{error}; or unix:/path of a socket") from error
    path = value.removeprefix(UNIX)
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ValueError("write unix: and the absolute path of a socket, such as unix:/run/pointsman.sock")
    if len(path.encode()) > _LONGEST_UNIX_PATH:
        raise ValueError(f"the path of a unix socket has at most {_LONGEST_UNIX_PATH} bytes")
    return UnixAddress(path)


def downstream(root: Section) -> Downstream:
    """All of it but the address."""
    return Downstream(
        tls=_certificates(root),
        proxied_by=_proxied_by(root),
        timeouts=_timeouts(root.section("timeouts")),
        limits=_limits(root.section("limits")),
        access_log=_access_log(root.optional("access_log")),
    )


def _certificates(root: Section) -> tuple[CertificateFiles, ...]:
    found = []
    for section in root.sections("tls"):
        certificate = section.need("certificate", values.text(1024), "the path of a PEM file, chain included")
        key = section.need("key", values.text(1024), "the path of the certificate's key, PEM, no passphrase")
        names = section.each("names", _server_name)
        if certificate is not None and key is not None:
            found.append(CertificateFiles(certificate, key, names))
    if len(found) > _MOST_CERTIFICATES:
        root.refuse("tls", f"{len(found)} certificates", f"give at most {_MOST_CERTIFICATES}")
    names_of = [name for certificate in found for name in certificate.names]
    for name in sorted({name for name in names_of if names_of.count(name) > 1}):
        root.refuse("tls", name, "a server name belongs to one certificate only")
    if root.given("tls") == []:
        root.refuse("tls", [], "give at least one certificate, or leave it out to serve without TLS")
    return tuple(found)


def _server_name(value: object) -> str:
    name = value.lower() if isinstance(value, str) else ""
    if _SERVER_NAME.fullmatch(name) and len(name) <= 253:  # RFC 1035 section 2.3.4
        return name
    raise ValueError("write the DNS name that clients ask for, such as models.example or *.models.example")


def _proxied_by(root: Section) -> tuple[str, ...]:
    section = root.optional("proxy_protocol")
    if section is None:
        return ()
    peers = section.each("from", _peer)
    if not peers and not section.given("from"):
        section.refuse("from", section.given("from"), "name the load balancers: addresses, networks or unix")
    if len(peers) > _MOST_PEERS:
        section.refuse("from", f"{len(peers)} peers", f"give at most {_MOST_PEERS}")
    return peers


def _peer(value: object) -> str:
    if value == LOCAL:
        return LOCAL
    try:
        return str(ipaddress.ip_network(value if isinstance(value, str) else ""))
    except ValueError as error:
        raise ValueError("write an address, a network such as 10.0.0.0/8, or unix") from error


def _timeouts(section: Section) -> Timeouts:
    defaults = Timeouts()
    return Timeouts(
        head=section.take("head", values.duration("100ms", "5m"), defaults.head),
        body=section.take("body", values.duration("100ms", "10m"), defaults.body),
        idle=section.take("idle", values.duration("100ms", "1h"), defaults.idle),
    )


def _limits(section: Section) -> Limits:
    return Limits(
        connections=section.take("connections", values.whole(1, 1_000_000), None),
        connections_per_client=section.take("connections_per_client", values.whole(1, 1_000_000), None),
        max_in_flight=section.take("max_in_flight", values.whole(1, 1_000_000), None),
        memory=section.take("memory", values.size("64MiB", "1024GiB"), None),
    )


def _access_log(section: Section | None) -> AccessLogSettings | None:
    if section is None:
        return None
    defaults = AccessLogSettings()
    return AccessLogSettings(
        path=section.take("path", values.text(1024), defaults.path),
        sample=section.take("sample", units.basis_points, defaults.sample),
    )
