"""Reading where flags come from: a file, an Unleash server, or a platform that is asked unit by unit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from settings import values
from settings.openfeature import openfeature
from settings.reader import Section
from settings.schema import OpenFeatureSettings, UnleashSettings
from settings.upstreams import base_url

_NAME = re.compile(r"[A-Za-z0-9_~.-]{1,100}")
_NEEDED = {
    "url": "Unleash's API, such as https://unleash.example/api",
    "token_env": "the environment variable that holds a backend token",
    "environment": "the environment of that token, such as production",
}


@dataclass(frozen=True, slots=True)
class FlagSource:
    """At most one of `path`, `unleash` and `openfeature`; what constraints on the two fields see."""

    path: str | None = None
    unleash: UnleashSettings | None = None
    openfeature: OpenFeatureSettings | None = None
    environment: str | None = None
    app_name: str | None = None


def flags(section: Section) -> FlagSource:
    """The source that `source` names; what belongs to the others is inert."""
    source = section.take("source", values.choice("file", "unleash", "openfeature"), "file")
    path = section.take("path", values.text(1024), None)
    environment = section.take("environment", _name, None)
    app_name = section.take("app_name", values.text(100), None)
    server = _unleash(section.section("unleash"), needed=source == "unleash")
    platform = openfeature(section.section("openfeature"), needed=source == "openfeature")
    for key, owner in (("path", "file"), ("unleash", "unleash"), ("openfeature", "openfeature")):
        if owner != source:
            section.inert(key)
    if source == "file":
        return FlagSource(path=path, environment=environment, app_name=app_name)
    if source == "openfeature":
        return FlagSource(openfeature=platform, environment=environment, app_name=app_name)
    for key in ("environment", "app_name"):
        if section.holds(key):
            section.refuse(key, section.given(key), f"flags come from Unleash: give flags.unleash.{key}")
    if server is None:
        return FlagSource()
    return FlagSource(unleash=server, environment=server.environment, app_name=server.app_name)


def _unleash(section: Section, *, needed: bool) -> UnleashSettings | None:
    url = section.take("url", base_url, None)
    token_env = section.take("token_env", values.environment_variable, None)
    environment = section.take("environment", _name, None)
    app_name = section.take("app_name", values.text(100), "pointsman")
    project = section.take("project", _name, "default")
    poll = section.take("poll", values.duration("100ms", "1h"), 1.0)
    admin_token_env = section.take("admin_token_env", values.environment_variable, None)
    if needed:
        for key, meaning in _NEEDED.items():
            if not section.holds(key):
                section.refuse(key, None, f"flags.source is unleash, so this key is required: {meaning}")
    if url is None or token_env is None or environment is None:
        return None
    return UnleashSettings(url, token_env, environment, app_name, project, poll, admin_token_env)


def _name(value: object) -> str:
    """A name as Unleash allows it, safe as a part of a path."""
    if isinstance(value, str) and _NAME.fullmatch(value) and value.strip("."):
        return value
    raise ValueError("write 1 to 100 letters, digits, _ ~ . - as in Unleash; it is case sensitive")
