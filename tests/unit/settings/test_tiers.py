"""Risk tiers: what they mean is written into the document, and the endpoint's own keys win."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from domain.errors import ConfigError
from domain.routing import Mode
from settings.follow import version_of
from settings.parse import digest, parse, problems
from settings.promotion import WEEK, ApprovalSettings
from settings.schema import EndpointSettings
from settings.tiers import KEYS, TIERS, endless

DAY = 86_400.0
RAIN: dict[str, Any] = {
    "path": "/predict",
    "protocol": "json",
    "unit": "request",
    "incumbent": {"version": "rain-1", "urls": ["http://models:9001"]},
    "candidate": {"version": "rain-2", "urls": ["http://models:9002"]},
    "compare": {"kind": "regression"},
    "guards": {"flips": {"rate": "1%"}},
}


def document(tiers: Any = None, **keys: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {"endpoints": {"rain": {**copy.deepcopy(RAIN), **keys}}}
    return whole if tiers is None else {**whole, "tiers": tiers}


def rain(tiers: Any = None, **keys: Any) -> EndpointSettings:
    return parse(document(tiers, **keys)).endpoint("rain")


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_can_finish_and_ends_with_everybody(tier: str) -> None:
    found = rain(tier=tier)
    assert (found.tier, found.released) == (tier, True)
    assert endless(found.plan, found.patience, found.watch, guarded=True) is None


def test_a_low_risk_update_reaches_everybody_on_the_same_day_and_asks_nobody() -> None:
    found = rain(tier="low")
    assert sum(stage.at_least for stage in found.plan) < DAY / 2
    assert found.approvals.people == 0


def test_a_high_risk_one_is_guarded_first_and_asks_two_people() -> None:
    found = rain(tier="high")
    serving = [stage.mode for stage in found.plan if stage.mode is not Mode.SHADOW]
    assert serving[0] is Mode.GUARDED
    assert found.approvals == ApprovalSettings(2, WEEK)


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("plan", [{"mode": "shadow"}]),
        ("watch", "1h"),
        ("patience", "30d"),
        ("approvals", {"people": 3}),
    ],
)
def test_the_endpoints_own_key_wins_and_the_others_stay_the_tiers(key: str, own: Any) -> None:
    found = parse(document(tier="high", **{key: own})).document["endpoints"]["rain"]  # type: ignore[index]
    assert found[key] == own
    assert {other: found[other] for other in KEYS if other != key} == {
        other: TIERS["high"][other] for other in KEYS if other != key
    }


def test_what_a_tier_means_is_shown_and_digested() -> None:
    named, written = document(tier="low"), document(tier="low", **TIERS["low"])
    assert parse(named).document == written
    assert parse(named).digest == digest(written) != parse(document()).digest


def test_a_files_own_tier_stands_in_place_of_the_one_that_is_built_in() -> None:
    own = {"low": {"plan": [{"mode": "shadow"}], "watch": "1h"}, "night-shift": {"watch": "2h"}}
    assert (rain(own, tier="low").watch, len(rain(own, tier="low").plan)) == (3600.0, 1)
    assert rain(own, tier="night-shift").watch == 7200.0


@pytest.mark.parametrize(
    ("tiers", "keys", "path", "said"),
    [
        (None, {"tier": "lower"}, "endpoints.rain.tier", "use 'low', 'standard', 'guarded' or 'high'"),
        (None, {"tier": 3}, "endpoints.rain.tier", "'low'"),
        (None, {"tier": "low", "guards": {}}, "endpoints.rain.tier", "could never finish: no guard"),
        ({"own": {"wach": "1h"}}, {}, "tiers.own.wach", "did you mean 'watch'"),
        ({"own": {"plan": []}}, {}, "tiers.own.plan", "at least one stage"),
        ({"own": []}, {}, "tiers.own", "a mapping"),
        ({"o w n": {}}, {}, "tiers.'o w n'", "letters, digits, - and _"),
        ([], {}, "tiers", "a mapping"),
        (None, {"approvals": {"people": 11}}, "endpoints.rain.approvals.people", "0 to 10"),
        (None, {"approvals": {"people": True}}, "endpoints.rain.approvals.people", "whole number"),
        (None, {"approvals": {"valid_for": "1s"}}, "endpoints.rain.approvals.valid_for", "1m to 90d"),
        (
            {"own": {"plan": [{"mode": "shadow", "at_least": "2d"}], "patience": "1d"}},
            {"tier": "own"},
            "endpoints.rain.patience",
            "would never finish",
        ),
    ],
)
def test_what_cannot_be_a_tier_is_refused_by_key(
    tiers: Any, keys: dict[str, Any], path: str, said: str
) -> None:
    found = problems(document(tiers, **keys))
    assert (path, True) in [(one.path, said in str(one)) for one in found], list(map(str, found))


def test_a_tier_that_many_endpoints_share_is_bounded_as_it_reads() -> None:
    stages = [{"mode": "shadow", "pairs": 1}] * 100
    whole = document({"own": {"plan": stages}}, tier="own")
    whole["endpoints"] = {f"rain{number}": whole["endpoints"]["rain"] for number in range(300)}
    with pytest.raises(ConfigError, match="at most 50000 keys and values"):
        parse(whole)


FOLLOW: dict[str, Any] = {
    "model": "rain",
    "candidate": "challenger",
    "urls": ["http://models:9000/{name}/{version}"],
}


def following(**keys: Any) -> dict[str, Any]:
    whole = document(tier="low", candidate=None, follow={**FOLLOW, **keys})
    return {**whole, "registry": {"mlflow": {"url": "http://mlflow:5000"}}}


def test_what_is_followed_is_read_with_its_defaults() -> None:
    found = parse(following()).endpoint("rain").follow
    assert found is not None
    assert (found.version, found.settle, found.promote, found.incumbent) == (
        "{name}-{version}",
        10.0,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        ({"urls": ["http://models:9000/{name}"]}, "urls", "{version} has to stand in each URL"),
        (
            {"urls": ["http://models/{version}", "http://models/"]},
            "urls",
            "{version} has to stand in each URL",
        ),
        ({"urls": []}, "urls", "give a list"),
        ({"urls": ["http://models/{number}"]}, "urls[0]", "only {name} and {version}"),
        ({"urls": ["ftp://models/{version}"]}, "urls[0]", "http://host:port"),
        ({"urls": ["http://{version}:9000"]}, "urls[0]", "a host is a name"),
        ({"urls": ["http://models.{version}/rain"]}, "urls[0]", "a host is a name"),
        ({"version": "rain"}, "version", "{version} has to stand in it"),
        ({"version": "rain {version}"}, "version", "letters, digits"),
        ({"path": "v2/{version}"}, "path", "write a path"),
        ({"model": "a/b"}, "model", "registered model"),
        ({"candidate": "@challenger"}, "candidate", "without the @"),
        ({"incumbent": "challenger"}, "incumbent", "another alias"),
        ({"promote": True}, "promote", "give follow.incumbent"),
        ({"settle": "2h"}, "settle", "0s to 1h"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_key(keys: dict[str, Any], path: str, said: str) -> None:
    found = problems(following(**keys))
    wanted = f"endpoints.rain.follow.{path}"
    assert (wanted, True) in [(one.path, said in str(one)) for one in found], list(map(str, found))


@pytest.mark.parametrize("host", ["rain-{version}", "{version}.models", "rain-{version}.models"])
def test_no_number_of_a_registry_leads_to_another_domain(host: str) -> None:
    rain = parse(following(urls=[f"http://{host}:9000"])).endpoint("rain")
    assert version_of(rain, "7").upstreams[0].host == host.replace("{version}", "7")
    for number in ("1.evil.example", "1@evil.example", "1/../x", "1:80", "..", "%2e"):
        with pytest.raises(ValueError, match=r"domain|cannot|followed"):
            version_of(rain, number)
    by_path = parse(following()).endpoint("rain")
    assert version_of(by_path, "1.2").upstreams[0].host == "models"


def test_a_path_may_tell_versions_apart_that_share_their_servers() -> None:
    keys = {"urls": ["http://models:9000"], "path": "/v2/models/{name}/versions/{version}/infer"}
    assert problems(following(**keys)) == ()


def test_a_candidate_is_configured_or_followed() -> None:
    whole = following()
    whole["endpoints"]["rain"]["candidate"] = RAIN["candidate"]
    assert "endpoints.rain.candidate" in [one.path for one in problems(whole)]


def test_what_is_followed_needs_a_release_and_a_registry() -> None:
    whole = following()
    del whole["registry"]
    del whole["endpoints"]["rain"]["tier"]
    assert [one.path for one in problems(whole)] == ["endpoints.rain.follow.model", "endpoints.rain.follow"]
