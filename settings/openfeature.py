"""Reading a flag platform that is asked unit by unit, through OpenFeature."""

from __future__ import annotations

import re

from settings import values
from settings.reader import Section
from settings.schema import OpenFeatureSettings
from settings.upstreams import base_url

NAMED = ("ofrep", "flagd", "launchdarkly", "growthbook")
"""Providers that need no code of the operator's."""

_OWN = re.compile(r"[A-Za-z_][\w.]{0,200}:[A-Za-z_][\w.]{0,100}", re.ASCII)
_NEEDED = {
    "ofrep": {"url": "the server, such as http://127.0.0.1:8016"},
    "flagd": {"path": "the flag file, in flagd's format"},
    "launchdarkly": {"token_env": "the environment variable that holds the SDK key"},
    "growthbook": {
        "url": "GrowthBook's API, such as https://cdn.growthbook.io",
        "token_env": "the environment variable that holds the client key",
    },
}
_TAKEN = {
    "ofrep": {"url", "token_env"}, "flagd": {"path"}, "launchdarkly": {"url", "token_env"},
    "growthbook": {"url", "token_env"},
}  # fmt: skip


def openfeature(section: Section, *, needed: bool) -> OpenFeatureSettings | None:
    """The platform under `flags.openfeature`; None, with problems kept, when something is missing."""
    provider = section.take("provider", _provider, None)
    url = section.take("url", base_url, None)
    path = section.take("path", values.text(1024), None)
    token_env = section.take("token_env", values.environment_variable, None)
    variant = section.take("variant", values.text(100), None)
    age = section.take("age", values.duration("1s", "1d"), 60.0)
    units = section.take("units", values.whole(100, 1_000_000), 100_000)
    timeout = section.take("timeout", values.duration("10ms", "1m"), 2.0)
    if needed and not section.holds("provider"):
        asked = f"flags.source is openfeature, so this key is required: {', '.join(NAMED)} or module:function"
        section.refuse("provider", None, asked)
    if provider is None:
        return None
    if needed:
        _check_keys(section, provider)
    return OpenFeatureSettings(provider, url, path, token_env, variant, age, units, timeout)


def _check_keys(section: Section, provider: str) -> None:
    for key, meaning in _NEEDED.get(provider, {}).items():
        if not section.holds(key):
            section.refuse(key, None, f"the provider is {provider}, so this key is required: {meaning}")
    for key in ("url", "path", "token_env"):
        if section.holds(key) and key not in _TAKEN.get(provider, set()):
            section.refuse(key, section.given(key), f"provider {provider} takes no such key; leave it out")


def _provider(value: object) -> str:
    if isinstance(value, str) and (value in NAMED or _OWN.fullmatch(value)):
        return value
    raise ValueError(f"use {', '.join(NAMED)}, or module:function that gives an OpenFeature provider")
