"""Which versions of a registered model an endpoint follows, and what they are called and where they are.

A registry knows versions by number and names them by aliases that move. It does not know where a version is
served, so that this is derived from the number by templates; a template that leads every number to the same
place is refused. A version that is followed is treated as the configured incumbent is (connections, health
checks, TLS): its servers are of the same kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import quote

from domain.reference import Reference, Registry
from domain.routing import Version
from settings import values
from settings.promotion import FollowSettings
from settings.reader import Section
from settings.registries import RegistrySettings
from settings.schema import EndpointSettings, Settings
from settings.upstreams import upstream, version_name

NUMBER = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z._-]{0,62}[0-9A-Za-z])?")
"""What a registry may call a version, so that it can stand in a URL and in a name."""

_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,255}")
_MODEL = re.compile(r"[^\s/:@?#{}](?:[^/:@?#{}]{0,254}[^\s/:@?#{}])?")
_MOST_URLS = 64
_EXAMPLE = "1"


class Standing(NamedTuple):
    """What was followed last: the registry's numbers. "" is nothing: no candidate, the configured incumbent.

    `model` and `base` (the configured incumbent, by its digest) say what the numbers are good for.
    """

    model: str
    base: str
    incumbent: str = ""
    candidate: str = ""


def follow(section: Section, registries: RegistrySettings) -> FollowSettings | None:
    """The section `follow` of an endpoint."""
    part = section.optional("follow")
    if part is None:
        return None
    model = part.need("model", _model, "the registered model")
    candidate = part.need("candidate", _alias, "the alias that names the candidate, such as challenger")
    incumbent = part.take("incumbent", _alias, None)
    name = model or "model"
    version = part.take("version", _template(name, version_name), "{name}-{version}")
    urls = part.each("urls", _template(name, upstream))
    path = part.take("path", _template(name, values.path), None)
    health = part.take("health", _template(name, values.path), None)
    settle = part.take("settle", values.duration("0s", "1h"), 10.0)
    promote = part.take("promote", values.boolean, False)
    _check(part, urls, path, version)
    if registries.mlflow is None:
        part.refuse("model", model, "aliases are followed in MLflow: give registry.mlflow.url")
    if section.holds("candidate"):
        section.refuse(
            "candidate", section.given("candidate"), "the candidate is followed: leave one of the two out"
        )
    if incumbent is not None and incumbent == candidate:
        part.refuse("incumbent", incumbent, "name another alias than the candidate's")
    if promote and incumbent is None:
        part.refuse("promote", promote, "give follow.incumbent: the alias to move")
    if model is None or candidate is None or not urls:
        return None
    return FollowSettings(model, candidate, incumbent, version, urls, path, health, settle, promote)


def version_of(endpoint: EndpointSettings, number: str) -> Version:
    """The registry's version `number` of the model that `endpoint` follows. Raises ValueError when it cannot
    be: a number that no URL can carry, an endpoint that follows nothing."""
    followed = endpoint.follow
    if followed is None or not NUMBER.fullmatch(number):
        raise ValueError(f"{number[:80]!r} is no version that can be followed")
    if "." in number and any("{version}" in _host(one) for one in followed.urls):
        raise ValueError(f"{number!r} would name a host of another domain, for {{version}} stands in a host")
    incumbent = endpoint.incumbent
    treated = incumbent.upstreams[0].policy
    found = [upstream(filled(one, followed.model, number)) for one in followed.urls]
    path = None if followed.path is None else filled(followed.path, followed.model, number)
    name = version_name(filled(followed.version, followed.model, number))
    return Version(name, tuple(replace(one, policy=treated) for one in found), path, incumbent.balance)


def is_incumbent(endpoint: EndpointSettings, number: str) -> bool:
    """Whether the registry's version `number` is what `endpoint` has as its incumbent."""
    found, incumbent = version_of(endpoint, number), endpoint.incumbent
    return found.name == incumbent.name or _reached(found) == _reached(incumbent)


def effective(settings: Settings, standings: Mapping[str, Standing], base: Mapping[str, str]) -> Settings:
    """`settings` with the versions that are followed, by endpoint, in their places.

    `base` is the digest of each endpoint's configured incumbent: what was followed beside another one, or of
    another model, is not good for it. What cannot be placed (a template that was changed) is left out.
    """
    endpoints = tuple(_placed(one, standings.get(one.name), base) for one in settings.endpoints)
    return settings if endpoints == settings.endpoints else replace(settings, endpoints=endpoints)


def filled(template: str, model: str, number: str) -> str:
    """`template` for the version `number` of `model`."""
    return template.replace("{name}", quote(model, safe="")).replace("{version}", number)


def _placed(
    endpoint: EndpointSettings, standing: Standing | None, base: Mapping[str, str]
) -> EndpointSettings:
    followed = endpoint.follow
    if followed is None or standing is None:
        return endpoint
    if (standing.model, standing.base) != (followed.model, base.get(endpoint.name)):
        return endpoint
    try:
        if standing.incumbent and not is_incumbent(endpoint, standing.incumbent):
            endpoint = replace(
                endpoint,
                incumbent=version_of(endpoint, standing.incumbent),
                incumbent_lineage=_lineage(followed, standing.incumbent),
            )
        if standing.candidate and not is_incumbent(endpoint, standing.candidate):
            endpoint = replace(
                endpoint,
                candidate=version_of(endpoint, standing.candidate),
                candidate_lineage=_lineage(followed, standing.candidate),
            )
    except ValueError:
        return endpoint
    return endpoint


def _lineage(followed: FollowSettings, number: str) -> tuple[Reference, ...]:
    return (Reference(Registry.MLFLOW, followed.model, number),)


def _reached(version: Version) -> tuple[tuple[str, ...], str | None]:
    return tuple(map(str, version.upstreams)), version.path


def _check(part: Section, urls: tuple[str, ...], path: str | None, version: str) -> None:
    if not part.holds("urls") or part.given("urls") == []:
        part.refuse("urls", part.given("urls"), 'give a list such as ["http://models:9000/{name}/{version}"]')
    elif len(urls) > _MOST_URLS:
        part.refuse("urls", part.given("urls"), f"give at most {_MOST_URLS} URLs")
    elif path is None or "{version}" not in path:
        for one in urls:
            if "{version}" not in one:
                said = "{version} has to stand in each URL, or in follow.path: else every version is the same"
                part.refuse("urls", one, said)
    if "{version}" not in version:
        part.refuse("version", version, "{version} has to stand in it: else all versions have one name")


def _host(template: str) -> str:
    """The part of a URL's template that says which server it is."""
    return template.partition("://")[2].partition("/")[0]


def _model(value: object) -> str:
    if isinstance(value, str) and _MODEL.fullmatch(value) and value.isprintable():
        return value
    raise ValueError("write the name of a registered model, without / : @ ? # { }")


def _alias(value: object) -> str:
    if isinstance(value, str) and _ALIAS.fullmatch(value):
        return value
    raise ValueError("write an alias of 1 to 255 letters, digits, - and _, without the @")


def _template(model: str, read: Callable[[object], object]) -> Callable[[object], str]:
    """A text that `read` accepts once its places are filled."""

    def template(value: object) -> str:
        text = values.text(2048)(value)
        whole = filled(text, model, _EXAMPLE)
        if "{" in whole or "}" in whole:
            raise ValueError("only {name} and {version} can stand in braces")
        read(whole)
        return text

    return template
