"""Reading who may use the admin API: tokens, an OpenID Connect issuer, sessions, TLS of the admin port."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from domain.role import EVERYWHERE, ROLES
from settings import values
from settings.access import ALGORITHMS, AuthSettings, OidcSettings, RoleRule
from settings.endpoints import endpoint_name
from settings.reader import Section

_CLAIM = re.compile(r"[!-~]{1,200}")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,100}")  # RFC 6749 section 3.3
_MOST_RULES = 1000


def auth(root: Section) -> AuthSettings:
    """What stands under `auth` and `admin_tls`."""
    section = root.section("auth")
    defaults = AuthSettings()
    session = section.section("session")
    idle = session.take("idle", values.duration("1m", "7d"), defaults.idle)
    longest = session.take("longest", values.duration("1m", "30d"), defaults.longest)
    if longest < idle:
        session.refuse("longest", session.given("longest"), "a session lasts at least as long as it may idle")
    tls = root.optional("admin_tls")
    certificate = key = None
    if tls is not None:
        certificate = tls.need("certificate", values.text(1024), "the path of a PEM file, chain included")
        key = tls.need("key", values.text(1024), "the path of the certificate's key, PEM, no passphrase")
    url = section.take("url", _origin, None)
    behind_loopback = section.take("behind_loopback", values.boolean, False)
    if behind_loopback and not loopback(urlsplit(url or "").hostname or ""):
        section.refuse(
            "behind_loopback", True, "give auth.url, the http://127.0.0.1 address under which it is reached"
        )
    oidc = _oidc(section)
    if oidc is not None and url is None:
        section.refuse("url", None, "this key is required with oidc: where the issuer sends browsers back to")
    return AuthSettings(
        tokens_file=section.take("tokens_file", values.text(1024), None),
        oidc=oidc,
        url=url,
        open_metrics=section.take("metrics", values.choice("viewer", "open"), "viewer") == "open",
        idle=idle,
        longest=longest,
        certificate=certificate,
        key=key,
        behind_loopback=behind_loopback,
    )


def _oidc(section: Section) -> OidcSettings | None:
    oidc = section.optional("oidc")
    if oidc is None:
        return None
    issuer = oidc.need("issuer", issuer_url, "the issuer's URL, as it stands in its tokens")
    client = oidc.need("client_id", values.text(200), "what the issuer calls this gateway")
    defaults = OidcSettings("", "")
    if not oidc.holds("roles"):
        oidc.refuse("roles", None, "this key is required: which values of the claim give which role")
    rules = tuple(found for one in oidc.sections("roles") if (found := _rule(one)) is not None)
    if len(rules) > _MOST_RULES:
        oidc.refuse("roles", f"{len(rules)} rules", f"give at most {_MOST_RULES}")
    if issuer is None or client is None:
        return None
    scopes = oidc.each("scopes", _matching(_SCOPE, "write a scope, such as openid")) or defaults.scopes
    return OidcSettings(
        issuer=issuer,
        client_id=client,
        client_secret_env=oidc.take("client_secret_env", values.environment_variable, None),
        audience=oidc.take("audience", values.text(200), client),
        algorithms=oidc.each("algorithms", values.choice(*ALGORITHMS)) or defaults.algorithms,
        skew=oidc.take("skew", values.duration("0s", "5m"), defaults.skew),
        name_claim=oidc.take("name_claim", _claim, defaults.name_claim),
        roles_claim=oidc.take("roles_claim", _claim, defaults.roles_claim),
        scopes=scopes if "openid" in scopes else ("openid", *scopes),
        roles=rules,
    )


def _rule(section: Section) -> RoleRule | None:
    value = section.need("value", values.text(200), "what the claim has to hold")
    role = section.need("role", values.choice(*ROLES), "the role that it gives")
    endpoints = section.each("endpoints", endpoint_name)
    if value is None or role is None:
        return None
    return RoleRule(value, ROLES[role], endpoints or (EVERYWHERE,))


def _matching(pattern: re.Pattern[str], allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise ValueError(allowed)

    return read


_claim = _matching(_CLAIM, "write the name of a claim, parts separated by dots, such as realm_access.roles")


def issuer_url(value: object) -> str:
    """An https URL without query, fragment and user; http on loopback only. Raises ValueError."""
    allowed = "write an https:// URL without user, query and fragment; http:// is for loopback only"
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(allowed) from None
    clean = text.isascii() and text.isprintable() and not set(text) & set(" ?#@\\")
    safe = parts.scheme == "https" or (parts.scheme == "http" and loopback(host))
    if not host or not clean or not safe:
        raise ValueError(allowed)
    return text


def _origin(value: object) -> str:
    url = issuer_url(value).rstrip("/").lower()
    parts = urlsplit(url)
    if parts.path:
        raise ValueError("write scheme, host and port only: the console is at the root of its host")
    usual = {"https": ":443", "http": ":80"}[parts.scheme]
    return url.removesuffix(usual)  # browsers leave it out of Origin and Host (RFC 6454 section 6.1)


def loopback(host: str) -> bool:
    """Whether only this machine is reached by `host`: a loopback address, or localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
