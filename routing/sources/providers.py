"""The flag platforms that a configuration names, as evaluators; each SDK is imported when it is named."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from domain.errors import ConfigError
from routing.sources.evaluator import Evaluator
from settings.schema import OpenFeatureSettings

START_WAIT = 5.0
"""Seconds that LaunchDarkly's client may take to connect."""


def evaluator(
    settings: OpenFeatureSettings,
    token: str | None,
    known: Mapping[str, str],
    changed: Callable[[], None],
    monotonic: Callable[[], float],
) -> Evaluator:
    """The evaluator of `settings.provider`, not started yet.

    `token` is the secret that goes with it; `known` are attributes of every question; `changed` is called, in
    any thread, when flags have changed. Raises ConfigError when a package or a function is missing.
    """
    if settings.provider == "ofrep":
        from routing.sources.ofrep import OfrepEvaluator

        return OfrepEvaluator(settings, token, known, monotonic)
    try:
        from routing.sources.openfeature import SdkEvaluator

        make = _maker(settings, token or "")
    except ImportError as error:
        extra = "pip install 'pointsman[openfeature]', and the provider's own package"
        raise ConfigError(
            "flags.openfeature.provider", settings.provider, f"install it with {extra} ({error})"
        ) from error
    growthbook = settings.provider == "growthbook"
    renew = settings.age / 2 if growthbook else None
    return SdkEvaluator(settings, make, known, changed, monotonic, renew=renew, as_text=growthbook)


def _maker(settings: OpenFeatureSettings, token: str) -> Callable[[], Any]:
    if settings.provider == "flagd":
        return _flagd(settings)
    if settings.provider == "launchdarkly":
        return _launchdarkly(settings, token)
    if settings.provider == "growthbook":
        return _growthbook(settings, token)
    return _own(settings.provider)


def _flagd(settings: OpenFeatureSettings) -> Callable[[], Any]:
    from openfeature.contrib.provider.flagd import FlagdProvider
    from openfeature.contrib.provider.flagd.config import ResolverType

    def make() -> Any:
        return FlagdProvider(
            resolver_type=ResolverType.FILE, offline_flag_source_path=settings.path, deadline_ms=500
        )

    return make


def _launchdarkly(settings: OpenFeatureSettings, token: str) -> Callable[[], Any]:
    from ld_openfeature import LaunchDarklyProvider
    from ldclient.config import Config

    own = settings.url

    def make() -> Any:
        if own is None:
            return LaunchDarklyProvider(Config(token, send_events=False), START_WAIT)
        relay = Config(token, base_uri=own, stream_uri=own, events_uri=own, send_events=False)
        return LaunchDarklyProvider(relay, START_WAIT)

    return make


def _growthbook(settings: OpenFeatureSettings, token: str) -> Callable[[], Any]:
    from growthbook.growthbook_client import EnhancedFeatureRepository, SingletonMeta
    from growthbook_openfeature_provider import GrowthBookProvider, GrowthBookProviderOptions

    def make() -> Any:
        # The SDK shares what it fetched between all clients of a key, and looks for changes once a minute: a
        # new provider would only get what the one before it has.
        SingletonMeta._instances.pop((EnhancedFeatureRepository, settings.url, token), None)
        return GrowthBookProvider(GrowthBookProviderOptions(api_host=str(settings.url), client_key=token))

    return make


def _own(name: str) -> Callable[[], Any]:
    module, _, function = name.partition(":")
    found: object = importlib.import_module(module)
    for part in function.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigError(
            "flags.openfeature.provider", name, "name a function that gives an OpenFeature provider"
        )
    return found
