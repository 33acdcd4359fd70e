"""Exposure: may this unit see the candidate? A flag compiled to one callable.

A flag is exposed when it is enabled and any of its strategies matches; a flag with no strategies is exposed
to everyone. What the closures can express is compiled to closures; a flag that holds anything else is given
whole to Unleash's reference engine, behind the same callable. A property test holds both equal:
`tests/unit/routing/test_exposure_equals_engine.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from routing.constraints import Rule
from routing.context import NOTHING_KNOWN, STANDARD_FIELDS, FlagContext
from routing.document import Flag, FlagDocument, Strategy, parse
from routing.engine import compile_by_engine
from routing.strategies import any_of, compile_strategy, everyone

__all__ = ["NOT_EXPOSED", "Exposure", "FlagContext", "check", "compile_flags", "placed"]

_PLACE = frozenset({"environment", "appName"})
_FIELDS_OF = {
    "gradualRolloutUserId": frozenset({"userId"}),
    "gradualRolloutSessionId": frozenset({"sessionId"}),
    "userWithId": frozenset({"userId"}),
    "remoteAddress": frozenset({"remoteAddress"}),
    "default": frozenset[str](),
    "gradualRolloutRandom": frozenset[str](),
}


@dataclass(frozen=True, slots=True)
class Exposure:
    """One compiled flag: `exposure(unit, context)`.

    A unit of None is a request without userId; a context of None is a request that carries no field.

    Attributes:
        rule: what decides.
        fields: the context fields, by their names in Unleash, that the answer can depend on.
    """

    rule: Rule
    fields: frozenset[str] = frozenset()

    def __call__(self, unit: str | None, context: FlagContext | None) -> bool:
        return self.rule(unit, NOTHING_KNOWN if context is None else context)

    @property
    def needs_context(self) -> bool:
        """Whether the answer can depend on more than the unit."""
        return not self.fields <= {"userId"}


NOT_EXPOSED = Exposure(any_of([]))
"""The answer for a flag that the document does not have."""


def compile_flags(
    document: bytes, draw: Callable[[], float], names: Collection[str] | None = None
) -> Mapping[str, Exposure]:
    """Every flag of `document` (client features or an admin export), or only `names`, as an Exposure.

    `draw` gives uniform numbers in [0, 1), for what sticks to nothing. Flags judged by the reference engine
    use the engine's own.

    Raises:
        ConfigError: the document or one of these flags is malformed; names flag, strategy and field.
    """
    parsed = parse(document, names)
    wanted = parsed.flags.keys() if names is None else parsed.flags.keys() & names
    return {name: _compile(parsed.flags[name], parsed, draw) for name in wanted}


def placed(exposure: Exposure, environment: str | None, app_name: str | None) -> Exposure:
    """`exposure` where these two fields are the same for every request; None is a field that is missing."""
    if exposure.fields.isdisjoint(_PLACE):
        return exposure
    rule = exposure.rule
    nothing_else = FlagContext(environment=environment, app_name=app_name)

    def judge(unit: str | None, context: FlagContext) -> bool:
        if context is NOTHING_KNOWN:
            return rule(unit, nothing_else)
        known = FlagContext(
            context.user_id, context.session_id, context.remote_address, environment, app_name,
            context.current_time, context.properties,
        )  # fmt: skip
        return rule(unit, known)

    return Exposure(judge, exposure.fields - _PLACE)


def check(document: bytes) -> None:
    """Refuse a document that does not compile, before a snapshot carries it.

    Raises:
        ConfigError: as `compile_flags` does, over all flags.
    """
    compile_flags(document, lambda: 0.0)


def _compile(flag: Flag, document: FlagDocument, draw: Callable[[], float]) -> Exposure:
    # Compiled before anything else is asked: a flag that is off will be switched on, so it must be well-made.
    rules = [compile_strategy(strategy, flag.name, draw) for strategy in flag.strategies]
    if flag.broken or not flag.enabled:
        return NOT_EXPOSED
    expressed = [rule for rule in rules if rule is not None]
    if flag.parents or len(expressed) < len(rules):
        return Exposure(compile_by_engine(flag, document), _fields(flag, document))
    if not rules:
        return Exposure(everyone)
    return Exposure(any_of(expressed), _fields(flag, document))


def _fields(flag: Flag, document: FlagDocument) -> frozenset[str]:
    flags = (flag, *(document.flags[name] for name in flag.parents if name in document.flags))
    fields = frozenset[str]().union(*(_strategy_fields(each) for one in flags for each in one.strategies))
    # A parent's variants may stick to anything.
    return fields | STANDARD_FIELDS if flag.parents else fields


def _strategy_fields(strategy: Strategy) -> frozenset[str]:
    fields = {constraint.field for constraint in strategy.constraints}
    if strategy.name in _FIELDS_OF:
        return frozenset(fields) | _FIELDS_OF[strategy.name]
    stickiness = strategy.parameters.get("stickiness", "default")
    if stickiness == "default":
        return frozenset(fields) | {"userId", "sessionId"}
    return frozenset(fields) if stickiness == "random" else frozenset(fields) | {stickiness}
