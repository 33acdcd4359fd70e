"""What a worker counts is handed over once, whole, in the right bucket."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.counters import Counters, Histogram
from shadow.wire import LATENCY_BOUNDS, OVERHEAD_BOUNDS

_SECONDS = st.one_of(st.sampled_from(LATENCY_BOUNDS), st.floats(0, 20))


@settings(deadline=None, max_examples=100)
@given(st.lists(_SECONDS, max_size=50))
def test_a_bucket_holds_what_is_at_most_its_bound(seconds: list[float]) -> None:
    histogram = Histogram(LATENCY_BOUNDS)
    for value in seconds:
        histogram.observe(value)
    for at, bound in enumerate(LATENCY_BOUNDS):
        assert sum(histogram.buckets[: at + 1]) == sum(value <= bound for value in seconds)
    assert sum(histogram.buckets) == histogram.count == len(seconds)
    assert histogram.seconds == sum(seconds)


_EVENTS = st.one_of(
    st.tuples(st.just("request"), st.sampled_from("ab"), st.sampled_from([200, 404, 502]), _SECONDS),
    st.tuples(st.just("overhead"), st.sampled_from("ab"), st.just(0), _SECONDS),
    st.tuples(st.just("mirror"), st.sampled_from("ab"), st.sampled_from(["paired", "failed"]), st.just(0.0)),
    st.just(("take", "", 0, 0.0)),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(_EVENTS, max_size=40))
def test_each_event_is_taken_exactly_once(events: list[tuple[str, str, object, float]]) -> None:
    counters = Counters()
    kept = {name: counters.tally(name, "v1", "incumbent") for name in "ab"}
    told: Counter[tuple[str, str, object]] = Counter()
    for kind, name, what, seconds in [*events, ("take", "", 0, 0.0)]:
        if kind == "request":
            assert isinstance(what, int)
            kept[name].request(what, seconds)
        elif kind == "overhead":
            counters.overhead(name, seconds)
        elif kind == "mirror":
            counters.mirrors(name)[str(what)] += 1
        else:
            requests, overhead, mirrors = counters.take()
            for one in requests:
                assert (one.version, one.arm, len(one.buckets)) == (
                    "v1",
                    "incumbent",
                    len(LATENCY_BOUNDS) + 1,
                )
                assert one.requests == sum(one.buckets) > 0
                told["request", one.endpoint, one.status] += one.requests
            for each in overhead:
                assert len(each.buckets) == len(OVERHEAD_BOUNDS) + 1
                told["overhead", each.endpoint, 0] += sum(each.buckets)
            for mirror in mirrors:
                told["mirror", mirror.endpoint, mirror.outcome] += mirror.count
    assert told == Counter((kind, name, what) for kind, name, what, _ in events if kind != "take")
    assert counters.take() == ([], [], [])


def test_what_was_taken_does_not_change_afterwards() -> None:
    counters = Counters()
    tally = counters.tally("rain", "v1", "incumbent")
    tally.request(200, 0.001)
    (taken,) = counters.take()[0]
    before = list(taken.buckets)
    tally.request(200, 0.001)
    counters.refused.request(404, 0.0)
    assert taken.buckets == before
    assert {(one.endpoint, one.status) for one in counters.take()[0]} == {("rain", 200), ("", 404)}


def test_the_same_names_are_the_same_tally() -> None:
    counters = Counters()
    assert counters.tally("rain", "v1", "candidate") is counters.tally("rain", "v1", "candidate")
    assert counters.tally("rain", "v1", "candidate") is not counters.tally("rain", "v1", "incumbent")
