"""From the document to `Settings`: pure, whole, and never with anything but a `ConfigError`.

The document is what a YAML or JSON reader makes of the file. It is validated whole: `problems` lists all that
is wrong with it, `parse` raises the first. The digest is the SHA-256 of the document's canonical JSON (keys
sorted, no blanks, UTF-8), as it was written: defaults are not filled in, so that a new version with a new key
does not change the digest of an old file.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re

from domain.errors import ConfigError
from settings import units, values
from settings.document import plain, shown
from settings.downstream import downstream, listening
from settings.endpoints import endpoint, endpoint_name
from settings.flags import flags
from settings.reader import Ledger, Section
from settings.schema import Address, EndpointSettings, Settings, UnixAddress

DATABASE = "var/pointsman.db"

_LISTEN: Address | UnixAddress = Address("127.0.0.1", 8080)
_ADMIN = Address("127.0.0.1", 8081)
_DRAIN = 30.0
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_SQLITE = "sqlite:///"
_DATABASE = re.compile(r"sqlite:///([^?#:]*[^?#:/\s])")
_MLFLOW = "this version does not speak to MLflow yet"


def parse(document: object) -> Settings:
    """The settings that `document` describes. Raises ConfigError for the first problem."""
    settings, found = _read(document)
    if settings is None:
        raise found[0]
    return settings


def problems(document: object) -> tuple[ConfigError, ...]:
    """All that is wrong with `document` (the first hundred problems); empty when `parse` would accept it."""
    return _read(document)[1]


def known_keys(document: object) -> frozenset[str]:
    """Patterns (`endpoints.NAME.plan[].weight`) of the keys asked for while reading `document`.

    Sections that may be given several times or not at all are asked only where they stand, so give a document
    that has every section. Raises ConfigError when it is no document at all.
    """
    ledger = Ledger()
    _settings(ledger, _mapping(document))
    return frozenset(ledger.known)


def digest(document: object) -> str:
    """SHA-256 (hex) of the canonical JSON of `document`."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(document: object) -> tuple[Settings | None, tuple[ConfigError, ...]]:
    try:
        mapping = _mapping(document)
    except ConfigError as error:
        return None, (error,)
    ledger = Ledger()
    settings = _settings(ledger, mapping)
    found = ledger.finish()
    return (None if found else settings), found


def _mapping(document: object) -> dict[str, object]:
    copy = plain(document)
    if isinstance(copy, dict):
        return copy
    raise ConfigError("configuration", shown(copy), "write keys and values, 'endpoints' at least")


def _settings(ledger: Ledger, document: dict[str, object]) -> Settings:
    root = ledger.root(document)
    listen = root.take("listen", listening, _LISTEN)
    admin = root.take("admin", _admin, _ADMIN)
    workers = root.take("workers", values.whole(1, 128), 1)
    drain = root.take("drain", values.duration("0s", "1h"), _DRAIN)
    clients = downstream(root)
    state = root.section("state")
    database = state.take("database", _database, DATABASE)
    state.take("redis", values.never("this version shares no state between machines"), None)
    flag_section = root.section("flags")
    flags_path, unleash = flags(flag_section)
    _registry(root)
    tokens = values.never("this version has no authentication and serves its admin API to loopback only")
    root.section("auth").take("tokens_file", tokens, None)
    endpoints = _endpoints(
        root, has_flags=flag_section.holds("path") or flag_section.given("source") == "unleash"
    )
    _check_addresses(root, listen, admin)
    return Settings(
        listen=listen,
        admin=admin,
        workers=workers,
        database=database,
        flags_path=flags_path,
        endpoints=endpoints,
        digest=digest(document),
        inert=tuple(ledger.inert),
        document=document,
        drain=drain,
        downstream=clients,
        unleash=unleash,
    )


def _admin(value: object) -> Address:
    address = units.address(value)
    if address.host == "localhost" or address.host == "::1" or _in_loopback_network(address.host):
        return address
    raise ValueError(
        "there is no authentication yet, so that only loopback may reach the admin API: "
        "use 127.0.0.1, [::1] or localhost"
    )


def _in_loopback_network(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _check_addresses(root: Section, listen: Address | UnixAddress, admin: Address) -> None:
    if isinstance(listen, UnixAddress):
        return
    hosts = {listen.host, admin.host}
    overlap = len(hosts) == 1 or listen.host in _WILDCARDS or "localhost" in hosts
    if overlap and listen.port == admin.port != 0:
        root.refuse("admin", str(admin), f"the data plane listens on {listen}; use another port")


def _database(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("sqlite:"):
        raise ValueError(f"this version keeps its state in SQLite only: use {_SQLITE}{DATABASE}")
    path = _DATABASE.fullmatch(value)
    if path is None or not value.isprintable():
        raise ValueError(
            f"write {_SQLITE}relative/path.db or {_SQLITE}/absolute/path.db, without ':', '?' and '#': "
            "kills are kept there, so that it has to be a file"
        )
    return path[1]


def _registry(root: Section) -> None:
    registry = root.section("registry")
    registry.take("source", values.only(("file",), ("mlflow",), _MLFLOW), "file")
    registry.take("path", values.text(1024), None)
    root.inert("registry")


def _endpoints(root: Section, *, has_flags: bool) -> tuple[EndpointSettings, ...]:
    if not root.holds("endpoints"):
        root.refuse("endpoints", None, "this key is required: the prediction services, by name")
    found: dict[str, EndpointSettings] = {}
    for name, section in root.named("endpoints", endpoint_name):
        settings = endpoint(name, section, has_flags=has_flags)
        if settings is None:
            continue
        if settings.path in found:
            section.refuse("path", settings.path, f"it is the path of endpoint '{found[settings.path].name}'")
        found.setdefault(settings.path, settings)
    if root.given("endpoints") == {}:
        root.refuse("endpoints", {}, "configure at least one endpoint")
    return tuple(found.values())
