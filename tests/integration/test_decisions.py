"""Why a single request was answered as it was, by a real chain, real labels and a real log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from control.deciding import served
from domain.routing import Arm, Reason
from monitoring.diagnosis.signals import Answer, Request
from tests.support.control import Here
from tests.support.decisions import Hand, configured, deciding, logged, reconfigured, record

NOON = 1_772_000_000.0
LINEAGE = """versions:
  rain-1:
    dataset: {name: weather, version: "17", digest: "sha256:aa"}
    commit: 4f1a
"""


def request(at: float, **more: Any) -> Request:
    said = Request(at, {"humidity": 0.4, "country": "AT"}, Answer("rain-1", 200, 0.004, (1.0,), 0.9),
                   Answer("rain-2", 200, 0.005, (0.0,), 0.6), (), ("AT",))  # fmt: skip
    return said._replace(**more)


async def why(control: Here, name: str) -> dict[str, Any]:
    answer = await control.client.get(f"/api/v1/decisions/{name}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def missing(control: Here, name: str) -> str:
    answer = await control.client.get(f"/api/v1/decisions/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    return detail


def test_a_decision_is_told_with_what_was_live_when_it_was_made_whatever_came_since(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        (tmp_path / "lineage.yaml").write_text(LINEAGE)
        lineage = {"source": "file", "path": str(tmp_path / "lineage.yaml")}
        whole = {**configured(tmp_path), "registry": lineage}
        async with deciding(tmp_path, hand, configuration=whole) as control:
            await control.until(lambda: control.control.lineage.of("rain", Arm.INCUMBENT).record is not None)
            digest = control.control.switchboard.settings.digest
            hand.at = NOON + 10
            logged(tmp_path, [record(1, request(NOON + 10), configuration=digest, reason="shadow stage")])
            hand.at = NOON + 60
            kill = await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "looks wrong"})
            assert kill.status_code == 200
            hand.at = NOON + 100
            found = await why(control, "r1")
            assert (found["version"], found["arm"], found["reason"]) == (
                "rain-1",
                "incumbent",
                "shadow stage",
            )
            assert found["configuration"] == digest
            assert found["lineage"]["commit"] == "4f1a"
            assert found["lineage"]["datasets"][0]["digest"] == "sha256:aa"
            assert found["live"]["switch"]["tripped"] is False  # it was not, then
            assert found["live"]["flag"]["name"] == "canary"
            assert found["prediction"] == [1.0]
            assert found["mirrored"]["prediction"] == [0.0]
            assert found["input"]["digest"] == "ab" * 32
            assert found["unit"] == f"{2:016x}"
            assert found["label"] is None
            assert found["notes"] == []

    asyncio.run(scenario())


def test_a_label_is_shown_with_its_decision_also_when_it_came_for_no_remembered_pair(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            logged(tmp_path, [record(1, request(NOON + 1)), record(2, request(NOON + 2))])
            hand.at = NOON + 5
            labels = [{"request_id": "r1", "label": 0, "at": "2026-02-25T07:00:00+00:00"}]
            answer = (await control.client.post("/api/v1/labels", json=labels)).json()
            assert (answer["unknown"], answer["kept"]) == (["r1"], True)
            assert (await why(control, "r1"))["label"] == {
                "label": 0,
                "at": "2026-02-25T07:00:00.000000+00:00",
            }
            assert (await why(control, "r2"))["label"] is None

    asyncio.run(scenario())


def test_a_label_of_any_size_is_kept_with_those_that_came_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            logged(tmp_path, [record(1, request(NOON + 1)), record(2, request(NOON + 2))])
            hand.at = NOON + 5
            labels = [{"request_id": "r1", "label": 10**30}, {"request_id": "r2", "label": 1}]
            answer = await control.client.post("/api/v1/labels", json=labels)
            assert (answer.status_code, answer.json()["kept"]) == (200, True)
            assert (await why(control, "r1"))["label"]["label"] == 1e30
            assert (await why(control, "r2"))["label"]["label"] == 1

    asyncio.run(scenario())


def test_an_answer_that_is_not_its_arm_s_own_choice_or_doing_is_told_as_such(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            inside = str(Reason.INSIDE_WEIGHT)
            plain = request(NOON + 1)._replace(mirrored=None)
            logged(
                tmp_path,
                [
                    record(1, plain, reason=inside),
                    record(2, request(NOON + 1), drill="d1"),
                    record(3, plain, arm=Arm.CANDIDATE, reason=inside, drill="d1"),
                    record(4, plain, drill="d1"),
                ],
            )
            hand.at = NOON + 5
            told = {}
            for number in range(1, 5):
                notes = " ".join((await why(control, f"r{number}"))["notes"])
                told[number] = "the incumbent did" in notes, "the drill's doing" in notes
            assert told == {1: (True, False), 2: (False, True), 3: (False, True), 4: (False, False)}

    asyncio.run(scenario())


def test_of_gateways_with_one_configuration_the_one_that_decided_is_told() -> None:
    def place(replica: str, configuration: str = "c", silent: str | None = None) -> dict[str, object]:
        return {"replica": replica, "configuration": configuration, "silent_since": silent}

    places = [place("dead", silent="then"), place("here", "other"), place("there"), place("here")]
    found = served({"endpoints": places}, "c", "here")
    assert found == [places[3], places[2], places[0], places[1]]


def test_each_way_of_having_no_record_has_an_answer_of_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            logged(tmp_path, [record(1, request(NOON + 1))])
            unknown = await missing(control, "never-seen")
            assert "nobody here has seen this id" in unknown
            assert "Records are kept since 2026-01-26" in unknown
            await control.client.post("/api/v1/labels", json=[{"request_id": "old", "label": 1}])
            assert "a label for it came at 2026-02-25" in await missing(control, "old")
            await reconfigured(control, tmp_path, log={"records": "20%"})
            assert "recorded are of rain 20 %" in await missing(control, "sampled-out")
            await reconfigured(control, tmp_path, log={"records": "off"})
            off = await missing(control, "never-seen")
            assert "no endpoint keeps a prediction log" in off
            assert "`log.records`" in off
            assert (await why(control, "r1"))["version"] == "rain-1"  # what was kept is still told

    asyncio.run(scenario())


def test_a_decision_from_before_the_chain_says_that_what_was_live_is_not_known(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            logged(tmp_path, [record(1, request(NOON - 3600))])
            found = await why(control, "r1")
            assert found["live"] is None
            assert found["notes"] == ["the audit chain begins later: what was live is not known"]

    asyncio.run(scenario())


def test_an_input_that_is_kept_is_told_as_text_or_where_it_is_none_as_base64(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            texts = (
                record(1, request(NOON + 1), input=b'{"x":1}'),
                record(2, request(NOON + 2), input=b"\xff\x00"),
            )
            logged(tmp_path, texts)
            assert (await why(control, "r1"))["input"]["text"] == '{"x":1}'
            assert (await why(control, "r2"))["input"] == {
                "digest": "ab" * 32,
                "text": None,
                "base64": "/wA=",
            }

    asyncio.run(scenario())


def test_a_log_that_cannot_be_read_is_not_a_log_without_the_record(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            logged(tmp_path, [record(1, request(NOON + 1))])
            (segment,) = (tmp_path / "predictions").glob("*.sqlite")
            segment.write_bytes(b"this is no database" * 100)
            answer = await control.client.get("/api/v1/decisions/r1")
            assert answer.status_code == 503
            assert "prediction" in answer.json()["detail"]

    asyncio.run(scenario())
