from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.exposure import Exposed, Question
from domain.routing import Arm, Mode, Reason, Upstream, Version
from domain.snapshot import Endpoint, Lookup, Snapshot
from routing.answers import LONGEST, MOST_SENT, MOST_WAITING, REPEAT, Answers
from routing.context import NOTHING_KNOWN, FlagContext
from routing.table import RoutingTable

LOOKUP = Lookup("platform", age=60.0, most=100)


def question(unit: str, flag: str = "canary") -> Question:
    return Question(flag, unit)


def following(lookup: Lookup = LOOKUP, now: float = 0.0) -> Answers:
    answers = Answers()
    answers.follow(lookup)
    answers.take(now)
    return answers


def told(answers: Answers, *units: str, exposed: bool = True, source: str = "platform") -> None:
    answers.learn(source, [Exposed(question(unit), exposed) for unit in units])


def test_an_unknown_unit_is_not_exposed_and_is_asked_about_once() -> None:
    answers = following()
    assert [answers.exposes(question("anna")) for _ in range(3)] == [False] * 3
    assert answers.take(0.1) == [question("anna")]
    assert not answers.exposes(question("anna"))
    assert answers.take(0.2) == []


def test_what_is_not_answered_is_asked_again() -> None:
    answers = following()
    answers.exposes(question("anna"))
    answers.take(0.1)
    answers.take(0.1 + REPEAT)
    answers.exposes(question("anna"))
    assert answers.take(0.2 + REPEAT) == [question("anna")]


def test_an_answer_decides() -> None:
    answers = following()
    told(answers, "anna")
    told(answers, "bo", exposed=False)
    assert answers.exposes(question("anna"))
    assert not answers.exposes(question("bo"))
    assert answers.take(1.0) == []


def test_a_later_answer_takes_the_place_of_an_earlier_one() -> None:
    answers = following()
    told(answers, "anna")
    told(answers, "anna", exposed=False)
    assert not answers.exposes(question("anna"))


def test_an_answer_that_grows_old_still_holds_and_is_asked_for_again() -> None:
    answers = following()
    told(answers, "anna")
    answers.take(31.0)
    assert answers.exposes(question("anna"))
    assert answers.take(31.1) == [question("anna")]
    told(answers, "anna")
    answers.take(61.5)
    assert answers.exposes(question("anna"))


@given(learned=st.floats(0.0, 300.0), step=st.floats(0.01, 20.0))
@settings(deadline=None)
def test_no_answer_decides_longer_than_its_age(learned: float, step: float) -> None:
    answers = following()
    now = 0.0
    while now + step <= learned:
        now += step
        answers.take(now)
    told(answers, "anna")
    known_at = now
    while now <= known_at + LOOKUP.age:
        assert answers.exposes(question("anna")) or now > known_at + LOOKUP.age / 2 - step
        now += step
        answers.take(now)
    if now - known_at >= LOOKUP.age:
        assert not answers.exposes(question("anna"))


def test_a_clock_that_stood_still_or_went_back_forgets_rather_than_holds_on() -> None:
    answers = following(now=100.0)
    told(answers, "anna")
    answers.take(50.0)
    assert not answers.exposes(question("anna"))


@given(st.lists(st.integers(0, 400), max_size=600), st.integers(1, 50))
@settings(deadline=None)
def test_no_more_answers_are_held_than_allowed(units: list[int], most: int) -> None:
    answers = following(Lookup("platform", age=60.0, most=most))
    told(answers, *map(str, units))
    held = sum(answers.exposes(question(str(unit))) for unit in range(401))
    assert held <= max(2, most)


def test_more_questions_than_can_wait_are_left_out_and_counted() -> None:
    answers = following()
    for unit in range(MOST_WAITING + 5):
        answers.exposes(question(str(unit)))
    assert len(answers.take(0.1)) == MOST_WAITING
    assert answers.take_left_out() == 5
    assert answers.take_left_out() == 0


def test_no_more_questions_are_sent_in_a_second_than_allowed() -> None:
    answers = following()
    sent = 0
    for unit in range(2 * MOST_SENT):
        answers.exposes(question(str(unit)))
        if unit % 500 == 0:
            sent += len(answers.take(0.5))
    assert sent <= MOST_SENT + MOST_WAITING
    assert answers.take_left_out() > 0


def test_what_cannot_be_asked_is_never_exposed_and_never_sent() -> None:
    answers = following()
    for unit in ("x" * (LONGEST + 1), "\ud800"):
        assert not answers.exposes(question(unit))
    assert answers.take(0.1) == []


def test_answers_of_another_source_do_not_count() -> None:
    answers = following()
    told(answers, "anna", source="another")
    assert not answers.exposes(question("anna"))
    told(answers, "anna")
    answers.follow(Lookup("another", age=60.0, most=100))
    assert not answers.exposes(question("anna"))


def test_a_new_snapshot_of_the_same_source_forgets_nothing() -> None:
    answers = following()
    told(answers, "anna")
    answers.follow(Lookup("platform", age=30.0, most=50))
    assert answers.exposes(question("anna"))


def test_a_rule_asks_by_the_fields_that_the_endpoint_takes_from_headers() -> None:
    answers = following()
    rule = answers.rule("canary", ["sessionId", "country"])
    context = FlagContext(session_id="s1", properties={"country": "se", "other": "x"})
    assert not rule("anna", context)
    assert not rule("anna", NOTHING_KNOWN)
    asked = answers.take(0.1)
    assert asked == [
        Question("canary", "anna", (("country", "se"), ("sessionId", "s1"))),
        Question("canary", "anna", ()),
    ]
    answers.learn("platform", [Exposed(asked[0], True)])
    assert rule("anna", context)
    assert not rule("anna", NOTHING_KNOWN)


def test_a_request_without_a_unit_asks_nothing() -> None:
    answers = following()
    assert not answers.rule("canary", [])(None, NOTHING_KNOWN)
    assert answers.take(0.1) == []


ENDPOINT = Endpoint(
    name="rain",
    path="/rain",
    incumbent=Version("rain-1", (Upstream("127.0.0.1", 9001),)),
    candidate=Version("rain-2", (Upstream("127.0.0.1", 9002),)),
    flag="canary",
    mode=Mode.CANARY,
    weight=10_000,
    release="r",
    tripped=False,
)


def table(lookup: Lookup | None, answers: Answers | None) -> RoutingTable:
    return RoutingTable(Snapshot(1, (ENDPOINT,), lookup=lookup), _no_draw, answers)


_no_draw: Callable[[], float] = lambda: 0.0  # noqa: E731


def test_a_table_that_looks_up_serves_the_candidate_to_whom_the_platform_exposes() -> None:
    answers = Answers()
    route = table(LOOKUP, answers).by_name["rain"]
    assert route.decide("anna", None).reason is Reason.NOT_EXPOSED
    told(answers, *(one.unit for one in answers.take(0.0)))
    assert route.decide("anna", None).arm is Arm.CANDIDATE
    assert route.decide("bo", None).arm is Arm.INCUMBENT
    assert not route.needs_context


def test_answers_outlive_the_table() -> None:
    answers = Answers()
    table(LOOKUP, answers)
    told(answers, "anna")
    assert table(LOOKUP, answers).by_name["rain"].decide("anna", None).arm is Arm.CANDIDATE
    table(None, answers)
    assert table(LOOKUP, answers).by_name["rain"].decide("anna", None).arm is Arm.INCUMBENT


def test_without_answers_a_table_that_looks_up_exposes_nobody() -> None:
    assert table(LOOKUP, None).by_name["rain"].decide("anna", None).reason is Reason.NOT_EXPOSED


def test_a_tripped_endpoint_asks_nothing() -> None:
    answers = Answers()
    from dataclasses import replace

    snapshot = Snapshot(1, (replace(ENDPOINT, tripped=True, mode=Mode.SHADOW, weight=0),), lookup=LOOKUP)
    RoutingTable(snapshot, _no_draw, answers).by_name["rain"].decide("anna", None)
    assert answers.take(0.0) == []
