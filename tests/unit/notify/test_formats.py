"""How receivers are told: by the formats that they document."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from notify import formats, signature, training
from notify import notice as notices
from notify.message import Credentials, Login, Message
from settings import signing
from settings.receivers import Cause, Destination, Receiver, ReceiverKind, Retraining, Topic, TrainerKind

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "notification.schema.json").read_text())
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The key of the specification's own examples."""

TRIP = notices.of_trip(
    {"endpoint": "rain", "kill": "k1", "version": "rain-2", "cause": "operator", "reason": "<!channel> & co"},
    1_700_000_000.5,
)
ASKED = notices.of_retraining("rain", "rain-2", Cause.DRIFT, "features differ", 1.0, "0 1")


def test_the_signature_is_that_of_the_specification() -> None:
    body = b'{"test": 2432232314}'
    found = signature.signed(signing.keys(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_during_a_rotation_both_keys_sign() -> None:
    both = signing.keys(f"{SECRET} 0123456789abcdef01234567")
    found = signature.signed(both, "id", 1, b"")["webhook-signature"].split(" ")
    assert len(found) == 2
    assert found[0] == signature.signed(both[:1], "id", 1, b"")["webhook-signature"]


@pytest.mark.parametrize(
    "secret", ["", " ", "short", "whsec_&&&", "whsec_c2hvcnQ=", " ".join(["x" * 24] * 5)]
)
def test_what_is_no_key_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(ValueError) as raised:
        signing.keys(secret)
    assert not secret.strip() or secret not in str(raised.value)


@given(st.text(), st.dictionaries(st.sampled_from(["reason", "version", "cause"]), st.text()))
@options(deadline=None, max_examples=50)
def test_every_document_keeps_to_the_schema(kill: str, more: dict[str, str]) -> None:
    told = notices.of_trip({"endpoint": "rain", "kill": kill, **more}, 1.0)
    jsonschema.validate(json.loads(formats.webhook(told)), SCHEMA)


def test_every_topic_is_in_the_schema() -> None:
    named = set(SCHEMA["properties"]["type"]["enum"])
    assert named == {f"pointsman.{one}" for one in (*Topic, "retrain", "test")}


@given(st.text(), st.text())
@options(deadline=None, max_examples=50)
def test_no_text_mentions_a_channel_or_hides_a_link_in_slack(reason: str, version: str) -> None:
    hostile = {
        "endpoint": "rain",
        "kill": "k",
        "reason": f"<!channel>{reason}",
        "version": f"<http://x|{version}>",
    }
    said = json.loads(formats.slack(notices.of_trip(hostile, 1.0)))
    shown = [said["text"], said["blocks"][0]["text"]["text"], said["blocks"][1]["elements"][0]["text"]]
    assert not [one for one in shown if "<" in one or ">" in one]


def test_pagerduty_s_bounds_hold() -> None:
    long = notices.of_trip({"endpoint": "e" * 64, "kill": "k" * 900, "reason": "r" * 9000}, 1.0)
    (event,) = map(json.loads, formats.pagerduty(long, "key"))
    assert len(event["dedup_key"]) <= 255
    assert len(event["payload"]["summary"]) <= 1024
    assert event["payload"]["severity"] in ("critical", "error", "warning", "info")
    assert {"summary", "source", "severity"} <= event["payload"].keys()


def test_a_rearm_of_several_kills_resolves_each() -> None:
    cleared = notices.of_rearm({"endpoint": "rain", "cleared": ["a", "b"]}, 1.0)
    events = list(map(json.loads, formats.pagerduty(cleared, "key")))
    assert [one["dedup_key"] for one in events] == ["pointsman/rain/kill/a", "pointsman/rain/kill/b"]
    assert {one["event_action"] for one in events} == {"resolve"}
    assert not [one for one in events if "payload" in one]


def test_a_printed_message_shows_no_secret() -> None:
    held = Credentials("https://hooks.example/hush", SECRET)
    receiver = Receiver("one", ReceiverKind.WEBHOOK, Destination(url_env="U"), "S")
    login = Login("https://hooks.example/hush", b"hush")
    message = Message(
        "https://hooks.example/hush", (b"{}",), {"authorization": "hush"}, (b"hush",), login=login
    )
    for shown in (repr(held), repr(formats.message(receiver, TRIP, held)), repr(message)):
        assert "hush" not in shown
        assert SECRET not in shown


def test_a_workflow_gets_texts_only_and_few() -> None:
    hub = Retraining(
        TrainerKind.GITHUB,
        Destination("https://api.github.com"),
        repository="acme/rain",
        workflow="train.yml",
        token_env="T",
    )
    sent = json.loads(training.message(hub, ASKED, Credentials("https://api.github.com/", "t")).bodies[0])
    assert sent["ref"] == "main"
    assert all(isinstance(value, str) for value in sent["inputs"].values())
    assert len(sent["inputs"]) <= 10, "what a workflow may have at most"


def test_a_repeated_training_has_the_same_run() -> None:
    air = Retraining(TrainerKind.AIRFLOW, Destination("https://a.example"), dag="train", token_env="T")
    once, again = (training.message(air, ASKED, Credentials("https://a.example/", "t")) for _ in range(2))
    assert once == again
    assert once.url == "https://a.example/api/v2/dags/train/dagRuns"
    assert 409 in once.done
