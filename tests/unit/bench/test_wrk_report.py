"""The report of `wrk --latency` as numbers."""

from __future__ import annotations

import pytest

from bench.process import BenchError
from bench.wrk import parse

CALM = """\
Running 3s test @ http://127.0.0.1:40001/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   686.12us  421.70us   9.11ms   92.62%
    Req/Sec    23.61k     1.02k   25.02k    73.33%
  Latency Distribution
     50%  612.00us
     75%  740.00us
     90%    1.02ms
     99%    2.31ms
  70495 requests in 3.01s, 21.31MB read
Requests/sec:  23420.41
Transfer/sec:      7.08MB
  99.9%  4100.00us
"""

TROUBLED = CALM.replace(
    "Requests/sec:",
    "  Socket errors: connect 1, read 20, write 300, timeout 4000\n"
    "  Non-2xx or 3xx responses: 50000\n"
    "Requests/sec:",
)


def test_counts_and_latencies_are_read_in_seconds() -> None:
    load = parse(CALM)
    assert (load.requests, load.seconds, load.per_second) == (70495, 3.01, 23420.41)
    assert load.p50 == pytest.approx(612e-6)
    assert load.p99 == pytest.approx(2.31e-3)
    assert load.p999 == pytest.approx(4.1e-3)
    assert load.failed == 0


def test_refused_and_broken_requests_all_count_as_failed() -> None:
    assert parse(TROUBLED).failed == 54321


@pytest.mark.parametrize(
    ("written", "seconds"), [("950.00us", 950e-6), ("1.50ms", 1.5e-3), ("1.02s", 1.02), ("2.00m", 120.0)]
)
def test_every_unit_of_wrk_is_understood(written: str, seconds: float) -> None:
    assert parse(CALM.replace("2.31ms", written)).p99 == pytest.approx(seconds)


@pytest.mark.parametrize("gone", ["  99%", "50%", "99.9%", "requests in", "Requests/sec"])
def test_a_report_that_lacks_a_figure_is_refused_with_what_it_said(gone: str) -> None:
    with pytest.raises(BenchError, match="not a report of wrk"):
        parse(CALM.replace(gone, "?"))
