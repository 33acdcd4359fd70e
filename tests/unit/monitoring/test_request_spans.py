"""Which requests have spans, and that they say what the record says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.observation import Observation, Outcome
from monitoring.log.spans import CLIENT, SERVER, parent, spans
from monitoring.log.wire import Context, Entry

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = Context("rain", 7, "c" * 64, "rain-1", "rain-2", "", b"{}")


def entry(trace: str | None, **given: object) -> Entry:
    one = Entry(b"id-1", 1000.0, "u", False, 200, 0.25, "shadow stage", b"", "", b"", "", ("eu", trace), None)
    return one._replace(**given)  # type: ignore[arg-type]


def test_a_sampled_trace_has_a_server_span_under_the_client_s_and_a_span_for_each_arm() -> None:
    other = Observation("rain-2", Outcome.ANSWERED, 200, 0.5, b"")
    root, answer, mirror = spans(CONTEXT, entry(f"00-{TRACE}-{SPAN}-01", mirrored=other), 0)
    assert (root.kind, root.trace, root.parent) == (SERVER, int(TRACE, 16), int(SPAN, 16))
    assert root.parent_is_remote
    assert (root.start, root.end) == (1000 * 10**9, 1000_250_000_000)
    for one, version in ((answer, "rain-1"), (mirror, "rain-2")):
        assert (one.kind, one.parent, one.attributes["pointsman.version"]) == (CLIENT, root.id, version)
        assert not one.parent_is_remote
    assert mirror.end - mirror.start == 500_000_000
    assert mirror.attributes["pointsman.mirror"] is True
    assert root.attributes["pointsman.request_id"] == "id-1"
    assert len({root.id, answer.id, mirror.id}) == 3


def test_a_trace_that_its_sender_does_not_sample_has_no_spans_whatever_the_share() -> None:
    assert spans(CONTEXT, entry(f"00-{TRACE}-{SPAN}-00"), 10_000) == []


@pytest.mark.parametrize("trace", [None, "", "nonsense", f"00-{'0' * 32}-{SPAN}-01"])
def test_without_a_trace_the_share_decides_and_a_trace_begins(trace: str | None) -> None:
    assert spans(CONTEXT, entry(trace), 0) == []
    root, _ = spans(CONTEXT, entry(trace), 10_000)
    assert (root.parent, root.parent_is_remote) == (0, False)
    assert 0 < root.trace < 2**128


def test_the_share_is_of_the_requests_and_the_same_request_is_always_decided_alike() -> None:
    made = [entry(None, request_id=b"id-%d" % number) for number in range(4000)]
    chosen = [one for one in made if spans(CONTEXT, one, 2500)]
    assert 800 < len(chosen) < 1200
    assert [one for one in made if spans(CONTEXT, one, 2500)] == chosen
    assert len({spans(CONTEXT, one, 2500)[0].trace for one in chosen}) == len(chosen)


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (499, False), (500, True)])
def test_an_error_of_the_server_fails_the_span(status: int, failed: bool) -> None:
    root, _ = spans(CONTEXT, entry(None, status=status), 10_000)
    assert root.failed is failed


@pytest.mark.parametrize(
    ("field", "read"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}", False),
        (f" 00-{TRACE}-{SPAN}-01", False),
    ],
)
def test_a_traceparent_is_read_as_the_recommendation_has_it(field: str, read: bool) -> None:
    found = parent(field)
    assert (found is not None) is read
    if found is not None:
        assert found.sampled


@given(st.one_of(st.none(), st.text(max_size=80)), st.integers(0, 10_000))
@settings(deadline=None, max_examples=200)
def test_no_header_whatever_breaks_anything(field: str | None, share: int) -> None:
    for one in spans(CONTEXT, entry(field), share):
        assert one.trace > 0
        assert one.id > 0
