"""Reading where lineage comes from, and the references that versions carry."""

from __future__ import annotations

import re

from domain.reference import Reference, Registry, reference
from settings import values
from settings.reader import Section
from settings.registries import HUB, RegistryServer, RegistrySettings
from settings.upstreams import base_url

_TABLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SOURCES = (Registry.FILE, Registry.MLFLOW, Registry.HUGGINGFACE, Registry.DVC, Registry.DELTA)
_WANDB = "https://api.wandb.ai"
_MOST_REFERENCES = 8


def registry(root: Section) -> RegistrySettings:
    """The section `registry`."""
    section = root.section("registry")
    defaults = RegistrySettings()
    found = RegistrySettings(
        source=Registry(section.take("source", values.choice(*_SOURCES), Registry.FILE.value)),
        path=section.take("path", values.text(1024), None),
        poll=section.take("poll", values.duration("100ms", "1h"), defaults.poll),
        mlflow=_server(section.section("mlflow"), None),
        huggingface=_server(section.section("huggingface"), HUB.url) or HUB,
        dvc=section.section("dvc").take("repository", values.text(1024), None),
        delta=section.section("delta").pairs("tables", _table, values.text(1024)),
        wandb=_wandb(section),
    )
    key = found.lacks(found.source)
    if key is not None and section.holds("source") and found.source is not Registry.FILE:
        section.refuse("source", found.source.value, f"give {key} too: it says where that is")
    return found


def lineage(section: Section, known: RegistrySettings) -> tuple[Reference, ...]:
    """The references of a version; without any, the one to the lineage file's record of its name."""

    def read(value: object) -> tuple[Reference, ...]:
        several = value if isinstance(value, list) else [value]
        if not 1 <= len(several) <= _MOST_REFERENCES:
            raise ValueError(f"write a reference, or a list of 1 to {_MOST_REFERENCES}")
        return tuple(_reference(one, known) for one in several)

    none: tuple[Reference, ...] = ()
    found = section.take("lineage", read, none)
    name = section.given("version")
    if not section.holds("lineage") and known.path is not None and isinstance(name, str):
        return (Reference(Registry.FILE, name),)
    return found


def _reference(value: object, known: RegistrySettings) -> Reference:
    found = reference(value, known.source)
    key = known.lacks(found.registry)
    if key is not None:
        raise ValueError(f"{found} is kept where this configuration does not say: give {key}")
    if found.registry is Registry.DELTA and found.name not in dict(known.delta):
        raise ValueError(f"registry.delta.tables has no {found.name!r}")
    return found


def _wandb(section: Section) -> RegistryServer | None:
    """Without a token nothing is asked: a run's reference is kept as it is."""
    part = section.section("wandb")
    found = _server(part, _WANDB, user="api")
    if found is None or found.token_env is None:
        if part.holds("url"):
            part.refuse("token_env", None, "runs are asked for with a token only: name its variable")
        return None
    return found


def _server(section: Section, url: str | None, user: str | None = None) -> RegistryServer | None:
    where = section.take("url", base_url, url)
    token_env = section.take("token_env", values.environment_variable, None)
    if user is None:
        user = section.take("user", _user, None)
    if user is not None and token_env is None and section.holds("user"):
        section.refuse("user", user, "give token_env too: the environment variable that holds the password")
    if where is None:
        if section.holds("token_env"):
            section.refuse("url", None, "this key is required: whose token that is")
        return None
    return RegistryServer(where, token_env, user)


def _user(value: object) -> str:
    user = values.text(200)(value)
    if ":" in user or not user.isascii():
        raise ValueError("a user's name is ASCII and has no colon")
    return user


def _table(value: object) -> str:
    if isinstance(value, str) and _TABLE.fullmatch(value) and ".." not in value:
        return value
    raise ValueError("a table's name is 1 to 128 letters, digits, . _ - and starts with a letter or digit")
