"""Which addresses nothing is sent to."""

from __future__ import annotations

import pytest

from notify.addresses import Forbidden, judged

PUBLIC = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946")
PRIVATE = (
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "198.18.0.1",
)
NEVER = (
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
    "255.255.255.255",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "fd20:ce::254",
    "64:ff9b:1::a9fe:a9fe",
    "::ffff:0:169.254.169.254",
    "::169.254.169.254",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted(address: str) -> None:
    assert judged([address], allow_private=False) == (address,)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_needs_leave(address: str) -> None:
    with pytest.raises(Forbidden, match="allow_private"):
        judged([address], allow_private=False)
    assert judged([address], allow_private=True) == (address,)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allowed", [False, True])
def test_metadata_services_and_what_is_no_host_are_never_permitted(address: str, allowed: bool) -> None:
    with pytest.raises(Forbidden):
        judged([address], allow_private=allowed)


def test_one_private_address_among_others_forbids_all() -> None:
    with pytest.raises(Forbidden):
        judged([PUBLIC[0], "127.0.0.1"], allow_private=False)


def test_a_name_without_an_address_is_no_leave() -> None:
    with pytest.raises(Forbidden):
        judged([], allow_private=True)
