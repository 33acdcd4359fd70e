"""What a configuration needs around it: secrets in environment variables, and packages that are extras.

It is looked at before anything is started: a gateway that could not follow its flags does not begin. A
secret is never part of an error.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping

from domain.errors import ConfigError
from settings.schema import Settings, UnleashSettings

_TOKEN = re.compile(r"[^:\s]+:(?P<environment>[^.\s]+)\.[^\s]+")
_HEADER_VALUE = re.compile(r"[!-~]{1,1024}")
_SDK = "UnleashClient"


def demand(settings: Settings, environment: Mapping[str, str]) -> None:
    """Raises ConfigError when a secret that `settings` name, or a package that they need, is missing."""
    server = settings.unleash
    if server is None:
        return
    backend_token(server, environment)
    admin_token(server, environment)
    if importlib.util.find_spec(_SDK) is None:
        raise ConfigError("flags.source", "unleash", "install it with pip install 'pointsman[unleash]'")


def backend_token(server: UnleashSettings, environment: Mapping[str, str]) -> str:
    """The token to read flags with. Raises ConfigError when it is missing, or for another environment."""
    secret = _secret("flags.unleash.token_env", server.token_env, environment)
    parts = _TOKEN.fullmatch(secret)
    if parts is not None and parts["environment"] not in ("*", server.environment):
        raise ConfigError(
            "flags.unleash.environment",
            server.environment,
            f"the token in {server.token_env} is for environment {parts['environment']!r}: "
            "name that one here, or give another token",
        )
    return secret


def admin_token(server: UnleashSettings, environment: Mapping[str, str]) -> str | None:
    """The token to switch flags off with, None when none is configured. Raises ConfigError."""
    if server.admin_token_env is None:
        return None
    return _secret("flags.unleash.admin_token_env", server.admin_token_env, environment)


def _secret(key: str, variable: str, environment: Mapping[str, str]) -> str:
    secret = environment.get(variable, "")
    if not secret:
        raise ConfigError(key, variable, "the environment has no such variable; put the token into it")
    if not _HEADER_VALUE.fullmatch(secret):
        raise ConfigError(key, variable, "the variable holds no token: blanks, line ends or too many letters")
    return secret
