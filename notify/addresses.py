"""Which addresses a message may be sent to: pure.

Whoever can write a URL into a configuration or a variable must not thereby reach what only this machine can
reach: services on loopback, on the private network, and above all the metadata service of a cloud, which
hands out credentials (OWASP, Server-Side Request Forgery). Names are resolved once, every address that a name
has is judged, and the connection goes to an address that was judged (`notify.delivery`).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_TRANSLATED = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")))
"""RFC 6052, RFC 8215, RFC 2765 and RFC 4291 section 2.5.5.1: the last 32 bits are an IPv4 address."""

_METADATA = tuple(map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16")))
"""Metadata services that are not link-local: AWS, Google, Alibaba; Azure, whose address is public."""


class Forbidden(ValueError):  # noqa: N818 - named after what the address is
    """Nothing is sent to this address."""


def judged(addresses: Sequence[str], *, allow_private: bool) -> tuple[str, ...]:
    """`addresses` when all of them may be connected to.

    Raises Forbidden for the first one that may not: a name with one harmless and one private address is the
    way past a check. An IPv6 address that carries an IPv4 address is judged by that one, too.
    """
    for text in addresses:
        found = ip_address(text.partition("%")[0])
        for one in (found, *_carried(found)):
            _demand(one, allow_private=allow_private)
    if not addresses:
        raise Forbidden("it has no address")
    return tuple(addresses)


def _demand(address: IPv4Address | IPv6Address, *, allow_private: bool) -> None:
    never = address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA
    if never or address == IPv4Address("255.255.255.255"):
        raise Forbidden(f"{address} is an address that nothing is ever sent to")
    if not address.is_global and not allow_private:
        raise Forbidden(f"{address} is private; allow_private: true permits it")


def _carried(address: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    if isinstance(address, IPv4Address):
        return ()
    found = [address.ipv4_mapped, address.sixtofour]
    if address.teredo is not None:
        found += address.teredo
    if any(address in network for network in _TRANSLATED):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(one for one in found if one is not None)
