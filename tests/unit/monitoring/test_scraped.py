"""Model servers' metrics: bounded, labelled, and never more than a page of their own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from monitoring.scraped import LONGEST_LINE, Scraped, page, read

LABELS = {"endpoint": "rain", "version": "rain-1", "server": "http://m:9001"}
PAGE = """\
# HELP http_requests_total The total.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400",} 3

# A comment
# TYPE rpc_seconds histogram
rpc_seconds_bucket{le="0.05"} 24054
rpc_seconds_bucket{le="+Inf"} 144320
rpc_seconds_sum 5.3e+07
rpc_seconds_count 144320
up_since{server="here",path="C:\\\\a } b\\"x"} NaN
"""


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def written(*found: Scraped) -> str:
    return "".join(page(found))


def test_every_sample_gets_the_labels_and_keeps_its_value() -> None:
    found = samples(written(read(PAGE, LABELS)))
    key = ("http_requests_total", frozenset({**LABELS, "method": "post", "code": "200"}.items()))
    assert found[key] == 1027
    assert len(found) == 7
    assert all(set(LABELS.items()) <= labels for _, labels in found)


def test_a_label_of_the_server_s_own_is_kept_beside_ours() -> None:
    (labels,) = (dict(labels) for name, labels in samples(written(read(PAGE, LABELS))) if name == "up_since")
    assert labels["server"] == LABELS["server"]
    assert labels["exported_server"] == "here"
    assert labels["path"] == 'C:\\a } b"x'


def test_a_family_stands_once_though_two_servers_have_it() -> None:
    other = {**LABELS, "server": "http://m:9002"}
    text = written(read(PAGE, LABELS), read(PAGE, other))
    assert text.count("# TYPE rpc_seconds histogram") == 1
    assert len(samples(text)) == 14


def test_nobody_else_speaks_for_the_gateway() -> None:
    found = read("pointsman_killswitch_tripped 0\nx 1\n", LABELS)
    assert (list(found.families), found.samples, found.left_out) == (["x"], 1, 1)


def test_what_is_too_much_is_left_out_by_whole_families_and_counted() -> None:
    found = read("a 1\n" + "".join(f'b{{i="{i}"}} 1\n' for i in range(10)) + "c 1\n", LABELS, most=5)
    assert (list(found.families), found.samples, found.left_out) == (["a", "c"], 2, 10)


@pytest.mark.parametrize(
    "line",
    [
        "<html><body>502</body></html>",
        "a",
        "a one",
        "a 1 2 3",
        "a ١",
        "a 1_0",
        'a{b="c} 1',
        'a{b=c} 1',
        'a{b="c" d="e"} 1',
        'a{b="c",b="d"} 1',
        'a{__name__="b"} 1',
        'a{server="x",exported_server="y"} 1',
        "9a 1",
        "a{} 1 # {} 1",
        "a" * (LONGEST_LINE + 1),
        "a{" + "}" * (LONGEST_LINE - 2),
    ],
)  # fmt: skip
def test_what_is_no_page_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(ValueError, match=r"^line 2 "):
        read(f"fine 1\n{line}\nfine 2\n", LABELS)


@pytest.mark.parametrize(
    ("said", "told"),
    [("-nan", "NaN"), ("+NaN", "NaN"), ("inf", "+Inf"), ("-Inf", "-Inf"), ("1e400", "+Inf"),
     ("-1e400", "-Inf"), ("1e-400", "1e-400"), ("5.", "5."), ("+.5", "+.5")],
)  # fmt: skip
def test_a_number_stands_as_prometheus_reads_it(said: str, told: str) -> None:
    (family,) = read(f"a {said}\n", {"endpoint": "rain"}).families.values()
    assert family.lines == [f'a{{endpoint="rain"}} {told}']


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from('ab_{}",=\\ 1.e+#\nTYPE counter'), max_size=200))
def test_whatever_is_taken_can_be_read_by_the_scraper(text: str) -> None:
    try:
        found = read(text, LABELS)
    except ValueError:
        return
    assert sum(len(family.lines) for family in found.families.values()) == found.samples
    for family in text_string_to_metric_families(written(found)):
        for sample in family.samples:
            assert LABELS.items() <= sample.labels.items()
