from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from domain.errors import ConfigError
from settings.parse import parse
from settings.schema import Settings
from settings.surroundings import demand, table

SECRET = "default:development.not-a-real-secret"
ADMIN = "user:not-a-real-secret"


def with_database(url: str) -> Settings:
    endpoint = {
        "path": "/rain",
        "protocol": "json",
        "unit": "request",
        "incumbent": {"version": "one", "urls": ["http://one"]},
        "compare": {"kind": "json"},
    }
    return parse({"state": {"database": url}, "endpoints": {"rain": endpoint}})


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


def test_a_database_server_needs_its_extra_and_the_files_that_its_url_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "passwords"
    server = with_database(f"postgresql://ada@host/state?passfile={passwords}")
    with pytest.raises(ConfigError, match="a file that this user may read") as refused:
        demand(server, {})
    assert (refused.value.path, refused.value.value) == ("state.database", str(passwords))
    passwords.write_text("*:*:*:*:hunter2")
    passwords.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        demand(server, {})
    passwords.chmod(0o600)
    demand(server, {})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pointsman\[postgres\]"):
        demand(server, {})
    demand(with_database("sqlite:///var/state.db"), {})


def asking(**platform: str) -> Settings:
    flags = {"source": "openfeature", "openfeature": platform}
    endpoint = {
        "path": "/rain",
        "protocol": "json",
        "unit": "header:x-user-id",
        "incumbent": {"version": "one", "urls": ["http://one"]},
        "compare": {"kind": "json"},
    }
    return parse({"flags": flags, "endpoints": {"rain": endpoint}})


def test_the_key_of_a_flag_platform_is_demanded_by_its_name() -> None:
    platform = asking(provider="ofrep", url="http://flags", token_env="OFREP_KEY")
    demand(platform, {"OFREP_KEY": "secret"})
    demand(asking(provider="ofrep", url="http://flags"), {})
    with pytest.raises(ConfigError, match="no such variable") as refused:
        demand(platform, {})
    assert refused.value.path == "flags.openfeature.token_env"


@pytest.mark.parametrize(
    ("platform", "missing"),
    [
        ({"provider": "flagd", "path": "flags.json"}, "openfeature.contrib.provider.flagd"),
        ({"provider": "launchdarkly", "token_env": "KEY"}, "ld_openfeature"),
        (
            {"provider": "growthbook", "url": "http://gb", "token_env": "KEY"},
            "growthbook_openfeature_provider",
        ),
        ({"provider": "our.flags:make"}, "openfeature"),
    ],
)
def test_the_package_of_a_flag_platform_is_demanded_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, platform: dict[str, str], missing: str
) -> None:
    found = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> object:
        if name == missing:
            raise ModuleNotFoundError(name)
        return found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(
        ConfigError, match="install it with pip install 'pointsman\\[openfeature\\]'"
    ) as refused:
        demand(asking(**platform), {"KEY": "secret"})
    assert missing in str(refused.value)


def test_a_reference_for_drift_must_be_there_and_what_reads_it_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "endpoints.rain.guards.drift.reference"
    path = tmp_path / "profile.parquet"
    with pytest.raises(ConfigError, match="no such file") as error:
        table(key, str(path))
    assert (error.value.path, error.value.value) == (key, str(path))
    path.write_bytes(b"PAR1")
    table(key, str(path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'pointsman\[gates\]'"):
        table(key, str(path))
    (tmp_path / "profile.csv").touch()
    table(key, str(tmp_path / "profile.csv"))
