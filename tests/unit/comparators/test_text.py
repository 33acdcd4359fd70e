"""Distances between texts, and between the tools that chat answers call."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.comparison import Comparison
from comparators.kind import compare_one
from comparators.prediction import Prediction
from comparators.text import LONGEST, Text, word_distance
from domain.errors import ComparatorFault
from domain.observation import Divergence, Observation, Outcome
from domain.routing import Arm
from settings.schema import CompareSettings

KIND = Text(CompareSettings("text"))
WORDS = Text(CompareSettings("text", short=0))
CHAT = Comparison("openai", CompareSettings("text", ignore=("/tool_calls/*/id",)))


def texts(*values: str) -> Prediction:
    return Prediction("p", len(values), 1, None, values)


def compare(incumbent: str, candidate: str) -> Divergence:
    return compare_one(KIND, texts(incumbent), texts(candidate))


@pytest.mark.parametrize(
    ("incumbent", "candidate", "score", "flip", "reason"),
    [
        ("kitten", "kitten", 0.0, False, "same text"),
        # Levenshtein's textbook pair: three edits.
        ("kitten", "sitting", 3 / 7, True, "kitten → sitting, edit distance 0.4286"),
        ("rain", "", 1.0, True, "rain → '', edit distance 1"),
        ("a\nb", "a b", 1 / 3, True, "'a\\nb' → a b, edit distance 0.3333"),
        ("日本語", "日本", 1 / 3, True, "日本語 → 日本, edit distance 0.3333"),
    ],
)
def test_short_texts_by_letters(
    incumbent: str, candidate: str, score: float, flip: bool, reason: str
) -> None:
    found = compare(incumbent, candidate)
    assert (found.score, found.flip, found.reason) == (pytest.approx(score), flip, reason)


@pytest.mark.parametrize(
    ("incumbent", "candidate", "distance"),
    [
        # SQuAD's F1: precision 2/3, recall 1.
        ("Denver Broncos", "the Denver Broncos", 0.2),
        ("the cat sat", "The cat, sat!", 0.0),
        ("sat cat the", "the cat sat", 0.0),
        ("a a a", "a", 0.5),
        ("rain", "sun", 1.0),
        ("私は猫です", "私は犬です", 0.2),
        ("ราคา", "ราคา", 0.0),
        ("!!", "!!", 0.0),
        ("!!", "??", 1.0),
        ("", "word", 1.0),
    ],
)
def test_long_texts_by_words(incumbent: str, candidate: str, distance: float) -> None:
    assert word_distance(incumbent, candidate) == pytest.approx(distance)
    assert word_distance(candidate, incumbent) == pytest.approx(distance)


def test_the_longer_text_decides_how_both_are_compared() -> None:
    long = "word " * 50
    found = compare(long, long + "more")
    assert found.score == pytest.approx(1 / 101)
    assert found.reason.endswith("word overlap F1 0.9901")
    assert compare(long, "word").reason == compare_one(WORDS, texts(long), texts("word")).reason


def test_the_reason_shows_where_texts_part() -> None:
    reason = compare("x" * 150 + "rain", "x" * 150 + "sun").reason
    assert "rain" in reason
    assert "sun" in reason
    assert len(reason) < 150


def test_a_batch_has_a_finding_a_text() -> None:
    found = compare_one(KIND, texts("a", "b"), texts("a", "c"))
    assert [(row.score, row.flip) for row in found.rows] == [(0.0, False), (1.0, True)]
    found = compare_one(KIND, texts("a", "b"), texts("a"))
    assert (found.score, found.flip, found.reason) == (1.0, True, "2 texts → 1 text")


def test_what_is_no_text_is_the_fault_of_its_arm() -> None:
    for trusted, tried, arm in (
        (Prediction("p", 1, 1, (1.0,)), texts("a"), Arm.INCUMBENT),
        (texts("a"), Prediction("p", 1, 1, (1.0,)), Arm.CANDIDATE),
        (texts("a"), Prediction("p", 1, 1, structure={"a": 1}), Arm.CANDIDATE),
        (texts("a"), texts("a" * (LONGEST + 1)), Arm.CANDIDATE),
    ):
        with pytest.raises(ComparatorFault) as caught:
            compare_one(KIND, trusted, tried)
        assert caught.value.arm is arm


class Meaning:
    """Knows that a dog is a hound."""

    def distance(self, incumbent: str, candidate: str) -> float:
        if "nonsense" in candidate:
            return math.nan
        return 0.0 if {incumbent, candidate} == {"dog", "hound"} else 0.75


def test_a_scorer_that_knows_meaning_takes_the_place_of_letters() -> None:
    kind = Text(CompareSettings("text"), Meaning())
    assert compare_one(kind, texts("dog"), texts("hound")).score == 0.0
    found = compare_one(kind, texts("dog"), texts("dot"))
    assert (found.score, found.flip, found.reason) == (0.75, True, "dog → dot, distance in meaning 0.75")
    assert compare_one(kind, texts("dog"), texts("nonsense")).score == 1.0


def test_what_the_server_says_of_its_own_confidence_is_kept() -> None:
    sure = texts("a")._replace(confidences=(0.9,))
    found = compare_one(KIND, sure, texts("a")._replace(confidences=(0.5,)))
    assert (found.incumbent_confidence, found.candidate_confidence) == (0.9, 0.5)
    both = texts("a", "b")._replace(confidences=(0.25, 0.75))
    found = compare_one(KIND, both, both)
    assert (found.incumbent_confidence, found.rows[1].candidate_confidence) == (0.5, 0.75)


def chat(content: str | None, *calls: tuple[str, object]) -> Observation:
    message: dict[str, object] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{id(content)}_{at}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments, indent=at)},
            }
            for at, (name, arguments) in enumerate(calls)
        ]
    body = {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    return Observation("v", Outcome.ANSWERED, 200, 0.1, json.dumps(body).encode())


def test_tool_calls_are_compared_as_trees() -> None:
    first = chat(None, ("weather", {"city": "Bern", "days": 3}))
    assert CHAT.compare(first, chat(None, ("weather", {"days": 3, "city": "Bern"}))).score == 0.0
    found = CHAT.compare(first, chat(None, ("weather", {"city": "Basel", "days": 3})))
    assert found.flip
    assert 0.0 < found.score < 1.0
    assert found.paths == ("/tool_calls/*/arguments/city",)
    assert found.reason.startswith("tool calls: 1 of 3 values differs, first /tool_calls/0/arguments/city")


def test_a_call_that_only_one_arm_makes_is_a_flip() -> None:
    found = CHAT.compare(chat("It rains."), chat("It rains.", ("weather", {"city": "Bern"})))
    assert (found.score, found.flip) == (1.0, True)
    assert "is new" in found.reason


def test_text_beside_equal_calls_is_still_compared() -> None:
    call = ("weather", {"city": "Bern"})
    found = CHAT.compare(chat("Let me look.", call), chat("Wait a moment.", call))
    assert found.flip
    assert "edit distance" in found.reason


TEXTS = st.text(max_size=40) | st.lists(st.sampled_from(["rain", "sun", "wind"]), max_size=8).map(" ".join)


@settings(deadline=None)
@given(TEXTS, TEXTS, st.sampled_from([KIND, WORDS]))
def test_the_score_is_symmetric_and_within_its_bounds(incumbent: str, candidate: str, kind: Text) -> None:
    there = compare_one(kind, texts(incumbent), texts(candidate))
    back = compare_one(kind, texts(candidate), texts(incumbent))
    assert 0.0 <= there.score <= 1.0
    assert (there.score, there.flip) == (back.score, back.flip)
    assert there.reason.isprintable()
    same = compare_one(kind, texts(incumbent), texts(str(incumbent)))
    assert (same.score, same.flip) == (0.0, False)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["rain", "sun", "wind"]), min_size=1, max_size=8), st.integers(0, 7))
def test_more_strange_words_never_score_lower(words: list[str], strange: int) -> None:
    fewer, more = list(words), list(words)
    for at in range(min(strange, len(words) - 1)):
        fewer[at] = more[at] = f"strange{at}"
    more[-1] = "stranger"
    text = " ".join(words)
    assert word_distance(text, " ".join(fewer)) <= word_distance(text, " ".join(more))


def test_people_see_text_and_calls() -> None:
    assert KIND.describe(texts("a")) == "a"
    assert CHAT.describe(chat("x", ("f", {"a": 1}))) == {
        "text": "x",
        "tool_calls": [{"name": "f", "arguments": {"a": 1}}],
    }
    assert len(str(KIND.describe(texts("x" * 5000)))) == 2000
