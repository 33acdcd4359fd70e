"""Receivers and trainings as configured: what is refused, with the key, and never with a secret."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ConfigError
from settings import surroundings
from settings.parse import parse, problems
from settings.receivers import GITHUB, PAGERDUTY, Cause, ReceiverKind, Topic
from settings.schema import Settings

RAIN: dict[str, Any] = {
    "path": "/predict",
    "protocol": "json",
    "unit": "request",
    "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
    "candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9002"]},
    "compare": {"kind": "regression"},
    "guards": {"flips": {"rate": "1%"}, "drift": {"shift": "10%"}},
}
SLACK = {"name": "people", "kind": "slack", "url_env": "SLACK_URL"}
DUTY = {"name": "duty", "kind": "pagerduty", "secret_env": "KEY"}
HOOK = {"name": "hook", "kind": "webhook", "url": "https://hook.example/x?y=1", "secret_env": "KEY"}
AIRFLOW = {"kind": "airflow", "url": "https://airflow.example", "dag": "train", "token_env": "KEY"}


def document(*receivers: Any, **rain: Any) -> dict[str, Any]:
    return {"endpoints": {"rain": {**RAIN, **rain}}, "notifications": list(receivers)}


def complaints(*receivers: Any, **rain: Any) -> dict[str, str]:
    return {one.path: str(one) for one in problems(document(*receivers, **rain))}


def test_receivers_are_read_with_what_each_kind_wants_by_default() -> None:
    people, duty, hook = parse(document(SLACK, DUTY, HOOK)).notifications
    assert (people.kind, people.on, people.destination.url) == (ReceiverKind.SLACK, frozenset(Topic), None)
    assert duty.destination.url == PAGERDUTY
    assert duty.on == {Topic.TRIP, Topic.HALT, Topic.DRILL}
    assert (hook.destination.url, hook.destination.allow_private) == ("https://hook.example/x?y=1", False)
    assert parse(document()).notifications == ()


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        ({"url": "https://hooks.slack.example/hush", "url_env": None}, "url", "put it into the environment"),
        ({"kind": "teams"}, "kind", "'slack', 'pagerduty' or 'webhook'"),
        ({"name": "a b"}, "name", "1 to 64 letters"),
        ({"url_env": None}, "url_env", "required"),
        ({"url_env": "https://hooks.slack.example/hush"}, "url_env", "never the secret itself"),
        ({"on": ["trip", "fire"]}, "on[1]", "'trip'"),
        ({"on": []}, "on", "leave this out"),
        ({"endpoints": ["snow"]}, "endpoints[0]", "'rain'"),
        ({"endpoints": []}, "endpoints", "leave this out"),
        ({"secret_env": "KEY"}, "secret_env", "no signature"),
        ({"allow_private": "yes"}, "allow_private", "true or false"),
        ({"channel": "x"}, "channel", "no such key"),
    ],
)
def test_what_no_receiver_can_be_is_refused_by_its_key(change: dict[str, Any], key: str, said: str) -> None:
    found = complaints({**SLACK, **change})
    assert said in found[f"notifications[0].{key}"]
    if key == "url":
        assert "hush" not in "".join(found.values())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://x.example/", "no other scheme"),
        ("https://user:hush@x.example/", "do not belong into a URL"),
        ("https:///x", "no other scheme"),
        ("https://x.example/#a", "fragment"),
        ("https://x.example:99999/", "port"),
        ("https://x.example:0/", "scheme"),
        ("not a url", "write http://host/path"),
        (7, "write http://host/path"),
        ("https://[::1/", "write http://host/path"),
    ],
)
def test_a_url_that_nothing_can_be_posted_to_is_refused(url: Any, said: str) -> None:
    assert said in complaints({**HOOK, "url": url})["notifications[0].url"]


def test_two_receivers_of_one_name_and_too_many_of_them_are_refused() -> None:
    assert "each once" in complaints(SLACK, {**DUTY, "name": "people"})["notifications[1].name"]
    many = [{**SLACK, "name": f"people-{number}"} for number in range(17)]
    assert "at most 16" in complaints(*many)["notifications"]
    assert "give one of them" in complaints({**HOOK, "url_env": "U"})["notifications[0].url"]
    assert "required" in complaints({**HOOK, "secret_env": None})["notifications[0].secret_env"]


def settings(*receivers: Any, **rain: Any) -> Settings:
    return parse(document(*receivers, **rain))


@pytest.mark.parametrize(
    ("receiver", "environment", "key"),
    [
        (SLACK, {}, "url_env"),
        (SLACK, {"SLACK_URL": "hush no url"}, "url_env"),
        (SLACK, {"SLACK_URL": "https://user:hush@x.example/"}, "url_env"),
        (DUTY, {}, "secret_env"),
        (DUTY, {"KEY": "hush hush\n"}, "secret_env"),
        (HOOK, {}, "secret_env"),
        (HOOK, {"KEY": "hush"}, "secret_env"),
        (HOOK, {"KEY": "whsec_hush&"}, "secret_env"),
    ],
)
def test_a_secret_that_is_missing_or_none_is_named_by_its_variable_and_never_shown(
    receiver: dict[str, Any], environment: dict[str, str], key: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        surroundings.demand(settings(receiver), environment)
    assert raised.value.path == f"notifications.{receiver['name']}.{key}"
    assert "hush" not in str(raised.value)


def test_with_its_secrets_everything_is_fine() -> None:
    environment = {"SLACK_URL": "https://hooks.example/x", "KEY": "k" * 32}
    surroundings.demand(settings(SLACK, DUTY, HOOK, retrain=AIRFLOW), environment)


def test_a_training_is_asked_for_what_is_watched() -> None:
    found = settings(retrain={**AIRFLOW, "at_most": "3 per 7d"}).endpoints[0].retrain
    assert found is not None
    assert (found.on, found.most, found.period) == ({Cause.DRIFT}, 3, 604_800.0)
    hub = (
        settings(retrain={"kind": "github", "repository": "acme/rain", "token_env": "KEY"})
        .endpoints[0]
        .retrain
    )
    assert hub is not None
    assert (hub.destination.url, hub.event, hub.ref) == (GITHUB, "pointsman-retrain", "main")
    assert settings().endpoints[0].retrain is None


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        ({"on": ["accuracy"]}, "on", "no guards.accuracy"),
        ({"on": ["weather"]}, "on[0]", "'drift' or 'accuracy'"),
        ({"dag": None}, "dag", "required where kind is airflow"),
        ({"dag": "../x"}, "dag", "DAG's id"),
        ({"token_env": None}, "token_env", "required where kind is airflow"),
        ({"repository": "acme/rain"}, "repository", "nothing of kind airflow"),
        ({"secret_env": "KEY"}, "secret_env", "nothing of kind airflow"),
        ({"at_most": "often"}, "at_most", "1 per 24h"),
        ({"at_most": "0 per 24h"}, "at_most", "1 to 100"),
        ({"at_most": "1 per 1s"}, "at_most", "from 1m"),
        ({"url": None}, "url_env", "required"),
        ({"kind": "cron"}, "kind", "'airflow', 'github' or 'webhook'"),
        ({"kind": "github", "dag": None, "repository": "acme/..", "url": None}, "repository", "OWNER/NAME"),
        ({"kind": "github", "dag": None, "repository": "a/b", "workflow": "../x"}, "workflow", "file name"),
        ({"kind": "github", "dag": None, "repository": "a/b", "ref": "/x"}, "ref", "branch or tag"),
    ],
)
def test_a_training_that_could_not_be_asked_for_is_refused(
    change: dict[str, Any], key: str, said: str
) -> None:
    assert said in complaints(retrain={**AIRFLOW, **change})[f"endpoints.rain.retrain.{key}"]


def test_without_a_guard_that_could_ask_a_training_is_refused() -> None:
    found = complaints(retrain=AIRFLOW, guards={"flips": {"rate": "1%"}})
    assert "no guards." in found["endpoints.rain.retrain.on"]
