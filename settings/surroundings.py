"""What a configuration needs around it: secrets in environment variables, and packages that are extras.

It is looked at before anything is started: a gateway that could not follow its flags does not begin. A
secret is never part of an error.
"""

from __future__ import annotations

import importlib.util
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from domain.errors import ConfigError
from settings import sharing, signing, token_file
from settings.access import AuthSettings
from settings.drift import LEARNED, LINEAGE
from settings.notifications import web_url
from settings.receivers import Destination, Receiver, ReceiverKind, Retraining, TrainerKind
from settings.registries import RegistryServer, RegistrySettings
from settings.schema import EndpointSettings, OpenFeatureSettings, Settings, UnleashSettings
from settings.shared import RedisSettings
from settings.sinks import Sending
from settings.state import POSTGRES, named_files

_TOKEN = re.compile(r"[^:\s]+:(?P<environment>[^.\s]+)\.[^\s]+")
_HEADER_VALUE = re.compile(r"[!-~]{1,1024}")
_SDK = "UnleashClient"
_REDIS = "redis"
_POSTGRES = ("asyncpg", "greenlet")
_PARQUET = "pyarrow"
_DELTA = "deltalake"
_METRICS = "sklearn"
_PROVIDERS = {
    "ofrep": (),
    "flagd": ("openfeature", "openfeature.contrib.provider.flagd"),
    "launchdarkly": ("openfeature", "ld_openfeature"),
    "growthbook": ("openfeature", "growthbook_openfeature_provider"),
}


def demand(settings: Settings, environment: Mapping[str, str]) -> None:
    """Raises ConfigError when a secret, a file or a package that `settings` need is missing."""
    for endpoint in settings.endpoints:
        drift = endpoint.guards.drift
        if drift is not None and drift.reference is not None:
            table(f"endpoints.{endpoint.name}.guards.drift.reference", drift.reference)
        if endpoint.drift.reference not in (LEARNED, LINEAGE):
            table(f"endpoints.{endpoint.name}.drift.reference", endpoint.drift.reference)
        gates(endpoint)
    if settings.database.startswith(POSTGRES):
        database_server(settings.database)
    if settings.sharing.redis is not None:
        shared_state(settings.sharing.redis, environment)
    sending(settings.log.sending, environment)
    registries(settings.registry, environment)
    receivers(settings, environment)
    access(settings.auth, environment)
    if settings.openfeature is not None:
        platform(settings.openfeature, environment)
    server = settings.unleash
    if server is None:
        return
    backend_token(server, environment)
    admin_token(server, environment)
    if importlib.util.find_spec(_SDK) is None:
        raise ConfigError("flags.source", "unleash", "install it with pip install 'pointsman[unleash]'")


def access(auth: AuthSettings, environment: Mapping[str, str]) -> str:
    """The secret at the issuer, "" for none.

    Raises ConfigError when it, the tokens file or the admin port's certificate is missing or unfit.
    """
    if auth.tokens_file is not None:
        token_file.read(Path(auth.tokens_file))
    if auth.certificate is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(auth.certificate, auth.key, "")
        except (OSError, ssl.SSLError) as error:
            allowed = f"a certificate and its key, PEM, that belong together ({error})"
            raise ConfigError("admin_tls", f"{auth.certificate}, {auth.key}", allowed) from error
    if auth.oidc is None or auth.oidc.client_secret_env is None:
        return ""
    return _secret("auth.oidc.client_secret_env", auth.oidc.client_secret_env, environment)


def gates(endpoint: EndpointSettings) -> None:
    """Raises ConfigError when a package that a gate of `endpoint` needs is missing."""
    evaluation, drift = endpoint.gates.evaluation, endpoint.gates.drift
    where = f"endpoints.{endpoint.name}.gates"
    install = "with pip install 'pointsman[gates]'"
    if evaluation is not None and importlib.util.find_spec(_METRICS) is None:
        key, allowed = f"{where}.evaluation.metric", f"metrics are scikit-learn's: install it {install}"
        raise ConfigError(key, evaluation.metric, allowed)
    named = {
        "evaluation.data": None if evaluation is None else evaluation.data,
        "drift.data": None if drift is None else drift.data,
        "drift.against": None if drift is None else drift.against,
    }
    for key, path in named.items():
        parquet = path is not None and path.endswith((".parquet", ".pq"))
        if parquet and importlib.util.find_spec(_PARQUET) is None:
            raise ConfigError(f"{where}.{key}", path, f"install what reads Parquet {install}")


def database_server(url: str) -> None:
    """Raises ConfigError when a file that the URL names cannot be used, or the package is missing."""
    for parameter, path in named_files(url):
        if not (os.path.isfile(path) and os.access(path, os.R_OK)):
            allowed = f"name a file that this user may read; {parameter} is relative to the working directory"
            raise ConfigError("state.database", path, allowed)
        if parameter == "passfile" and os.stat(path).st_mode & 0o077:
            allowed = "others may read the file of passwords, so that it would not be used: chmod 600"
            raise ConfigError("state.database", path, allowed)
    if any(importlib.util.find_spec(package) is None for package in _POSTGRES):
        raise ConfigError("state.database", POSTGRES, "install it with pip install 'pointsman[postgres]'")


def shared_state(redis: RedisSettings, environment: Mapping[str, str]) -> None:
    """Raises ConfigError when the password, the file of authorities, or the package is missing."""
    sharing.password(redis, environment)
    if redis.ca is not None and not (os.path.isfile(redis.ca) and os.access(redis.ca, os.R_OK)):
        raise ConfigError("state.redis_ca", redis.ca, "name a PEM file that this user may read")
    if importlib.util.find_spec(_REDIS) is None:
        raise ConfigError("state.redis", str(redis), "install it with pip install 'pointsman[redis]'")


def sending(sinks: Sending, environment: Mapping[str, str]) -> None:
    """Raises ConfigError when a secret, a file or a package for sending records on is missing."""
    stream, archive, kafka, tracing = sinks.stream, sinks.archive, sinks.kafka, sinks.tracing
    if stream is not None:
        sharing.password(stream.redis, environment, "log.redis.password_env")
        _authorities("log.redis.ca", stream.redis.ca)
        if not _is_there(_REDIS):
            raise ConfigError(
                "log.redis.url", str(stream.redis), "install it with pip install 'pointsman[redis]'"
            )
    if archive is not None:
        scheme = archive.url.split("://")[0]
        missing = [name for name in (_PARQUET, "fsspec") if not _is_there(name)]
        if missing:
            allowed = f"install it with pip install 'pointsman[archive]' (no {missing[0]})"
            raise ConfigError("log.archive.url", archive.url, allowed)
        _storage(scheme, archive.url)
    if kafka is not None:
        if kafka.password_env is not None and not environment.get(kafka.password_env):
            allowed = "the environment has no such variable; put the password into it"
            raise ConfigError("log.kafka.password_env", kafka.password_env, allowed)
        _authorities("log.kafka.ca", kafka.ca)
        if not _is_there("aiokafka"):
            allowed = "install it with pip install 'pointsman[kafka]'"
            raise ConfigError("log.kafka.servers", list(kafka.servers), allowed)
    if tracing is not None:
        if tracing.token_env is not None:
            _secret("tracing.token_env", tracing.token_env, environment)
        for package in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
            if not _is_there(package):
                allowed = f"install it with pip install 'pointsman[tracing]' (no {package})"
                raise ConfigError("tracing.url", tracing.url, allowed)


def _authorities(key: str, path: str | None) -> None:
    if path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise ConfigError(key, path, "name a PEM file that this user may read")


def _storage(scheme: str, url: str) -> None:
    from fsspec import get_filesystem_class

    try:
        get_filesystem_class(scheme)
    except ValueError:
        allowed = "fsspec knows no such storage: use s3://, gs://, abfs:// or another that it has"
        raise ConfigError("log.archive.url", url, allowed) from None
    except ImportError as error:
        raise ConfigError("log.archive.url", url, f"its client is missing: {error}") from error


def registries(registry: RegistrySettings, environment: Mapping[str, str]) -> None:
    """Raises ConfigError when a token, or the package for tables, is missing."""
    for name, server in (
        ("mlflow", registry.mlflow),
        ("huggingface", registry.huggingface),
        ("wandb", registry.wandb),
    ):
        if server is not None:
            registry_token(name, server, environment)
    if registry.delta and importlib.util.find_spec(_DELTA) is None:
        raise ConfigError(
            "registry.delta.tables", dict(registry.delta), "install it with pip install 'pointsman[delta]'"
        )


def registry_token(name: str, server: RegistryServer, environment: Mapping[str, str]) -> str | None:
    """The token or password for `registry.NAME`, None when none is configured. Raises ConfigError."""
    if server.token_env is None:
        return None
    return _secret(f"registry.{name}.token_env", server.token_env, environment)


def receivers(settings: Settings, environment: Mapping[str, str]) -> None:
    """Raises ConfigError when a URL, key or token for a receiver or a training is missing or is none."""
    for receiver in settings.notifications:
        receiver_secrets(receiver, environment)
    for endpoint in settings.endpoints:
        if endpoint.retrain is not None:
            training_secrets(endpoint.name, endpoint.retrain, environment)


def receiver_secrets(receiver: Receiver, environment: Mapping[str, str]) -> tuple[str, str]:
    """The URL, and the key or "". Raises ConfigError."""
    key = f"notifications.{receiver.name}"
    url = _web_url(key, receiver.destination, environment)
    if receiver.secret_env is None:
        return url, ""
    if receiver.kind is ReceiverKind.WEBHOOK:
        return url, _signing_key(f"{key}.secret_env", receiver.secret_env, environment)
    return url, _secret(f"{key}.secret_env", receiver.secret_env, environment)


def training_secrets(name: str, retrain: Retraining, environment: Mapping[str, str]) -> tuple[str, str]:
    """The URL, and the key or token, for `retrain` of endpoint `name`. Raises ConfigError."""
    key = f"endpoints.{name}.retrain"
    url = _web_url(key, retrain.destination, environment)
    if retrain.kind is TrainerKind.WEBHOOK:
        return url, _signing_key(f"{key}.secret_env", retrain.secret_env or "", environment)
    return url, _secret(f"{key}.token_env", retrain.token_env or "", environment)


def _web_url(key: str, destination: Destination, environment: Mapping[str, str]) -> str:
    if destination.url is not None:
        return destination.url
    variable = destination.url_env or ""
    url = environment.get(variable, "")
    if not url:
        allowed = "the environment has no such variable; put the URL into it"
        raise ConfigError(f"{key}.url_env", variable, allowed)
    try:
        return web_url(url)
    except ValueError as error:
        raise ConfigError(f"{key}.url_env", variable, f"what the variable holds is no URL: {error}") from None


def _signing_key(key: str, variable: str, environment: Mapping[str, str]) -> str:
    secret = environment.get(variable, "")
    if not secret:
        raise ConfigError(key, variable, "the environment has no such variable; put the key into it")
    try:
        signing.keys(secret)
    except ValueError as error:
        raise ConfigError(key, variable, f"what the variable holds is no signing key: {error}") from None
    return secret


def table(key: str, path: str) -> None:
    """Raises ConfigError when the CSV or Parquet file at `path`, named by `key`, cannot be read here."""
    if not os.path.isfile(path):
        raise ConfigError(key, path, "there is no such file; paths are relative to the working directory")
    if not os.access(path, os.R_OK):
        raise ConfigError(key, path, "the file may not be read by this user")
    if path.endswith((".parquet", ".pq")) and importlib.util.find_spec(_PARQUET) is None:
        raise ConfigError(key, path, "install what reads Parquet with pip install 'pointsman[gates]'")


def platform(flags: OpenFeatureSettings, environment: Mapping[str, str]) -> None:
    """Raises ConfigError when the key of the flag platform, or the package that asks it, is missing."""
    platform_token(flags, environment)
    for package in _PROVIDERS.get(flags.provider, ("openfeature",)):
        if not _is_there(package):
            install = "install it with pip install 'pointsman[openfeature]'"
            raise ConfigError("flags.openfeature.provider", flags.provider, f"{install} (no {package})")


def platform_token(flags: OpenFeatureSettings, environment: Mapping[str, str]) -> str | None:
    """The flag platform's key, None when none is configured. Raises ConfigError."""
    if flags.token_env is None:
        return None
    return _secret("flags.openfeature.token_env", flags.token_env, environment)


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


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
