"""The decision table, over every combination of what it asks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.routing import FULL_WEIGHT, Arm, Mode, Reason, Upstream, Version
from domain.snapshot import Endpoint
from routing.decision import decide

INCUMBENT = Version("rain-1", (Upstream("127.0.0.1", 9001),))
CANDIDATE = Version("rain-2", (Upstream("127.0.0.1", 9002),))
SERVING = (Mode.CANARY, Mode.GUARDED)

weights = st.one_of(st.sampled_from([0, 1, 5000, FULL_WEIGHT - 1, FULL_WEIGHT]), st.integers(0, FULL_WEIGHT))
buckets = st.one_of(st.sampled_from([0, 1, 4999, 5000, FULL_WEIGHT - 1]), st.integers(0, FULL_WEIGHT - 1))


@st.composite
def endpoints(draw: st.DrawFn) -> Endpoint:
    mode = draw(st.sampled_from(Mode))
    return Endpoint(
        name="rain",
        path="/rain",
        incumbent=INCUMBENT,
        candidate=draw(st.sampled_from([CANDIDATE, CANDIDATE, None])),
        mode=mode,
        weight=0 if mode is Mode.SHADOW else draw(weights),
        tripped=draw(st.booleans()),
    )


@given(endpoint=endpoints(), exposed=st.booleans(), bucket=buckets, breaker_open=st.booleans())
@settings(deadline=None, max_examples=500)
def test_the_candidate_is_served_only_if_flag_plan_and_switch_agree(
    endpoint: Endpoint, exposed: bool, bucket: int, breaker_open: bool
) -> None:
    decision = decide(endpoint, exposed=exposed, bucket=bucket, generation=7, breaker_open=breaker_open)
    agreed = (
        exposed
        and bucket < endpoint.weight
        and endpoint.mode in SERVING
        and endpoint.candidate is not None
        and not endpoint.tripped
        and not breaker_open
    )
    assert (decision.arm is Arm.CANDIDATE) is agreed
    assert (decision.reason is Reason.INSIDE_WEIGHT) is agreed
    assert decision.generation == 7


@given(endpoint=endpoints(), exposed=st.booleans(), bucket=buckets, breaker_open=st.booleans())
@settings(deadline=None, max_examples=300)
def test_each_of_flag_weight_and_switch_can_only_take_traffic_away(
    endpoint: Endpoint, exposed: bool, bucket: int, breaker_open: bool
) -> None:
    def serves_candidate(endpoint: Endpoint, exposed: bool, breaker_open: bool) -> bool:
        decision = decide(endpoint, exposed=exposed, bucket=bucket, generation=1, breaker_open=breaker_open)
        return decision.arm is Arm.CANDIDATE

    before = serves_candidate(endpoint, exposed, breaker_open)
    for less in (
        serves_candidate(endpoint, False, breaker_open),
        serves_candidate(replace(endpoint, weight=0), exposed, breaker_open),
        serves_candidate(replace(endpoint, tripped=True), exposed, breaker_open),
        serves_candidate(replace(endpoint, candidate=None), exposed, breaker_open),
        serves_candidate(endpoint, exposed, True),
    ):
        assert not less
        assert before or not less


@given(endpoint=endpoints(), exposed=st.booleans(), bucket=buckets, breaker_open=st.booleans())
@settings(deadline=None, max_examples=300)
def test_the_mirror_is_the_other_arm_or_nobody(
    endpoint: Endpoint, exposed: bool, bucket: int, breaker_open: bool
) -> None:
    decision = decide(endpoint, exposed=exposed, bucket=bucket, generation=1, breaker_open=breaker_open)
    out = endpoint.candidate is None or endpoint.tripped or breaker_open
    assert decision.mirror is (None if out else decision.arm.other)


@given(endpoint=endpoints(), lower=weights, higher=weights, bucket=buckets, exposed=st.booleans())
@settings(deadline=None, max_examples=300)
def test_raising_the_weight_only_adds_units(
    endpoint: Endpoint, lower: int, higher: int, bucket: int, exposed: bool
) -> None:
    lower, higher = sorted((lower, higher))
    endpoint = replace(endpoint, mode=Mode.CANARY)
    less = decide(replace(endpoint, weight=lower), exposed=exposed, bucket=bucket, generation=1)
    more = decide(replace(endpoint, weight=higher), exposed=exposed, bucket=bucket, generation=1)
    assert less.arm is Arm.INCUMBENT or more.arm is Arm.CANDIDATE


@pytest.mark.parametrize("bucket", [0, FULL_WEIGHT - 1])
def test_no_weight_is_nobody_and_full_weight_is_every_exposed_unit(bucket: int) -> None:
    endpoint = Endpoint("rain", "/rain", INCUMBENT, CANDIDATE, mode=Mode.CANARY, tripped=False)
    assert decide(endpoint, exposed=True, bucket=bucket, generation=1).arm is Arm.INCUMBENT
    full = replace(endpoint, weight=FULL_WEIGHT)
    assert decide(full, exposed=True, bucket=bucket, generation=1).arm is Arm.CANDIDATE


def test_the_reason_names_what_stopped_the_candidate() -> None:
    armed = Endpoint("rain", "/rain", INCUMBENT, CANDIDATE, mode=Mode.CANARY, weight=100, tripped=False)

    def reason(endpoint: Endpoint, *, exposed: bool = True, bucket: int = 0, breaker: bool = False) -> Reason:
        return decide(endpoint, exposed=exposed, bucket=bucket, generation=1, breaker_open=breaker).reason

    assert reason(replace(armed, candidate=None, tripped=True), breaker=True) is Reason.NO_CANDIDATE
    assert reason(replace(armed, tripped=True), breaker=True) is Reason.TRIPPED
    assert reason(armed, exposed=False, breaker=True) is Reason.BREAKER
    assert reason(replace(armed, mode=Mode.SHADOW, weight=0), exposed=False) is Reason.SHADOW
    assert reason(armed, exposed=False, bucket=9999) is Reason.NOT_EXPOSED
    assert reason(armed, bucket=100) is Reason.OUTSIDE_WEIGHT
    assert reason(armed, bucket=99) is Reason.INSIDE_WEIGHT


@pytest.mark.parametrize("exposed", [True, False])
@pytest.mark.parametrize("bucket", [0, 500, 9999])
def test_guarded_chooses_arms_as_canary_does(exposed: bool, bucket: int) -> None:
    canary = Endpoint("rain", "/rain", INCUMBENT, CANDIDATE, mode=Mode.CANARY, weight=1000, tripped=False)
    guarded = replace(canary, mode=Mode.GUARDED)
    by_canary = decide(canary, exposed=exposed, bucket=bucket, generation=1)
    assert decide(guarded, exposed=exposed, bucket=bucket, generation=1) == by_canary
