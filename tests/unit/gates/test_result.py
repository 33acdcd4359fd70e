"""A result holds for what was measured, for a while, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.routing import Upstream, Version
from domain.verdict import Verdict
from gates.result import Binding, GateResult, gates_digest, restored, version_digest, void, worst
from settings.criteria import GateSettings, LatencyGate, LineageGate

BOUND = Binding(
    "rain", "incumbent", "candidate", "configuration", (("holdout.csv", "ab"), ("more.csv", "cd"))
)
RESULT = GateResult("evaluation", Verdict.PASS, "fine", {"rows": 3.0}, BOUND, 100.0, 110.0)


def test_a_result_holds_for_the_very_thing_that_was_measured() -> None:
    assert void(RESULT, BOUND, 110.0, 60.0) is None
    assert void(RESULT, BOUND, 170.0, 60.0) is None


@pytest.mark.parametrize(
    "other",
    [
        {"endpoint": "snow"},
        {"incumbent": "another"},
        {"candidate": "another"},
        {"configuration": "another"},
        {"data": (("holdout.csv", "ab"), ("more.csv", "changed"))},
        {"data": (("holdout.csv", "ab"),)},
        {"data": ()},
    ],
    ids=lambda other: next(iter(other)),
)
def test_change_one_and_the_result_is_void(other: dict[str, object]) -> None:
    assert void(RESULT, replace(BOUND, **other), 110.0, 60.0) is not None  # type: ignore[arg-type]


def test_a_result_expires_and_none_is_from_the_future() -> None:
    assert void(RESULT, BOUND, 170.1, 60.0) == "it has expired"
    assert void(RESULT, BOUND, 109.9, 60.0) == "it is from the future"


def test_a_version_is_known_by_its_name_its_urls_and_its_path() -> None:
    version = Version("rain-1", (Upstream("127.0.0.1", 9001),))
    others = [
        replace(version, name="rain-2"),
        replace(version, upstreams=(Upstream("127.0.0.1", 9002),)),
        replace(version, upstreams=(*version.upstreams, Upstream("127.0.0.1", 9002))),
        replace(version, path="/elsewhere"),
    ]
    digests = {version_digest(one, "/infer") for one in (version, *others)}
    assert len(digests) == 5
    assert version_digest(replace(version, path="/infer"), "/infer") == version_digest(version, "/infer")


def test_a_result_is_read_back_as_it_was_written() -> None:
    assert restored(RESULT.document()) == RESULT
    with pytest.raises(ValueError, match="no gate's result"):
        restored({**RESULT.document(), "verdict": "overridden"})
    with pytest.raises(ValueError, match="no gate's result"):
        restored({})


def test_no_result_is_no_pass() -> None:
    assert worst([]) is Verdict.INCONCLUSIVE
    assert worst([RESULT, replace(RESULT, verdict=Verdict.ERROR)]) is Verdict.ERROR


def test_gates_are_known_by_a_digest_of_all_their_limits() -> None:
    assert gates_digest(GateSettings()) == gates_digest(GateSettings(valid_for=5.0)) == ""
    one = GateSettings(latency=LatencyGate(100.0, limits=((0.99, 0.05),)))
    tighter = GateSettings(latency=LatencyGate(100.0, limits=((0.99, 0.04),)))
    more = replace(one, lineage=LineageGate())
    assert gates_digest(one) == gates_digest(replace(one))
    assert len({gates_digest(each) for each in (one, tighter, more, replace(one, valid_for=5.0))}) == 4
