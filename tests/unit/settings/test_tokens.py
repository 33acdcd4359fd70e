"""Tokens: written once, known by their digest, in a file that is replaced whole."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError
from domain.role import ROLES, Role
from settings import token_file, tokens
from settings.tokens import RESERVED, Token, decode, encode, holder, looked_up, written

SECRET = bytes(range(32))
ADA = Token("0123456789ab", "ada", tokens.digest(SECRET), Role.OPERATOR, ("rain",), 1.0, expires=100.0)


def test_a_token_is_known_by_all_of_it_and_by_nothing_less() -> None:
    known = {ADA.id: ADA}
    text = written(ADA, SECRET)
    assert looked_up(known, text, 50.0) is ADA
    for other in (
        text[:-1], text + "A", text.upper(), f" {text}", text.replace("pmn", "pmx"), "",
        written(replace(ADA, id="ba9876543210"), SECRET), written(ADA, bytes(32)), ADA.digest,
        f"pmn_{ADA.id}_{ADA.digest[:43]}",
    ):  # fmt: skip
        assert looked_up(known, other, 50.0) is None
    assert looked_up(known, text, 100.0) is None
    assert looked_up({ADA.id: replace(ADA, revoked=2.0)}, text, 50.0) is None


def test_a_token_has_256_random_bits_and_what_is_kept_does_not_hold_them() -> None:
    assert 8 * tokens.SECRET_BYTES >= 128
    kept = encode({ADA.id: ADA}).decode()
    assert written(ADA, SECRET).rpartition("_")[2] not in kept


_names = st.from_regex(r"\A[a-z0-9][a-z0-9._@+-]{0,20}\Z").filter(lambda name: name not in RESERVED)
_times = st.none() | st.floats(0, 1e11)
_tokens = st.builds(
    Token,
    id=st.from_regex(r"\A[a-f0-9]{12}\Z"),
    name=_names,
    digest=st.from_regex(r"\A[a-f0-9]{64}\Z"),
    role=st.sampled_from(list(ROLES.values())),
    endpoints=st.lists(st.sampled_from(["*", "rain", "a.b-c_d"]), min_size=1, max_size=3).map(tuple),
    created=st.floats(0, 1e11),
    expires=_times,
    revoked=_times,
    person=st.just("") | _names,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(_tokens, max_size=5))
def test_what_is_written_is_read_back(found: list[Token]) -> None:
    known = {one.id: one for one in found}
    assert decode(encode(known), "tokens.json") == known


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "x"), ("id", None), ("name", "guard"), ("name", "a b"), ("name", 7),
        ("sha256", "secret-canary"), ("role", "root"), ("role", ["admin"]), ("endpoints", []),
        ("endpoints", "rain"), ("endpoints", ["a/b"]), ("endpoints", [None]), ("created", "now"),
        ("expires", True), ("expires", -1), ("expires", 1e300), ("revoked", "no"), ("person", "operator"),
        ("more", 1),
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused_by_its_key_and_not_quoted(key: str, value: object) -> None:
    document = json.loads(encode({ADA.id: ADA}))
    document["tokens"][0][key] = value
    with pytest.raises(ConfigError) as refused:
        decode(json.dumps(document).encode(), "tokens.json")
    assert "tokens[0]" in str(refused.value)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"version": 2}', b'{"version": 1}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_tokens_file_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"tokens\.json"):
        decode(content, "tokens.json")


def test_an_id_stands_once() -> None:
    document = json.loads(encode({ADA.id: ADA}))
    document["tokens"] *= 2
    with pytest.raises(ConfigError, match="once"):
        decode(json.dumps(document).encode(), "tokens.json")


@pytest.mark.parametrize("name", ["", " ", "a\n", "Ünal", "-x", "a" * 65, "operator", "guard", "Stranger"])
def test_nobody_is_called_like_an_actor_of_the_audit_chain(name: str) -> None:
    with pytest.raises(ConfigError):
        holder(name)


def test_a_file_that_others_may_write_gives_nobody_a_role(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tokens.json"
    with token_file.changing(path) as found:
        found[ADA.id] = ADA
    assert path.stat().st_mode & 0o777 == 0o600
    assert token_file.read(path) == {ADA.id: ADA}
    path.chmod(0o640)  # read by a group: digests only
    assert token_file.read(path) == {ADA.id: ADA}
    for mode in (0o620, 0o602, 0o666):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="chmod 600"):
            token_file.read(path)


def _fail(path: Path) -> None:
    with token_file.changing(path) as found:
        found.clear()
        raise ZeroDivisionError


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    with token_file.changing(path) as found:
        found[ADA.id] = ADA
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        _fail(path)
    assert path.read_bytes() == before
    path.write_text("{")
    with pytest.raises(ConfigError), token_file.changing(path):
        pytest.fail("a file that cannot be read is not replaced")


def test_writers_at_the_same_time_lose_nothing_and_readers_never_see_half(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    with token_file.changing(path):
        pass

    def add(number: int) -> None:
        token_file.read(path)
        with token_file.changing(path) as found:
            one = replace(ADA, id=f"{number:012x}", name=f"n{number}")
            found[one.id] = one

    with ThreadPool(4) as pool:
        pool.map(add, range(20))
    assert len(token_file.read(path)) == 20
    assert sorted(one.name for one in tmp_path.iterdir()) == ["tokens.json", "tokens.json.lock"]


def test_what_is_not_there_or_no_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pointsman token create"):
        token_file.read(tmp_path / "none.json")
    with pytest.raises(ConfigError):
        token_file.read(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    descriptor = os.open(pipe, os.O_RDWR)
    with pytest.raises(ConfigError, match="no file"):
        token_file.read(pipe)
    os.close(descriptor)
