"""What replicas share, as configured: every form of URL, and no secret anywhere."""

from __future__ import annotations

import pytest

from domain.errors import ConfigError
from settings.parse import parse
from settings.shared import RedisSettings
from settings.sharing import password, redis
from settings.surroundings import shared_state

RAIN = {
    "path": "/predict",
    "protocol": "json",
    "unit": "header:x-user-id",
    "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
    "compare": {"kind": "regression"},
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", RedisSettings("server", (("h", 6379),))),
        ("redis://[::1]:7/3", RedisSettings("server", (("::1", 7),), database=3)),
        ("rediss://me@h:7", RedisSettings("server", (("h", 7),), user="me", tls=True)),
        ("unix:///run/redis.sock?db=2", RedisSettings("unix", path="/run/redis.sock", database=2)),
        (
            "redis+sentinel://a:1,b/main/4",
            RedisSettings("sentinel", (("a", 1), ("b", 26379)), master="main", database=4),
        ),
        ("rediss+cluster://a,b:2", RedisSettings("cluster", (("a", 6379), ("b", 2)), tls=True)),
    ],
)
def test_every_form_of_a_url_is_read(url: str, expected: RedisSettings) -> None:
    assert redis(url) == expected


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://h", "write redis://"),
        ("redis://", "write redis://"),
        (7, "write redis://"),
        ("redis://h:0", "no HOST:PORT"),
        ("redis://h:99999", "no HOST:PORT"),
        ("redis://a,b", "several addresses"),
        ("redis://h/main", "number of the database"),
        ("redis+sentinel://a:1", "name the server"),
        ("redis+cluster://a/1", "database 0 only"),
        ("redis://u:secret@h", "redis_password_env"),
        ("redis://:secret@h", "redis_password_env"),
        ("unix://relative", "write redis://"),
        ("redis://h?x=1", "write redis://"),
        ("redis://h\n", "write redis://"),
    ],
)
def test_what_is_no_url_of_a_redis_is_refused_with_the_way_out(url: object, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        redis(url)


def _parsed(**state: object) -> object:
    return parse({"state": state, "endpoints": {"rain": RAIN}}).sharing


@pytest.mark.parametrize(
    ("state", "key"),
    [
        ({"redis": "redis://h", "redis_ca": "ca.pem"}, "state.redis_ca"),
        ({"redis": "redis://h", "redis_password_env": "no name"}, "state.redis_password_env"),
        ({"replica": "a b"}, "state.replica"),
        ({"redis": "redis://user:secret@h"}, "state.redis"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key_and_shows_no_password(
    state: dict[str, object], key: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        _parsed(**state)
    assert str(refused.value).startswith(f"{key}: ")
    assert ":secret@" not in str(refused.value)


def test_what_is_for_a_redis_that_is_not_configured_is_said_to_have_no_effect() -> None:
    state = {"redis_ca": "ca.pem", "redis_password_env": "SECRET"}
    found = parse({"state": state, "endpoints": {"rain": RAIN}})
    assert found.inert == ("state.redis_ca", "state.redis_password_env")
    assert found.sharing.redis is None


def test_what_it_needs_is_looked_for_before_anything_starts() -> None:
    settings = RedisSettings("server", (("h", 1),), password_env="SECRET")
    with pytest.raises(ConfigError, match=r"state\.redis_password_env"):
        shared_state(settings, {})
    shared_state(settings, {"SECRET": "x"})
    assert password(settings, {"SECRET": "x"}) == "x"
    with pytest.raises(ConfigError, match=r"state\.redis_ca"):
        shared_state(RedisSettings("server", (("h", 1),), tls=True, ca="/not/there.pem"), {})


def test_a_url_shown_to_people_holds_no_user() -> None:
    assert str(redis("rediss://me@h:7")) == "rediss://h:7"
    assert str(redis("redis+sentinel://a:1,b/main/4")) == "redis+sentinel://a:1,b:26379/main"
