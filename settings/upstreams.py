"""Reading base URLs of model servers, and the versions they serve."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from urllib.parse import urlsplit

from domain.routing import Balance, Upstream, Version
from settings import units, values
from settings.policy import policy
from settings.reader import Section

URL = "write http://host:port or https://host:port, with a path prefix if the server wants one"

_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/@+-]{0,126}[A-Za-z0-9])?")
_NAMES_A_PORT = re.compile(r":[0-9]*\Z")
_PRINTABLE = re.compile(r"[!-~]{1,2048}")
_PORTS = {"http": 80, "https": 443}
_MOST_URLS = 64


def upstream(value: object) -> Upstream:
    """The base URL of a model server; what HTTP requests to it cannot carry is refused by name.

    >>> upstream("http://models:9001/rain/")
    Upstream(host='models', port=9001, tls=False, prefix='/rain')
    """
    if not isinstance(value, str) or not _PRINTABLE.fullmatch(value):
        raise ValueError(URL)
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValueError(f"{URL}: {error}") from error
    if parts.scheme not in _PORTS:
        raise ValueError(f"{URL}; no other scheme is spoken")
    if "@" in parts.netloc:
        raise ValueError(f"{URL}; user names and passwords do not belong into a URL")
    if "?" in value or "#" in value:
        raise ValueError(f"{URL}; a base URL has no query and no fragment")
    usual = f":{_PORTS[parts.scheme]}"
    authority = parts.netloc if _NAMES_A_PORT.search(parts.netloc) else parts.netloc + usual
    try:
        where = units.address(authority)
        prefix = values.path(parts.path) if parts.path.rstrip("/") else ""
    except ValueError as error:
        raise ValueError(f"{URL}: {error}") from error
    if where.port == 0:
        raise ValueError(f"{URL}; a server's port is 1 to 65535")
    return Upstream(where.host, where.port, tls=parts.scheme == "https", prefix=prefix.rstrip("/"))


def base_url(value: object) -> str:
    """The base URL of any other server, as text without a slash at its end; refused as `upstream` refuses."""
    upstream(value)
    return str(value).rstrip("/")


def version(section: Section) -> Version | None:
    """A deployed version; None, with problems kept, when its name or its URLs are missing."""
    name = section.need("version", version_name, "the name of the model version")
    upstreams = section.each("urls", upstream)
    path = section.take("path", values.path, None)
    if not section.holds("urls") or section.given("urls") == []:
        section.refuse("urls", section.given("urls"), f"give a list of at least one URL; {URL}")
    if len(upstreams) > _MOST_URLS:
        section.refuse("urls", section.given("urls"), f"give at most {_MOST_URLS} URLs")
    for one, count in Counter(upstreams).items():
        if count > 1:
            section.refuse("urls", str(one), "name each URL once")
    balance = Balance(section.take("balance", values.choice(*Balance), Balance.LEAST_IN_FLIGHT.value))
    treated = policy(section)
    if section.holds("tls") and not all(one.tls for one in upstreams):
        plain = next(str(one) for one in upstreams if not one.tls)
        section.refuse("tls", section.given("tls"), f"{plain} is not TLS: write https in every URL")
    if name is None or not upstreams:
        return None
    return Version(name, tuple(replace(one, policy=treated) for one in upstreams), path, balance)


def version_name(value: object) -> str:
    """The name of a version."""
    if isinstance(value, str) and _VERSION.fullmatch(value):
        return value
    hint = "" if isinstance(value, str) else "; put it in quotes if it looks like a number"
    raise ValueError(f"write 1 to 128 letters, digits and . _ : / @ + -, such as rain-2{hint}")
