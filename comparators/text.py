"""How far two texts are apart.

Short texts: the Levenshtein distance (letters inserted, deleted or replaced) by the length of the longer one.
Long texts: 1 − F1 of their words, the measure of SQuAD (Rajpurkar et al. 2016, §6.1): the harmonic mean of
the share of the candidate's words that the incumbent has and of the incumbent's that the candidate has,
each word as often as it occurs, whatever the order and the case. A letter of a script that puts no spaces
between words counts as a word. Neither knows what a text means; a scorer that does (`TextScorer`) takes the
place of both.

The pair is a flip when the distance of any text is beyond the tolerance. Tool calls of a chat answer are
compared as JSON trees: the score is then the larger of the text's and the tree's, and any call that differs
is a flip.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from rapidfuzz.distance import Levenshtein

from comparators.kind import Finding, PredictionPair, RowDistance, compare_rows
from comparators.prediction import Prediction, Unreadable
from comparators.readers.scalars import noun
from comparators.trees import TreeDistance
from comparators.wording import clipped, counted, number, plainly, shortened
from settings.schema import CompareSettings

TOLERANCE = 0.3

LONGEST = 250_000
"""Characters of a text that is compared: some hundred pages."""

_WORD = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|"
    r"[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+"
)
_SHOWN = 2000
_TOLD = 40
_ROWS_SHOWN = 20


class TextScorer(Protocol):
    """Knows how far apart what two texts mean is, for instance by their embeddings."""

    def distance(self, incumbent: str, candidate: str) -> float:
        """In [0, 1]; 0 for the same meaning. Pure: the same for the same texts."""
        ...


class _Answer(NamedTuple):
    """One answer: its text, and the tools that it calls (an empty list when it calls none)."""

    text: str
    calls: list[object]


class Text:
    """Compares predictions as texts."""

    def __init__(self, settings: CompareSettings, scorer: TextScorer | None = None) -> None:
        self._short = settings.short
        self._tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance
        self._scorer = scorer
        self._calls = TreeDistance(settings.ignore, settings.tolerances, 0.0)

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """A fault for the arm whose answer holds no text."""
        return [compare_rows(pair, "text", _answers, self._distance) for pair in pairs]

    def describe(self, prediction: Prediction) -> object:
        """A text or `{text, tool_calls}`, or a list of them. Raises Unreadable."""
        described: list[object] = []
        for answer in _answers(prediction):
            text = clipped(answer.text, _SHOWN)
            described.append({"text": text, "tool_calls": answer.calls} if answer.calls else text)
        return described[0] if len(described) == 1 else shortened(described, _ROWS_SHOWN)

    def _distance(self, incumbent: _Answer, candidate: _Answer) -> RowDistance:
        score, reason = self._text_distance(incumbent.text, candidate.text)
        flip = score > self._tolerance
        if not incumbent.calls and not candidate.calls:
            return RowDistance(score, flip, reason)
        tree = self._calls.between({"tool_calls": incumbent.calls}, {"tool_calls": candidate.calls})
        if tree.flip:
            reason = f"tool calls: {tree.reason}"
        elif not score:
            reason = f"same text and {counted(len(incumbent.calls), 'tool call')}"
        return RowDistance(max(score, tree.score), flip or tree.flip, reason, tree.paths)

    def _text_distance(self, incumbent: str, candidate: str) -> tuple[float, str]:
        if incumbent == candidate:
            return 0.0, "same text"
        if self._scorer is not None:
            score = self._scorer.distance(incumbent, candidate)
            if not 0.0 <= score <= 1.0:
                score = 1.0 if math.isnan(score) else min(1.0, max(0.0, score))
            return score, f"{_change(incumbent, candidate)}, distance in meaning {number(score)}"
        if len(incumbent) <= self._short and len(candidate) <= self._short:
            score = Levenshtein.normalized_distance(incumbent, candidate)
            return score, f"{_change(incumbent, candidate)}, edit distance {number(score)}"
        score = word_distance(incumbent, candidate)
        return score, f"{_change(incumbent, candidate)}, word overlap F1 {number(1.0 - score)}"


def word_distance(incumbent: str, candidate: str) -> float:
    """1 − F1 of the words of two texts, in [0, 1]; texts without any word are equal or wholly different."""
    trusted, tried = Counter(_words(incumbent)), Counter(_words(candidate))
    count = trusted.total() + tried.total()
    if not count:
        return float(incumbent != candidate)
    return 1.0 - 2.0 * (trusted & tried).total() / count


def _words(text: str) -> Iterator[str]:
    return (found.group() for found in _WORD.finditer(text.casefold()))


def _change(incumbent: str, candidate: str) -> str:
    """The texts from shortly before where they part."""
    same = next(
        (at for at, (a, b) in enumerate(zip(incumbent, candidate, strict=False)) if a != b),
        min(len(incumbent), len(candidate)),
    )
    start = max(0, same - _TOLD // 2)
    parts = [
        ("…" if start else "") + clipped(text[start : start + 2 * _TOLD], _TOLD)
        for text in (incumbent, candidate)
    ]
    return " → ".join(map(plainly, parts))


def _answers(prediction: Prediction) -> list[_Answer]:
    labels, answers = prediction.labels, _calls(prediction)
    if answers is None and labels is None:
        what = noun(prediction.structure) if not prediction.has_numbers else "numbers"
        raise Unreadable(f"{prediction.name} is {what} where text is needed")
    if answers is None:
        answers = [_Answer(text, []) for text in labels or ()]
    elif labels is not None and len(labels) == len(answers):
        answers = [answer._replace(text=text) for text, answer in zip(labels, answers, strict=True)]
    longest = max(len(answer.text) for answer in answers)
    if longest > LONGEST:
        raise Unreadable(f"{prediction.name} has {longest} characters; up to {LONGEST} are compared")
    return answers


def _calls(prediction: Prediction) -> list[_Answer] | None:
    """What a chat answer's messages say and call; None when the structure is no chat answer."""
    messages = prediction.structure if prediction.rows > 1 else [prediction.structure]
    if not isinstance(messages, list) or not any(
        isinstance(message, dict) and "tool_calls" in message for message in messages
    ):
        return None
    found = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        found.append(
            _Answer(content if isinstance(content, str) else "", calls if isinstance(calls, list) else [])
        )
    return found
