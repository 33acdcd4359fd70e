"""From the document to `Settings`: pure, whole, and never with anything but a `ConfigError`.

The document is what a YAML or JSON reader makes of the file. It is validated whole: `problems` lists all that
is wrong with it, `parse` raises the first. The digest is the SHA-256 of the document's canonical JSON (keys
sorted, no blanks, UTF-8), as it was written: defaults are not filled in, so that a new version with a new key
does not change the digest of an old file. Tiers are filled in: what a tier means belongs to the document.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from domain.errors import ConfigError
from settings import units, values
from settings.access import AuthSettings
from settings.audit import audit
from settings.auth import auth, loopback
from settings.document import plain, shown
from settings.downstream import downstream, listening
from settings.endpoints import endpoint, endpoint_name
from settings.flags import FlagSource, flags
from settings.notifications import notifications
from settings.prediction_log import prediction_log
from settings.reader import Ledger, Section
from settings.registries import RegistrySettings
from settings.registry import registry
from settings.schema import DRIVEN_BY_UNLEASH, Address, EndpointSettings, Settings, UnixAddress
from settings.sharing import sharing
from settings.state import DATABASE, database
from settings.tiers import expanded, tiers

_LISTEN: Address | UnixAddress = Address("127.0.0.1", 8080)
_ADMIN = Address("127.0.0.1", 8081)
_DRAIN = 30.0
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


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
        whole = plain(expanded(copy))  # again: what is shared by many endpoints is as long as it reads
        if isinstance(whole, dict):
            return whole
    raise ConfigError("configuration", shown(copy), "write keys and values, 'endpoints' at least")


def _settings(ledger: Ledger, document: dict[str, object]) -> Settings:
    root = ledger.root(document)
    listen = root.take("listen", listening, _LISTEN)
    admin = root.take("admin", units.address, _ADMIN)
    workers = root.take("workers", values.whole(1, 128), 1)
    stands_in = root.take("environment", values.text(64), "production")
    drain = root.take("drain", values.duration("0s", "1h"), _DRAIN)
    clients = downstream(root)
    state = root.section("state")
    durable = state.take("database", database, DATABASE)
    shared = sharing(state)
    signed = audit(root, durable)
    predictions = prediction_log(root, durable)
    flag_section = root.section("flags")
    source = flags(flag_section)
    known = registry(root)
    access = auth(root)
    has_flags = source.path is not None or flag_section.given("source") in ("unleash", "openfeature")
    endpoints = _endpoints(root, known, tiers(root), has_flags=has_flags)
    if predictions.sending.tracing is not None:
        endpoints = tuple(replace(one, log=replace(one.log, traced=True)) for one in endpoints)
    told = notifications(root, root.given("endpoints"))
    _check_drives(ledger, endpoints, source)
    _check_addresses(root, listen, admin)
    _check_admin(root, admin, access)
    return Settings(
        listen=listen,
        admin=admin,
        workers=workers,
        database=durable,
        sharing=shared,
        flags_path=source.path,
        endpoints=endpoints,
        digest=digest(document),
        inert=tuple(ledger.inert),
        document=document,
        drain=drain,
        downstream=clients,
        unleash=source.unleash,
        audit=signed,
        openfeature=source.openfeature,
        environment=source.environment,
        app_name=source.app_name,
        registry=known,
        stands_in=stands_in,
        log=predictions,
        notifications=told,
        auth=access,
    )


def _check_admin(root: Section, admin: Address, access: AuthSettings) -> None:
    """Whoever is reached from elsewhere asks who it is, and is told so where nobody listens in."""
    if loopback(admin.host):
        return
    if not access.configured:
        root.refuse(
            "admin", str(admin),
            "without authentication only loopback may reach the admin API: use 127.0.0.1, [::1] or "
            "localhost, or configure auth.tokens_file or auth.oidc",
        )  # fmt: skip
    elif not access.secure and not access.behind_loopback:
        root.refuse(
            "admin", str(admin),
            "tokens would travel in the clear: serve TLS with admin_tls, or give auth.url, the https:// "
            "address of the proxy that does; only loopback may do without (for a container whose port is "
            "published on loopback: auth.behind_loopback)",
        )  # fmt: skip


def _check_drives(ledger: Ledger, endpoints: tuple[EndpointSettings, ...], source: FlagSource) -> None:
    """A plan can be driven in Unleash where its flag is there, a token may change it, and weights are its."""
    for one in endpoints:
        if one.drive != DRIVEN_BY_UNLEASH:
            continue
        path = f"endpoints.{one.name}.drive"
        if one.flag is None or source.unleash is None:
            ledger.report(path, one.drive, "needs flags.source: unleash, and the endpoint's flag")
        elif source.unleash.admin_token_env is None:
            ledger.report(path, one.drive, "needs flags.unleash.admin_token_env, to write the rollout")
        for index, stage in enumerate(one.plan):
            if stage.weight % 100:
                given = f"{stage.weight / 100:g}%"
                whole = "rollouts of Unleash are whole percentages, and drive is unleash: give a whole one"
                ledger.report(f"endpoints.{one.name}.plan[{index}].weight", given, whole)


def _check_addresses(root: Section, listen: Address | UnixAddress, admin: Address) -> None:
    if isinstance(listen, UnixAddress):
        return
    hosts = {listen.host, admin.host}
    overlap = len(hosts) == 1 or listen.host in _WILDCARDS or "localhost" in hosts
    if overlap and listen.port == admin.port != 0:
        root.refuse("admin", str(admin), f"the data plane listens on {listen}; use another port")


def _endpoints(
    root: Section, known: RegistrySettings, named_tiers: tuple[str, ...], *, has_flags: bool
) -> tuple[EndpointSettings, ...]:
    if not root.holds("endpoints"):
        root.refuse("endpoints", None, "this key is required: the prediction services, by name")
    found: dict[str, EndpointSettings] = {}
    for name, section in root.named("endpoints", endpoint_name):
        settings = endpoint(name, section, known, has_flags=has_flags, tiers=named_tiers)
        if settings is None:
            continue
        if settings.path in found:
            section.refuse("path", settings.path, f"it is the path of endpoint '{found[settings.path].name}'")
        found.setdefault(settings.path, settings)
    if root.given("endpoints") == {}:
        root.refuse("endpoints", {}, "configure at least one endpoint")
    return tuple(found.values())
