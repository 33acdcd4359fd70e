"""Reading what replicas share: the Redis that holds it, and this gateway's own name among them.

A password never stands in the configuration: `state.redis_password_env` names the environment variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from domain.errors import ConfigError
from settings import values
from settings.reader import Section
from settings.shared import RedisSettings, Sharing

FORMS = (
    "write redis://[USER@]HOST[:PORT][/DB], rediss://… (TLS), unix:///PATH[?db=DB], "
    "redis+sentinel://HOST:PORT,HOST:PORT/NAME or redis+cluster://HOST:PORT,HOST:PORT"
)

_URL = re.compile(
    r"(?P<scheme>rediss?|rediss?\+sentinel|rediss?\+cluster)://"
    r"(?:(?P<user>[^@/?#\s]*)@)?(?P<hosts>[^/?#@\s]+)(?:/(?P<path>[^?#\s]*))?"
)
_UNIX = re.compile(r"unix://(?:(?P<user>[^@/?#\s]+)@)?(?P<path>/[^?#\s]+)(?:\?db=(?P<db>[0-9]{1,4}))?")
_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?")
_MASTER = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,100})(?:/(?P<db>[0-9]{1,4}))?")
_DATABASE = re.compile(r"[0-9]{1,4}")
_REPLICA = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PORT = 6379
_SENTINEL_PORT = 26379


def sharing(state: Section) -> Sharing:
    """What stands under `state` about it."""
    found = state.take("redis", redis, None)
    ca = state.take("redis_ca", values.text(1024), None)
    variable = state.take("redis_password_env", values.environment_variable, None)
    replica = state.take("replica", _replica, None)
    if found is None:
        for key in ("redis_ca", "redis_password_env"):
            if state.holds(key) and not state.holds("redis"):
                state.inert(key)
        return Sharing(None, replica)
    if ca is not None and not found.tls:
        state.refuse("redis_ca", ca, "it is for TLS: write rediss:// in state.redis, or leave it out")
    return Sharing(
        replace(found, ca=ca, password_env=variable),
        replica,
    )


def redis(value: object) -> RedisSettings:
    """The server, sentinels or cluster that a URL names. Raises ValueError."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 2000:
        raise ValueError(FORMS)
    unix = _UNIX.fullmatch(value)
    if unix is not None:
        return RedisSettings("unix", path=unix["path"], database=int(unix["db"] or 0), user=unix["user"])
    url = _URL.fullmatch(value)
    if url is None:
        raise ValueError(FORMS)
    user = url["user"]
    if user is not None and ":" in user:
        raise ValueError(
            "a password does not stand in a configuration: name the environment variable that holds it "
            "in state.redis_password_env"
        )
    scheme, _, kind = url["scheme"].partition("+")
    nodes = _nodes(url["hosts"], kind)
    tls = scheme == "rediss"
    path = url["path"] or ""
    if kind == "sentinel":
        master = _MASTER.fullmatch(path)
        if master is None:
            raise ValueError("name the server that the sentinels watch: redis+sentinel://HOST:PORT/NAME")
        return RedisSettings(kind, nodes, "", master["name"], int(master["db"] or 0), user or None, tls)
    if kind == "cluster":
        if path not in ("", "0"):
            raise ValueError("a cluster has database 0 only; leave the path out")
        return RedisSettings(kind, nodes, user=user or None, tls=tls)
    if path and not _DATABASE.fullmatch(path):
        raise ValueError("after the address comes the number of the database, such as /0")
    if len(nodes) != 1:
        raise ValueError("several addresses are for redis+sentinel:// and redis+cluster://")
    return RedisSettings("server", nodes, database=int(path or 0), user=user or None, tls=tls)


def _nodes(hosts: str, kind: str) -> tuple[tuple[str, int], ...]:
    found: list[tuple[str, int]] = []
    for one in hosts.split(","):
        node = _HOST.fullmatch(one)
        port = int(node["port"] or (_SENTINEL_PORT if kind == "sentinel" else _PORT)) if node else 0
        if node is None or not 1 <= port <= 65535:
            raise ValueError(f"{one!r} is no HOST:PORT; {FORMS}")
        found.append((node["host"].strip("[]"), port))
    return tuple(found)


def _replica(value: object) -> str:
    if isinstance(value, str) and _REPLICA.fullmatch(value):
        return value
    raise ValueError("write a name of letters, digits, '_', '.' and '-' that no other replica has")


def password(
    settings: RedisSettings, environment: Mapping[str, str], key: str = "state.redis_password_env"
) -> str | None:
    """The password, None when none is configured. Raises ConfigError for `key` without the variable."""
    if settings.password_env is None:
        return None
    secret = environment.get(settings.password_env, "")
    if not secret:
        allowed = "the environment has no such variable; put the password into it"
        raise ConfigError(key, settings.password_env, allowed)
    return secret
