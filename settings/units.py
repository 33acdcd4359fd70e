"""Quantities with their units: durations, sizes, shares and addresses, from the texts that people write.

Each function takes one value of the document and answers it in the unit the code uses. What it cannot read
raises a ValueError whose text says what is allowed; the caller knows the key and adds it.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from typing import TYPE_CHECKING

from domain.routing import FULL_WEIGHT

if TYPE_CHECKING:
    from settings.schema import Address

DURATION = "write a duration with its unit, such as 250ms, 2s, 10m, 1h or 7d"
SIZE = "write a size with its unit, such as 100B, 64KiB, 8MiB, 1GiB or 1MB"
PERCENTAGE = "write a percentage with its sign, such as 1% or 0.5%"
FRACTION = "write a percentage such as 1% or a fraction of one such as 0.01"
ADDRESS = 'write host:port, such as 127.0.0.1:8080, localhost:8080 or "[::1]:8080" (in quotes)'

_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
# Digits are bounded so that every product stays within the 28 digits in which Decimal is exact.
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([kKMG]?B|[KMG]iB)")
_PERCENTAGE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)%")
_ADDRESS = re.compile(
    r"(?:\[(?P<six>[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})"
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_HOST_LENGTH = 253
_LAST_PORT = 65_535


def duration(value: object) -> float:
    """Seconds.

    >>> duration("250ms"), duration("7d")
    (0.25, 604800.0)
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(DURATION)
    return float(Decimal(match[1]) * _SECONDS[match[2]])


def size(value: object) -> int:
    """Bytes, whole ones.

    >>> size("64KiB"), size("1MB"), size("0.5KiB")
    (65536, 1000000, 512)
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(SIZE)
    count = Decimal(match[1]) * _BYTES[match[2]]
    if count != int(count):
        raise ValueError(f"{SIZE}; this one is not a whole number of bytes")
    return int(count)


def fraction(value: object) -> float:
    """A fraction of one, from a percentage or a plain number; not bounded.

    >>> fraction("0.5%"), fraction(0.005)
    (0.005, 0.005)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(FRACTION)
    if not isinstance(value, str):
        return float(value)
    match = _PERCENTAGE.fullmatch(value)
    if match is None:
        raise ValueError(FRACTION)
    return float(Decimal(match[1]) / 100)


def basis_points(value: object) -> int:
    """A share of the traffic, 0 (0%) to 10000 (100%); only as a percentage, and no finer than 0.01%.

    >>> basis_points("100%"), basis_points("0.25%")
    (10000, 25)
    """
    match = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(PERCENTAGE)
    points = Decimal(match[1]) * 100
    if points != int(points):
        raise ValueError("shares are kept in steps of 0.01%; write one that is no finer")
    if points > FULL_WEIGHT:
        raise ValueError("a share of the traffic is at most 100%")
    return int(points)


def host(text: str) -> str:
    """An IP address in its shortest form, or a host name in lower case; ValueError for anything else.

    A name whose last label is a number is refused: resolvers read `127.1` and `2130706433` as addresses.
    """
    if "%" in text:
        raise ValueError("an IP address has no zone here")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        name = text.lower()
    labels = name.split(".")
    whole = len(name) <= _HOST_LENGTH and all(_LABEL.fullmatch(label) for label in labels)
    if not whole or labels[-1].isdigit():
        raise ValueError("a host is a name or an IP address")
    return name


def port(text: str) -> int:
    """A TCP port, 0 to 65535; ValueError for anything else."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > _LAST_PORT:
        raise ValueError(f"a port is a number up to {_LAST_PORT}")
    return int(text)


def address(value: object) -> Address:
    """An address to listen on.

    >>> address("[::1]:0")
    Address(host='::1', port=0)
    """
    # Here, because the settings themselves are read with what is above.
    from settings.schema import Address

    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(ADDRESS)
    try:
        return Address(host(match["six"] or match["host"]), port(match["port"]))
    except ValueError as error:
        raise ValueError(f"{ADDRESS}: {error}") from error
