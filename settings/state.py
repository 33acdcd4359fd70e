"""Reading where durable state is kept: the URL of SQLite's file, or of a PostgreSQL server."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

DATABASE = "sqlite:///var/pointsman.db"

POSTGRES = "postgresql://"

_SQLITE = "sqlite:///"
_FILE = re.compile(r"sqlite:///[^?#:]*[^?#:/\s]")
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"/[^/?#\s]{1,63}")
_USER = re.compile(r"[^:@/?#\s]{1,63}")

_TLS = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FILES = ("passfile", "sslcert", "sslcrl", "sslkey", "sslrootcert")
_PARAMETERS = frozenset({*_FILES, "host", "sslmode", "target_session_attrs"})
_SECRETS = frozenset({"password", "sslpassword"})
_EXAMPLE = f"{POSTGRES}user@host/database"


def database(value: object) -> str:
    """The URL of a database, as it was given. Raises ValueError, without what stood for a password."""
    if isinstance(value, str) and value.isprintable():
        if value.startswith(_SQLITE):
            return _file(value)
        if value.startswith(POSTGRES):
            return _server(value)
    raise ValueError(f"write {DATABASE} or {_EXAMPLE}")


def named_files(url: str) -> tuple[tuple[str, str], ...]:
    """Parameter and path of every file that the URL of a server names."""
    return tuple(pair for pair in parse_qsl(urlsplit(url).query) if pair[0] in _FILES)


def _file(value: str) -> str:
    if _FILE.fullmatch(value):
        return value
    raise ValueError(
        f"write {_SQLITE}relative/path.db or {_SQLITE}/absolute/path.db, without ':', '?' and '#': "
        "kills are kept there, so that it has to be a file"
    )


def _server(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:  # its message may repeat a password
        raise ValueError(f"this is no URL: write {_EXAMPLE}") from None
    user, has_user, hosts = parts.netloc.rpartition("@")
    given = parse_qsl(parts.query, keep_blank_values=True)
    parameters = dict(given)
    if ":" in user or _SECRETS & parameters.keys():
        raise ValueError(
            "a password never stands in the configuration: put it into the environment variable PGPASSWORD, "
            "or into a file in the format of .pgpass and name that with ?passfile=/path"
        )
    if not has_user or not _USER.fullmatch(user):
        raise ValueError(f"name the user: {_EXAMPLE}")
    if parts.fragment or not _NAME.fullmatch(parts.path):
        raise ValueError(f"name one database: {_EXAMPLE}")
    if not hosts and not parameters.get("host"):
        raise ValueError(f"name the host: {_EXAMPLE}, or a socket's folder by ?host=/run/postgresql")
    for host in hosts.split(",") if hosts else ():
        found = _HOST.fullmatch(host)
        if found is None or not 1 <= int(found["port"] or 1) <= 65535:
            raise ValueError(f"host {host!r} is no host: write {_EXAMPLE}, or host:port, several with commas")
    _check_parameters(given)
    return value


def _check_parameters(given: list[tuple[str, str]]) -> None:
    for key, value in given:
        if key not in _PARAMETERS:
            raise ValueError(f"{key!r} is no parameter here; known: {', '.join(sorted(_PARAMETERS))}")
        if not value:
            raise ValueError(f"parameter {key} needs a value")
        if key == "sslmode" and value not in _TLS:
            raise ValueError(f"sslmode is one of {', '.join(_TLS)}")
        if key == "target_session_attrs" and value not in ("any", "primary", "read-write"):
            raise ValueError("target_session_attrs is any, primary or read-write: state is written")
    if len(dict(given)) < len(given):
        raise ValueError("a parameter is given twice")
