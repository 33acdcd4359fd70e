from __future__ import annotations

import importlib.util

import pytest

from domain.errors import ConfigError
from settings.parse import parse
from settings.schema import Settings
from settings.surroundings import demand

SECRET = "default:development.not-a-real-secret"
ADMIN = "user:not-a-real-secret"


def settings(**unleash: str) -> Settings:
    where = {"url": "http://unleash/api", "token_env": "TOKEN", "environment": "development", **unleash}
    endpoint = {
        "path": "/rain",
        "protocol": "json",
        "unit": "request",
        "incumbent": {"version": "one", "urls": ["http://one"]},
        "compare": {"kind": "json"},
    }
    flags = {"source": "unleash", "unleash": where}
    return parse({"flags": flags, "endpoints": {"rain": endpoint}})


def test_what_is_there_is_enough() -> None:
    demand(settings(admin_token_env="ADMIN"), {"TOKEN": SECRET, "ADMIN": ADMIN})
    demand(settings(), {"TOKEN": "*:*.old"})
    demand(settings(), {"TOKEN": "a-token-of-another-form"})


@pytest.mark.parametrize(
    ("environment", "path", "said"),
    [
        ({}, "flags.unleash.token_env", "no such variable"),
        ({"TOKEN": ""}, "flags.unleash.token_env", "no such variable"),
        ({"TOKEN": "a secret\nX-Evil: 1"}, "flags.unleash.token_env", "holds no token"),
        ({"TOKEN": "x:production.secret"}, "flags.unleash.environment", "for environment 'production'"),
        ({"TOKEN": SECRET}, "flags.unleash.admin_token_env", "no such variable"),
    ],
)
def test_what_is_missing_is_named_by_its_key_and_without_the_secret(
    environment: dict[str, str], path: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        demand(settings(admin_token_env="ADMIN"), environment)
    assert refused.value.path == path
    assert "secret" not in str(refused.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pointsman\[unleash\]"):
        demand(settings(), {"TOKEN": SECRET})
