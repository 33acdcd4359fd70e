"""Where model servers tell their own metrics, as configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control.scrape import places
from domain.errors import ConfigError
from settings.parse import parse
from tests.support.control import document


def configured(folder: Path, **candidate: Any) -> dict[str, Any]:
    version = {"version": "rain-2", "urls": ["https://a:9002/base", "https://b:9002"], **candidate}
    return document(folder, candidate=version)


@pytest.mark.parametrize(
    "value", ["metrics", "ftp://a/metrics", "http://me:pass@a/", "/a b", "", 5, ["/metrics"]]
)
def test_what_is_neither_path_nor_url_is_refused_by_name(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(configured(tmp_path, metrics=value))
    assert caught.value.path == "endpoints.rain.candidate.metrics"


def test_a_path_is_asked_of_every_server_and_a_url_once(tmp_path: Path) -> None:
    found = places(parse(configured(tmp_path, metrics="/metrics")))
    assert [(one.server, one.url) for one in found] == [
        ("https://a:9002/base", "https://a:9002/metrics"),
        ("https://b:9002", "https://b:9002/metrics"),
    ]
    (one,) = places(parse(configured(tmp_path, metrics="http://stats:1234/rain?x=1")))
    assert (one.server, one.url) == ("http://stats:1234", "http://stats:1234/rain?x=1")


def test_nobody_is_asked_who_is_not_configured(tmp_path: Path) -> None:
    assert places(parse(configured(tmp_path))) == []


def test_the_servers_authority_is_trusted_for_their_metrics_too(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    found = places(parse(configured(tmp_path, metrics="/metrics", tls={"ca": str(ca)})))
    assert {one.trust.ca for one in found} == {str(ca)}
