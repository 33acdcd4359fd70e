"""Which URLs of databases are taken, and that no secret is ever among them or repeated."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError
from settings import state
from settings.parse import parse


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///var/pointsman.db",
        "sqlite:////var/lib/pointsman.db",
        "postgresql://ada@host/state",
        "postgresql://ada@host:6432/state",
        "postgresql://ada@[::1]:5432/state",
        "postgresql://ada@one,two:5433/state?target_session_attrs=read-write",
        "postgresql://ada@/state?host=/run/postgresql",
        "postgresql://ada%40corp@host/state?sslmode=verify-full&sslrootcert=/etc/ca.pem&passfile=/run/secrets/pg",
    ],
)
def test_a_url_is_kept_as_it_was_written(url: str) -> None:
    assert state.database(url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (7, "postgresql://user@host/database"),
        ("mysql://ada@host/state", "postgresql://user@host/database"),
        ("postgres://ada@host/state", "postgresql://user@host/database"),
        ("postgresql+asyncpg://ada@host/state", "postgresql://user@host/database"),
        ("postgresql://ada@host/st\nate", "postgresql://user@host/database"),
        ("postgresql://ada:hunter2@host/state", "PGPASSWORD"),
        ("postgresql://:hunter2@host/state", "PGPASSWORD"),
        ("postgresql://ada@host/state?password=hunter2", "PGPASSWORD"),
        ("postgresql://ada@host/state?sslpassword=hunter2", "passfile"),
        ("postgresql://host/state", "name the user"),
        ("postgresql://@host/state", "name the user"),
        ("postgresql://ada@host", "name one database"),
        ("postgresql://ada@host/", "name one database"),
        ("postgresql://ada@host/a/b", "name one database"),
        ("postgresql://ada@host/state#x", "name one database"),
        ("postgresql://ada@/state", "name the host"),
        ("postgresql://ada@ho st/state", "no host"),
        ("postgresql://ada@host:0/state", "no host"),
        ("postgresql://ada@host:65536/state", "no host"),
        ("postgresql://ada@one,,two/state", "no host"),
        ("postgresql://ada@host/state?sslmode=maybe", "sslmode is one of"),
        ("postgresql://ada@host/state?sslmode=", "needs a value"),
        ("postgresql://ada@host/state?sslmode=require&sslmode=disable", "given twice"),
        ("postgresql://ada@host/state?options=-cfsync%3Doff", "no parameter here"),
        ("postgresql://ada@host/state?target_session_attrs=standby", "state is written"),
    ],
)
def test_what_is_no_database_is_refused_with_the_way_out(url: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        state.database(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:hunter2@host/state",
        "postgresql://ada@host/state?sslmode=require&password=hunter2",
        "postgresql://ada@host/state?sslpassword=hunter2&sslmode=require",
        "postgresql://ada:hunter2℀@host/state",
        "postgresql://ada:hunter2@[host/state",
    ],
)
def test_a_password_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse({"state": {"database": url}})
    assert "hunter2" not in str(refused.value) + repr(refused.value.value)
    assert refused.value.path == "state.database"


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["", "sqlite:///", "postgresql://", "postgresql://ada@"]))
def test_any_text_is_a_url_or_refused_by_a_value_error(text: str, prefix: str) -> None:
    with suppress(ValueError):
        assert state.database(prefix + text) == prefix + text
