"""A bounded, repeatable fuzz of heads and chunks: the cases of the tables, cut, spliced and changed."""

from __future__ import annotations

from random import Random

from tests.fuzz.corpus import WORDS, chunked, heads
from tests.fuzz.invariants import Heads, examine_chunks

EXAMINED = 8000
"""Inputs of each kind."""


def _mutated(random: Random, corpus: list[bytes]) -> bytes:
    data = random.choice(corpus)
    for _ in range(random.choice((1, 1, 1, 2, 2, 4))):
        data = _changed(random, data, corpus)
    return data


def _changed(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    at = random.randint(0, len(data))
    end = min(len(data), at + random.randint(1, 12))
    kind = random.randint(0, 7)
    if kind == 0:
        return data[:at] + random.choice(WORDS) + data[at:]
    if kind == 1:
        return data[:at] + data[end:]
    if kind == 2:
        return data[:at] + random.choice(WORDS) + data[end:]
    if kind == 3:
        return data[:at] + bytes((random.randrange(256),)) + data[at + 1 :]
    if kind == 4:
        return data[:at] + data[at:end] + data[at:]
    if kind == 5:
        return data[:at] + data[at:end].swapcase() + data[end:]
    if kind == 6:
        lines = data.split(b"\r\n")
        lines.insert(random.randrange(len(lines)), random.choice(lines))
        return b"\r\n".join(lines)
    other = random.choice(corpus)
    return data[:at] + other[random.randint(0, len(other)) :]


def test_no_head_however_changed_breaks_an_invariant() -> None:
    random = Random(4)
    corpus = heads()
    examiner = Heads()
    for data in corpus:
        examiner.examine(data)
    for _ in range(EXAMINED):
        examiner.examine(_mutated(random, corpus))
    assert min(examiner.accepted, examiner.refused) > EXAMINED * 0.1, "both sides of the line were tried"


def test_no_chunked_body_however_changed_breaks_an_invariant() -> None:
    random = Random(5)
    corpus = chunked()
    whole = sum(examine_chunks(data, 3) for data in corpus)
    whole += sum(examine_chunks(_mutated(random, corpus), random.randint(1, 9)) for _ in range(EXAMINED))
    assert EXAMINED * 0.1 < whole < EXAMINED * 0.9, "both sides of the line were tried"
