from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError
from settings import file
from settings.parse import digest, parse, problems

EXAMPLE = Path(__file__).with_name("contract.yaml")
TEXT = EXAMPLE.read_text(encoding="utf-8")


def refused(text: str | bytes) -> ConfigError:
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        parse(file.decode(content, "p.yaml"))
    return caught.value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*there is no such file"):
        file.load(tmp_path / "nowhere.yaml")


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is no file"):
        file.load(tmp_path)


def test_a_device_is_not_read() -> None:
    with pytest.raises(ConfigError, match="it is no file"):
        file.load(Path("/dev/zero"))


def test_a_path_that_no_file_can_have_is_refused() -> None:
    for path in (Path("a\0b"), Path("x" * 5000), EXAMPLE / "below-a-file"):
        with pytest.raises(ConfigError, match="cannot be read"):
            file.load(path)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert "endpoints" in str(refused(text)) or "empty" in str(refused(text))


def test_a_file_that_is_not_utf_8_is_refused_with_its_line() -> None:
    error = refused(b"workers: 1\nlisten: caf\xe9\n")
    assert (error.path, error.allowed) == ("p.yaml, line 2", "write the file in UTF-8")


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert file.decode(b"\xef\xbb\xbf" + TEXT.encode(), "p.yaml") == file.document(EXAMPLE)


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(TEXT + "#" * file.LARGEST)
    with pytest.raises(ConfigError, match="at most 1048576 bytes"):
        file.load(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("workers: 1\nlisten: [::1]:80\n", 2),
        ("a: 1\n b: 2\n", 2),
        ("a: 'open\n", 2),
        ("a: {b: 1\nc: 2\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\nb: \t- x\n", 2),
        ("a: *nothing\n", 1),
        ("a: 1\nb: @x\n", 2),
        ("a: 1\nb: x\x00\n", 2),
        ("a: 1\nb: !!int x\n", 2),
        ("a: 1\nb: 2\na: 3\n", 3),
        ("a: {x: 1, y: 2, x: 3}\n", 1),
        ("a: 1\n2: b\n", 2),
        ("a: 1\n[b]: 2\n", 2),
        ("a: 1\nb: !!python/object/apply:os.system [id]\n", 2),
        ("a: 1\nb: !!binary aGk=\n", 2),
        ("a: 1\nb: !mine {c: d}\n", 2),
        ("a: &x\n  b: *x\n", 1),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text: str, line: int) -> None:
    assert refused(text).path.startswith(f"p.yaml, line {line}")


def test_a_key_that_stands_twice_is_refused_with_both_lines() -> None:
    error = refused("workers: 1\nlisten: 127.0.0.1:1\nworkers: 2\n")
    assert (error.path, error.value) == ("p.yaml, line 3", "workers")
    assert "line 1" in error.allowed


def test_scalars_are_read_by_the_core_schema_of_yaml_1_2() -> None:
    text = (
        "[no, yes, on, Off, true, FALSE, null, ~, '1', 1, 010, 0x1f, 1_000, 1:30, 1e3, -.5, 2024-01-01, <<]"
    )
    assert file.decode(text.encode(), "p.yaml") == [
        *["no", "yes", "on", "Off", True, False, None, None, "1", 1, 10, 31],
        *["1_000", "1:30", 1000.0, -0.5, "2024-01-01", "<<"],
    ]


def test_labels_may_be_no_and_yes() -> None:
    text = TEXT.replace("output: predict_proba", "labels: [no, yes]")
    assert parse(file.decode(text.encode(), "p.yaml")).endpoints[0].compare.labels == ("no", "yes")


def test_aliases_are_fine_and_what_they_expand_to_is_bounded() -> None:
    shared = file.decode(b"a: &x {b: 1}\nc: *x\n", "p.yaml")
    assert shared == {"a": {"b": 1}, "c": {"b": 1}}
    wide = "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]\n" for i in range(1, 20))
    assert "in all" in str(refused("k0: &k0 [x, y]\n" + wide))
    long = "a: &a " + "x" * 500_000 + "\nb: [*a, *a, *a, *a, *a]\n"
    assert "in all" in str(refused(long))


def test_merge_keys_merge_nothing() -> None:
    assert file.decode(b"a: &x {b: 1}\nc: {<<: *x}\n", "p.yaml") == {"a": {"b": 1}, "c": {"<<": {"b": 1}}}
    assert "line 2" in refused("a: &x {b: 1}\nc: {!!merge <<: *x}\n").path


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
@pytest.mark.parametrize("depth", [40, 50_000])
def test_deep_nesting_is_refused_with_its_line(opening: str, depth: int) -> None:
    error = refused("a:\n " + opening * depth)
    assert (error.path[:14], "levels deep" in error.allowed) == ("p.yaml, line 2", True)


def test_reading_stops_at_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "MOST_VALUES", 100)
    assert file.decode(b"[" + b"1," * 98 + b"1]", "p.yaml") == [1] * 99
    error = refused("[" + "1,\n" * 300_000 + "]")
    assert (error.path[:16], "more than 100 keys and values" in error.allowed) == ("p.yaml, line 100", True)


@pytest.mark.parametrize(
    "text", ["a: " + "9" * 5000, "a: " + "9" * 90, "a: .inf", "a: .nan", "a: 1e999", '"\\ud800": 1']
)
def test_values_that_json_cannot_hold_are_refused(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize("escape", ['"\\Uffffffff"', '"\\U00110000"', '"\\x"', "%YAML 9.9\n---\n1"])
def test_escapes_that_name_no_character_are_refused(escape: str) -> None:
    assert refused(f"a: {escape}").path.startswith("p.yaml")


def test_comments_order_and_style_do_not_change_the_digest() -> None:
    document: Any = file.document(EXAMPLE)

    def shuffled(value: object, seed: random.Random) -> object:
        if isinstance(value, dict):
            items = list(value.items())
            seed.shuffle(items)
            return {key: shuffled(item, seed) for key, item in items}
        return [shuffled(item, seed) for item in value] if isinstance(value, list) else value

    expected = file.load(EXAMPLE).digest
    for number in range(5):
        other = shuffled(document, random.Random(number))
        for text in (
            json.dumps(other),
            json.dumps(other, indent=2) + "  # a comment",
            yaml.safe_dump(other, sort_keys=False),
            yaml.safe_dump(other, sort_keys=False, default_flow_style=True, width=40),
            yaml.safe_dump(other, sort_keys=False, default_style='"'),
        ):
            assert parse(file.decode(text.encode(), "p.yaml")).digest == expected
    assert len(expected) == 64


def test_a_changed_value_or_a_default_written_out_changes_the_digest() -> None:
    assert digest({"workers": 1}) != digest({"workers": 2})
    assert digest({"workers": 1}) != digest({})


def test_the_document_is_a_copy_of_what_was_given() -> None:
    document: Any = file.document(EXAMPLE)
    settings_ = parse(document)
    document["endpoints"]["rain"]["path"] = "/changed"
    assert settings_.document["endpoints"] != document["endpoints"]
    assert json.loads(json.dumps(settings_.document)) == settings_.document


yaml_like = st.text(st.sampled_from(list("abc:-?[]{},&*!|>'\"%@`#~<=\\xuU019. \n\t")), max_size=60)


@given(st.one_of(st.binary(max_size=80), yaml_like.map(str.encode)))
@settings(deadline=None, max_examples=400)
def test_any_bytes_give_a_document_or_a_configuration_error(content: bytes) -> None:
    with contextlib.suppress(ConfigError):
        problems(file.decode(content, "p.yaml"))


@given(st.integers(0, len(TEXT) - 1), yaml_like.filter(lambda text: len(text) < 5), st.integers(0, 5))
@settings(deadline=None, max_examples=100)
def test_a_damaged_example_loads_or_is_refused(place: int, inserted: str, deleted: int) -> None:
    damaged = TEXT[:place] + inserted + TEXT[place + deleted :]
    with contextlib.suppress(ConfigError):
        problems(file.decode(damaged.encode(), "p.yaml"))
