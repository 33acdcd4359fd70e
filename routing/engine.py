"""Flags that the closures cannot express, judged by Unleash's reference engine (yggdrasil).

An engine holds one flag, the flags it depends on and the segments they use, and nothing else: a part of the
document that the engine cannot read costs that flag alone and is refused by name. The engine answers in tens
of microseconds, the closures in one; it is the exception, not the path.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from yggdrasil_engine.engine import UnleashEngine

from domain.errors import ConfigError
from routing.constraints import Rule
from routing.context import FlagContext
from routing.document import Flag, FlagDocument

_FEATURE_KEYS = ("name", "enabled", "strategies", "variants", "dependencies")
_STRATEGY_KEYS = ("name", "parameters", "constraints", "segments", "variants")
_CONSTRAINT_KEYS = ("contextName", "operator", "values", "value", "inverted", "caseInsensitive")


def compile_by_engine(flag: Flag, document: FlagDocument) -> Rule:
    """`flag` judged by the reference engine.

    Raises:
        ConfigError: the engine cannot read the flag.
    """
    parents = [document.flags[name] for name in flag.parents if name in document.flags and name != flag.name]
    state = {
        "version": 2,
        "features": [_feature(each) for each in (flag, *parents)],
        "segments": [
            {"id": number, "constraints": _picked_each(segment.get("constraints"), _CONSTRAINT_KEYS)}
            for number, segment in document.segments.items()
        ],
    }
    engine = UnleashEngine()
    engine.take_state(msgspec.json.encode(state).decode())
    if flag.name not in {toggle.name for toggle in engine.list_known_toggles()}:
        where = f"features[{flag.name}]"
        raise ConfigError(where, flag.name, "Unleash's engine cannot read it or a flag it depends on")
    name = flag.name

    def judge(unit: str | None, context: FlagContext) -> bool:
        return bool(engine.is_enabled(name, _context(unit, context)).is_enabled)

    return judge


def _feature(flag: Flag) -> dict[str, object]:
    feature = _picked(flag.source, _FEATURE_KEYS)
    feature["enabled"] = flag.enabled
    strategies = _picked_each(feature["strategies"], _STRATEGY_KEYS)
    for strategy in strategies:
        strategy["constraints"] = _picked_each(strategy.get("constraints"), _CONSTRAINT_KEYS)
    feature["strategies"] = strategies
    return feature


def _picked(source: Mapping[str, object], keys: tuple[str, ...]) -> dict[str, object]:
    return {key: source[key] for key in keys if source.get(key) is not None}


def _picked_each(items: object, keys: tuple[str, ...]) -> list[dict[str, object]]:
    return [_picked(item, keys) for item in items] if isinstance(items, list) else []


def _context(unit: str | None, context: FlagContext) -> dict[str, object]:
    fields = {
        "userId": unit,
        "sessionId": context.session_id,
        "remoteAddress": context.remote_address,
        "environment": context.environment,
        "appName": context.app_name,
        "currentTime": None if context.current_time is None else context.current_time.isoformat(),
    }
    known: dict[str, object] = {name: _unicode(value) for name, value in fields.items() if value is not None}
    known["properties"] = {_unicode(name): _unicode(value) for name, value in context.properties.items()}
    return known


def _unicode(text: str) -> str:
    """`text` without lone surrogates: the engine reads UTF-8 only."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
