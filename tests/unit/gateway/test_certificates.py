"""TLS towards clients: certificates by name, exchanged while connections go on, refused when they are bad."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from domain.errors import ConfigError
from gateway import certificates
from gateway.boot import NewCertificates, decode_order, order_frame
from gateway.certificates import Certificate
from settings.schema import CertificateFiles
from tests.support.gateway import Running, endpoint, eventually, gateway, post
from tests.support.upstream import ScriptedUpstream, response, saying


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 50)

    asyncio.run(bounded())


class Pki:
    """An authority, and PEM files of certificates that it issues."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()

    def files(self, label: str, *names: str, given: tuple[str, ...] = ()) -> CertificateFiles:
        issued = self._authority.issue_cert(*names)
        chain, key = (self._folder / f"{label}.{kind}" for kind in ("pem", "key"))
        chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return CertificateFiles(str(chain), str(key), given)

    def read(self, *files: CertificateFiles) -> tuple[Certificate, ...]:
        return certificates.read(files)

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context


async def _shown(port: int, context: ssl.SSLContext, name: str) -> tuple[str, asyncio.StreamWriter]:
    """The first name of the certificate that a client sees who asks for `name`."""
    context.check_hostname = False
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    shown = writer.get_extra_info("peercert")["subjectAltName"][0][1]
    return str(shown), writer


def test_each_name_gets_its_certificate_and_an_unknown_one_the_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        pki = Pki(tmp_path)
        pairs = pki.read(
            pki.files("one", "one.example"), pki.files("two", "two.example", "*.wild.example"),
            pki.files("three", "three.example", given=("alias.example",)),
        )  # fmt: skip
        async with gateway(tmp_path, endpoint(1), certificates=pairs) as running:
            for asked, expected in (
                ("one.example", "one.example"), ("two.example", "two.example"),
                ("TWO.example", "two.example"), ("a.wild.example", "two.example"),
                ("a.b.wild.example", "one.example"),
                ("alias.example", "three.example"), ("other.example", "one.example"),
            ):  # fmt: skip
                shown, writer = await _shown(running.port, pki.client(), asked)
                assert shown == expected, asked
                writer.close()

    _run(scenario)


def test_through_tls_the_request_is_answered_and_the_model_server_hears_https(tmp_path: Path) -> None:
    async def scenario() -> None:
        pki = Pki(tmp_path)
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            pairs = pki.read(pki.files("one", "one.example"))
            async with gateway(tmp_path, endpoint(one.port), certificates=pairs) as running:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", running.port, ssl=pki.client(), server_hostname="one.example"
                )
                for _ in range(2):
                    writer.write(post())
                    assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
                    assert await reader.readexactly(2) == b"ok"
                assert one.heard[0].fields["x-forwarded-proto"] == "https"
                assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
                writer.close()
                await eventually(lambda: not running.worker.clients, "the connection is gone")

    _run(scenario)


def test_new_certificates_are_for_new_connections_and_old_ones_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        pki = Pki(tmp_path)
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            first = pki.read(pki.files("one", "old.example"))
            async with gateway(tmp_path, endpoint(one.port), certificates=first) as running:
                shown, writer = await _shown(running.port, pki.client(), "old.example")
                assert shown == "old.example"
                order = NewCertificates(pki.read(pki.files("two", "new.example")))
                running.worker.obey(decode_order(order_frame(order)[4:]))
                shown, other = await _shown(running.port, pki.client(), "new.example")
                assert shown == "new.example"
                other.close()
                writer.write(post())
                await eventually(lambda: one.heard, "the old connection is served")
                writer.close()

    _run(scenario)


def test_who_speaks_no_tls_or_an_old_one_is_let_go_and_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        pki = Pki(tmp_path)
        pairs = pki.read(pki.files("one", "one.example"))
        async with gateway(tmp_path, endpoint(1), certificates=pairs) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(post())
            assert b"HTTP" not in await reader.read()
            writer.close()
            old = pki.client()
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection(
                    "127.0.0.1", running.port, ssl=old, server_hostname="one.example"
                )
            await _event(running, "tls_failed", 2)
            assert not running.worker.clients

    _run(scenario)


async def _event(running: Running, name: str, count: int) -> None:
    def heard() -> int:
        return sum(batch.events.get(name, 0) for batch in running.control.batches)

    await eventually(lambda: heard() >= count, f"{name} is counted")
    assert heard() == count


@pytest.mark.parametrize("fault", ["missing", "empty", "mismatch", "no key", "expired"])
def test_a_certificate_that_clients_would_refuse_is_refused_by_name(fault: str, tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    files = pki.files("one", "one.example")
    if fault == "missing":
        files = replace(files, certificate=str(tmp_path / "none.pem"))
    elif fault == "empty":
        Path(files.certificate).write_text("")
    elif fault == "mismatch":
        files = replace(files, key=pki.files("two", "two.example").key)
    elif fault == "no key":
        files = replace(files, key=files.certificate)
    else:
        old = trustme.CA().issue_cert("one.example", not_after=datetime(2020, 1, 2, tzinfo=UTC))
        old.cert_chain_pems[0].write_to_path(files.certificate)
        old.private_key_pem.write_to_path(files.key)
    with pytest.raises(ConfigError, match=r"tls\[0\]"):
        certificates.read([files])
