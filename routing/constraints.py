"""Constraints compiled to closures, equal to Unleash's reference engine.

A rule is `(unit, context) -> bool`. `compile_constraint` answers None for what only the reference engine can
judge: semantic versions, regular expressions, address ranges, dates in fields of the application's own, and
operators that this version does not know.

A field that a request does not carry matches nothing: IN, STR_, NUM_ and DATE_ are false, NOT_IN is true;
`inverted` turns the result round, also then. An empty text is a value, not an absence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import datetime
from sys import float_info

from domain.errors import ConfigError
from routing.context import FlagContext
from routing.document import Constraint

Rule = Callable[[str | None, FlagContext], bool]
"""Whether a unit and its context match."""

Getter = Callable[[str | None, FlagContext], str | None]
"""A context field of one request, None when the request does not carry it."""

_LISTS = frozenset({"IN", "NOT_IN", "STR_CONTAINS", "STR_STARTS_WITH", "STR_ENDS_WITH"})
_NUMBERS = frozenset({"NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE"})
_DATES = frozenset({"DATE_AFTER", "DATE_BEFORE"})
_VERSIONS = frozenset({"SEMVER_EQ", "SEMVER_GT", "SEMVER_GTE", "SEMVER_LT", "SEMVER_LTE"})

# What the reference engine's grammar accepts in a constraint ...
_NUMBER_LIMIT = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_DATE_LIMIT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_LABELS = r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*"
_VERSION_LIMIT = re.compile(rf"[0-9]+\.[0-9]+\.[0-9]+(-{_LABELS})?(\+{_LABELS})?")
# ... and what it reads as a number in a request: Python's float() would also take "1_0", " 1" and "١".
_NUMBER = re.compile(
    r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)


def compile_constraint(constraint: Constraint) -> Rule | None:
    """The constraint as a rule; None when the reference engine must judge it.

    Raises:
        ConfigError: a value is missing or malformed, so that Unleash's engine would switch the flag off.
    """
    operator = constraint.operator
    _check(constraint)
    rule: Rule | None = None
    if operator in _DATES and constraint.field == "currentTime":
        rule = _date(operator, _date_limit(constraint))
    elif (get := getter(constraint.field)) is not None:
        if operator in _LISTS:
            rule = _listed(get, operator, constraint.values, constraint.case_insensitive)
        elif operator in _NUMBERS and constraint.value is not None:
            rule = _number(get, operator, float(constraint.value))
    if rule is not None and constraint.inverted:
        return _inverted(rule)
    return rule


def getter(field: str) -> Getter | None:
    """How `field` is read; None for the clock, which is a time and not a text."""
    if field == "currentTime":
        return None
    return _GETTERS.get(field) or (lambda unit, context: context.properties.get(field))


_GETTERS: dict[str, Getter] = {
    "userId": lambda unit, context: unit,
    "sessionId": lambda unit, context: context.session_id,
    "remoteAddress": lambda unit, context: context.remote_address,
    "environment": lambda unit, context: context.environment,
    "appName": lambda unit, context: context.app_name,
}


def _check(constraint: Constraint) -> None:
    """Refuse what Unleash's engine cannot parse: it would switch the whole flag off without a word."""
    operator, value, where = constraint.operator, constraint.value, f"{constraint.where}.value"
    if operator in _TEXT_MATCHES and not constraint.values:
        raise ConfigError(f"{where}s", [], f"{operator} needs one value or more")
    if operator in _NUMBERS | _DATES | _VERSIONS or operator == "REGEX":
        if value is None:
            raise ConfigError(where, value, f"{operator} needs a value")
        if operator in _NUMBERS and _NUMBER_LIMIT.fullmatch(value.strip(" \t")) is None:
            raise ConfigError(where, value, f"{operator} needs a number such as 10 or -2.5")
        if operator in _DATES:
            _date_limit(constraint)
        # A leading "v" is Unleash's own way to spell a version that nothing matches.
        if operator in _VERSIONS and not value.startswith("v") and _VERSION_LIMIT.fullmatch(value) is None:
            raise ConfigError(where, value, f"{operator} needs a version such as 1.2.3")


def _date_limit(constraint: Constraint) -> datetime:
    value = constraint.value or ""
    try:
        if _DATE_LIMIT.fullmatch(value) is None:
            raise ValueError("not RFC 3339")
        return datetime.fromisoformat(value)
    except ValueError as error:
        form = "2026-01-31T12:00:00Z or 2026-01-31T12:00:00.000+01:00"
        raise ConfigError(f"{constraint.where}.value", value, f"write a date such as {form}") from error


def _inverted(rule: Rule) -> Rule:
    return lambda unit, context: not rule(unit, context)


def _listed(get: Getter, operator: str, values: Collection[str], ignore_case: bool) -> Rule:
    # IN and NOT_IN are case sensitive whatever the constraint says: the reference engine has it so.
    if operator in ("IN", "NOT_IN"):
        members = frozenset(values)
        if operator == "IN":
            return lambda unit, context: get(unit, context) in members
        return lambda unit, context: get(unit, context) not in members
    parts = tuple(value.lower() for value in values) if ignore_case else tuple(values)
    matches = _TEXT_MATCHES[operator]

    def matches_text(unit: str | None, context: FlagContext) -> bool:
        text = get(unit, context)
        if text is None:
            return False
        return matches(text.lower() if ignore_case else text, parts)

    return matches_text


_TEXT_MATCHES: dict[str, Callable[[str, tuple[str, ...]], bool]] = {
    "STR_CONTAINS": lambda text, parts: any(part in text for part in parts),
    "STR_STARTS_WITH": str.startswith,
    "STR_ENDS_WITH": str.endswith,
}


def _number(get: Getter, operator: str, limit: float) -> Rule:
    holds = _COMPARISONS[operator]

    def matches_number(unit: str | None, context: FlagContext) -> bool:
        text = get(unit, context)
        return text is not None and _NUMBER.fullmatch(text) is not None and holds(float(text), limit)

    return matches_number


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "NUM_EQ": lambda number, limit: abs(number - limit) < float_info.epsilon,
    "NUM_GT": lambda number, limit: number > limit,
    "NUM_GTE": lambda number, limit: number >= limit,
    "NUM_LT": lambda number, limit: number < limit,
    "NUM_LTE": lambda number, limit: number <= limit,
}


def _date(operator: str, limit: datetime) -> Rule:
    if operator == "DATE_AFTER":
        return lambda unit, context: context.current_time is not None and context.current_time > limit
    return lambda unit, context: context.current_time is not None and context.current_time < limit
