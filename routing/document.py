"""The flag document: Unleash's client-features JSON, read into frozen types.

Reading is strict where Unleash's own engine would switch a flag off without a word: a rollout of "50%", a
number or date that it cannot parse, a list that is missing. An operator who edits a file must hear of these.
It follows Unleash where its client specification says what a broken value means: an unknown segment or
operator exposes nobody, an unknown strategy matches nobody. Keys that Unleash may add later are passed over.

Every `ConfigError` names the flag, the strategy and the field:
`features[rain-v2-canary].strategies[0 flexibleRollout].parameters.rollout`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec

from domain.errors import ConfigError
from routing.delta import hydrated, is_delta
from routing.export import is_export, to_client_features

LARGEST = 32 * 1024 * 1024
"""Bytes. A longer document is not read."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on one context field. `value` serves NUM_, DATE_, SEMVER_ and REGEX, `values` the rest."""

    where: str
    field: str
    operator: str
    values: tuple[str, ...] = ()
    value: str | None = None
    inverted: bool = False
    case_insensitive: bool = False


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to be exposed: its own rule and all of its constraints, its segments' among them."""

    where: str
    name: str
    parameters: Mapping[str, str]
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        parents: the flags it depends on.
        broken: a strategy names a segment that the document does not have. Unleash's engine exposes nobody
            then, whatever the other strategies say.
        source: the JSON object it was read from, without disabled strategies.
    """

    name: str
    enabled: bool
    strategies: tuple[Strategy, ...]
    parents: tuple[str, ...]
    broken: bool
    source: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class FlagDocument:
    """A whole document. `segments` are the JSON objects by id, for the reference engine."""

    flags: Mapping[str, Flag]
    segments: Mapping[int, Mapping[str, object]]


def parse(document: bytes, names: Collection[str] | None = None) -> FlagDocument:
    """Read client features, an admin export or a delta; with `names`, only these flags and their parents.

    Raises:
        ConfigError: it is not JSON, not such a document, or a flag in it is malformed.
    """
    features, listed = _outline(document)
    segments: dict[int, Mapping[str, object]] = {}
    conditions: dict[int, tuple[Constraint, ...]] = {}
    for index, item in enumerate(listed):
        segment = _object(item, f"segments[{index}]")
        number = _integer(segment, "id", f"segments[{index}]")
        segments[number] = segment
        conditions[number] = _constraints(segment, f"segments[{number}]")
    wanted = features if names is None else _with_parents(features, names)
    flags = {name: _flag(name, features[name], conditions) for name in wanted}
    return FlagDocument(flags=flags, segments=segments)


def client_features(document: bytes) -> bytes:
    """`document` in client-features format: as it is, or converted from an admin export or a delta."""
    decoded = _decode(document)
    converted = _converted(decoded)
    return document if converted is decoded else msgspec.json.encode(converted)


def _decode(document: bytes) -> Mapping[str, object]:
    if len(document) > LARGEST:
        raise ConfigError("flags", f"{len(document)} bytes", f"a flag document has at most {LARGEST} bytes")
    try:
        decoded = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = document[:40].decode("utf-8", "replace")
        raise ConfigError("flags", start, f"write Unleash's JSON; this is not JSON: {error}") from error
    return _object(decoded, "flags")


def _converted(decoded: Mapping[str, object]) -> Mapping[str, object]:
    if is_export(decoded):
        return to_client_features(decoded)
    return hydrated(decoded) if is_delta(decoded) else decoded


def _outline(document: bytes) -> tuple[dict[str, Mapping[str, object]], list[object]]:
    """The flags' JSON objects by name, and the segments."""
    decoded = _converted(_decode(document))
    features: dict[str, Mapping[str, object]] = {}
    for index, item in enumerate(_list(decoded, "features", "flags")):
        where = f"features[{index}]"
        feature = _object(item, where)
        name = _text(feature, "name", where)
        if name in features:
            raise ConfigError(f"{where}.name", name, "flag names are unique; remove one of the two")
        features[name] = feature
    return features, _list(decoded, "segments", "flags", optional=True)


def _with_parents(features: Mapping[str, Mapping[str, object]], names: Collection[str]) -> set[str]:
    wanted = {name for name in names if name in features}
    for name in tuple(wanted):
        wanted.update(_parents(features[name], f"features[{name}]"))
    return wanted & features.keys()


def _flag(name: str, feature: Mapping[str, object], segments: Mapping[int, tuple[Constraint, ...]]) -> Flag:
    where = f"features[{name}]"
    if feature.get("enabled") is None:
        raise ConfigError(f"{where}.enabled", None, "say true or false")
    listed = _list(feature, "strategies", where, missing="list the strategies; [] exposes everyone")
    strategies: list[Strategy] = []
    kept: list[object] = []
    broken = False
    for index, item in enumerate(listed):
        strategy, used, disabled = _strategy(item, f"{where}.strategies[{index}]", segments)
        if not disabled:
            strategies.append(strategy)
            kept.append(item)
            broken = broken or not used <= segments.keys()
    return Flag(
        name=name,
        # No strategy means everyone; strategies that are all disabled must not.
        enabled=_flag_of(feature, "enabled", where) and not (listed and not kept),
        strategies=tuple(strategies),
        parents=_parents(feature, where),
        broken=broken,
        source={**feature, "strategies": kept},
    )


def _strategy(
    item: object, where: str, segments: Mapping[int, tuple[Constraint, ...]]
) -> tuple[Strategy, set[int], bool]:
    """The strategy, the segments it names, and whether it is marked as disabled."""
    strategy = _object(item, where)
    name = _text(strategy, "name", where)
    where = f"{where[:-1]} {name}]"
    parameters: dict[str, str] = {}
    for key, value in _mapping(strategy, "parameters", where).items():
        if not isinstance(value, str):
            raise ConfigError(f"{where}.parameters.{key}", value, f'parameters are text: write "{value}"')
        parameters[key] = value
    constraints = list(_constraints(strategy, where))
    used: set[int] = set()
    for index, number in enumerate(_list(strategy, "segments", where, optional=True)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise ConfigError(f"{where}.segments[{index}]", number, "name a segment by its id, an integer")
        used.add(number)
        constraints.extend(segments.get(number, ()))
    return Strategy(where, name, parameters, tuple(constraints)), used, _flag_of(strategy, "disabled", where)


def _constraints(owner: Mapping[str, object], where: str) -> tuple[Constraint, ...]:
    listed = _list(owner, "constraints", where, optional=True)
    return tuple(_constraint(item, f"{where}.constraints[{index}]") for index, item in enumerate(listed))


def _constraint(item: object, where: str) -> Constraint:
    constraint = _object(item, where)
    value = constraint.get("value")
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{where}.value", value, f'a value is text: write "{value}"')
    return Constraint(
        where=where,
        field=_text(constraint, "contextName", where),
        operator=_text(constraint, "operator", where),
        values=_texts(constraint, "values", where),
        value=value,
        inverted=_flag_of(constraint, "inverted", where),
        case_insensitive=_flag_of(constraint, "caseInsensitive", where),
    )


def _parents(feature: Mapping[str, object], where: str) -> tuple[str, ...]:
    parents: list[str] = []
    for index, item in enumerate(_list(feature, "dependencies", where, optional=True)):
        there = f"{where}.dependencies[{index}]"
        dependency = _object(item, there)
        parents.append(_text(dependency, "feature", there))
        _texts(dependency, "variants", there)
        _flag_of(dependency, "enabled", there)
    return tuple(parents)


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ConfigError(where, _shown(value), "write a JSON object")
    return value


def _mapping(owner: Mapping[str, object], key: str, where: str) -> Mapping[str, object]:
    value = owner.get(key)
    return {} if value is None else _object(value, f"{where}.{key}")


def _list(
    owner: Mapping[str, object],
    key: str,
    where: str,
    *,
    optional: bool = False,
    missing: str = "write a list",
) -> list[object]:
    value = owner.get(key)
    if value is None and optional:
        return []
    if not isinstance(value, list):
        raise ConfigError(f"{where}.{key}", _shown(value), missing if value is None else "write a list")
    return value


def _text(owner: Mapping[str, object], key: str, where: str) -> str:
    value = owner.get(key)
    if not isinstance(value, str):
        raise ConfigError(f"{where}.{key}", _shown(value), "write a text")
    return value


def _texts(owner: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    texts: list[str] = []
    for index, value in enumerate(_list(owner, key, where, optional=True)):
        if not isinstance(value, str):
            raise ConfigError(f"{where}.{key}[{index}]", _shown(value), "values are texts")
        texts.append(value)
    return tuple(texts)


def _integer(owner: Mapping[str, object], key: str, where: str) -> int:
    value = owner.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{where}.{key}", _shown(value), "write an integer")
    return value


def _flag_of(owner: Mapping[str, object], key: str, where: str) -> bool:
    value = owner.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ConfigError(f"{where}.{key}", _shown(value), "say true or false")
    return value


def _shown(value: object) -> object:
    """`value`, cut when it is long: an error is one line."""
    text = repr(value)
    return value if len(text) <= 80 else f"{text[:77]}..."
