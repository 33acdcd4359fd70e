"""Strategies compiled to closures, equal to Unleash's reference engine.

`compile_strategy` answers None for what only the reference engine can judge: strategies of an operator's own,
host names, stickiness on the clock, and what a strategy's constraints leave to it.

How a rollout finds what it sticks to:

* `default`: the userId; without one the sessionId; without both a fresh draw for every request;
* `random`: a fresh draw for every request;
* any other name: that context field; a request that does not carry it is not exposed, even at 100 %.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from domain.errors import ConfigError
from routing.constraints import Getter, Rule, compile_constraint, getter
from routing.context import FlagContext
from routing.document import Strategy
from routing.hashing import normalized

Draw = Callable[[], float]
"""A random number, uniform in [0, 1)."""

_PERCENTAGE = re.compile(r"\+?[0-9]{1,3}")
_NETWORK = re.compile(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?")
_WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's White_Space, which the reference engine trims; `str.strip` would take more."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def compile_strategy(strategy: Strategy, flag: str, draw: Draw) -> Rule | None:
    """The strategy with all of its constraints as one rule; None when the reference engine must judge it.

    Raises:
        ConfigError: a parameter is missing or malformed, so that Unleash's engine would switch the flag off.
    """
    compiled = _COMPILERS[strategy.name](strategy, flag, draw) if strategy.name in _COMPILERS else None
    constraints = [compile_constraint(constraint) for constraint in strategy.constraints]
    rules: list[Rule] = []
    for rule in (*constraints, compiled):  # the cheap ones first: a rollout hashes
        if rule is None:
            return None
        rules.append(rule)
    return _all_of([rule for rule in rules if rule is not everyone] or [everyone])


def any_of(rules: list[Rule]) -> Rule:
    """One rule that holds when any of `rules` does; with none it never holds."""
    if not rules:
        return _nobody
    if len(rules) == 1:
        return rules[0]
    alternatives = tuple(rules)

    def holds(unit: str | None, context: FlagContext) -> bool:
        for rule in alternatives:  # noqa: SIM110 - a generator would cost more than the rules
            if rule(unit, context):
                return True
        return False

    return holds


def _all_of(rules: list[Rule]) -> Rule:
    if len(rules) == 1:
        return rules[0]
    if len(rules) == 2:
        first, second = rules
        return lambda unit, context: first(unit, context) and second(unit, context)
    conditions = tuple(rules)

    def holds(unit: str | None, context: FlagContext) -> bool:
        for rule in conditions:  # noqa: SIM110 - a generator would cost more than the rules
            if not rule(unit, context):
                return False
        return True

    return holds


def everyone(unit: str | None, context: FlagContext) -> bool:
    """The rule of a flag without strategies."""
    return True


def _nobody(unit: str | None, context: FlagContext) -> bool:
    return False


def _default(strategy: Strategy, flag: str, draw: Draw) -> Rule:
    return everyone


def _flexible(strategy: Strategy, flag: str, draw: Draw) -> Rule | None:
    share = _percentage(strategy, "rollout")
    group = strategy.parameters.get("groupId", flag)
    stickiness = strategy.parameters.get("stickiness", "default")
    if stickiness == "random":
        return lambda unit, context: draw() * 100 < share
    if stickiness == "default":

        def sticks_by_default(unit: str | None, context: FlagContext) -> bool:
            identifier = context.session_id if unit is None else unit
            if identifier is None:
                return draw() * 100 < share
            return normalized(identifier, group, 100) <= share

        return sticks_by_default
    get = getter(stickiness)
    return None if get is None else _sticky(get, group, share)


def _gradual_user(strategy: Strategy, flag: str, draw: Draw) -> Rule:
    share, group = _percentage(strategy, "percentage"), _parameter(strategy, "groupId")
    return _sticky(lambda unit, context: unit, group, share)


def _gradual_session(strategy: Strategy, flag: str, draw: Draw) -> Rule:
    share, group = _percentage(strategy, "percentage"), _parameter(strategy, "groupId")
    return _sticky(lambda unit, context: context.session_id, group, share)


def _gradual_random(strategy: Strategy, flag: str, draw: Draw) -> Rule:
    share = _percentage(strategy, "percentage")
    # The reference engine draws from 1..99 and compares by <, so that 1 % is nobody.
    return lambda unit, context: 1 + int(draw() * 99) < share


def _user_with_id(strategy: Strategy, flag: str, draw: Draw) -> Rule:
    users = frozenset(user.strip(_WHITE_SPACE) for user in _parameter(strategy, "userIds").split(","))
    return lambda unit, context: unit in users


def _remote_address(strategy: Strategy, flag: str, draw: Draw) -> Rule | None:
    networks: list[Network] = []
    for item in _parameter(strategy, "IPs").split(","):
        text = item.strip(_WHITE_SPACE)
        if _NETWORK.fullmatch(text) is None:
            return None
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            return None  # the reference engine passes over what it cannot read
    return _within(tuple(networks))


def _within(networks: tuple[Network, ...]) -> Rule:
    def is_within(unit: str | None, context: FlagContext) -> bool:
        text = context.remote_address
        if text is None or "%" in text:  # no scope ids, as in the reference engine
            return False
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False  # what is no address is in no network
        return any(address in network for network in networks)

    return is_within


def _sticky(get: Getter, group: str, share: int) -> Rule:
    def sticks(unit: str | None, context: FlagContext) -> bool:
        identifier = get(unit, context)
        return identifier is not None and normalized(identifier, group, 100) <= share

    return sticks


def _parameter(strategy: Strategy, name: str) -> str:
    value = strategy.parameters.get(name)
    if value is None:
        raise ConfigError(f"{strategy.where}.parameters.{name}", None, f"{strategy.name} needs it")
    return value


def _percentage(strategy: Strategy, name: str) -> int:
    text = _parameter(strategy, name)
    if _PERCENTAGE.fullmatch(text) is None or int(text) > 100:
        allowed = 'write a whole number from "0" to "100"'
        raise ConfigError(f"{strategy.where}.parameters.{name}", text, allowed)
    return int(text)


_COMPILERS: dict[str, Callable[[Strategy, str, Draw], Rule | None]] = {
    "default": _default,
    "flexibleRollout": _flexible,
    "gradualRolloutUserId": _gradual_user,
    "gradualRolloutSessionId": _gradual_session,
    "gradualRolloutRandom": _gradual_random,
    "userWithId": _user_with_id,
    "remoteAddress": _remote_address,
}
