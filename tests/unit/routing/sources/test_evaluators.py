"""What evaluators make of platforms that are away, wrong, slow or strange."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openfeature import _event_support
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider._registry import provider_registry
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from domain.errors import ConfigError, StateUnavailable
from domain.exposure import Question
from routing.sources import providers
from routing.sources.evaluator import Evaluation, Evaluator
from routing.sources.ofrep import LARGEST, OfrepEvaluator
from routing.sources.openfeature import SdkEvaluator
from routing.sources.providers import evaluator
from settings.schema import OpenFeatureSettings
from tests.support.flag_platforms import FlagdFile, GrowthBook, LaunchDarklyRelay, Ofrep

ANNA = Question("canary", "anna")


@pytest.fixture
def ofrep() -> Iterator[Ofrep]:
    served = Ofrep()
    served.set({"canary": ["anna"]})
    yield served
    served.close()


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def one(evaluator: Evaluator, question: Question = ANNA) -> Evaluation:
    async def scenario() -> Evaluation:
        await evaluator.start()
        try:
            return (await evaluator.evaluate([question]))[0]
        finally:
            await evaluator.close()

    return asyncio.run(scenario())


# OFREP.


def test_ofrep_is_asked_with_the_unit_its_fields_and_the_token(ofrep: Ofrep) -> None:
    asked = Question("a flag/with", "anna", (("country", "se"),))
    one(ofrep.evaluator(known={"environment": "production"}), asked)
    path, headers, body = ofrep.asked[0]
    assert path == "/ofrep/v1/evaluate/flags/a%20flag%2Fwith"
    assert headers["authorization"] == "Bearer sdk-key"
    context = {"environment": "production", "country": "se", "targetingKey": "anna"}
    assert body == {"context": context}


@pytest.mark.parametrize(
    ("status", "exposed", "told"),
    [
        (400, False, "HTTP 400"),
        (401, None, "does not take the token in OFREP (HTTP 401)"),
        (403, None, "does not take the token in OFREP (HTTP 403)"),
        (302, None, "answers HTTP 302"),
        (500, None, "answers HTTP 500"),
    ],
)
def test_an_ofrep_server_that_refuses_is_told_by_what_it_says(
    ofrep: Ofrep, status: int, exposed: bool | None, told: str
) -> None:
    ofrep.status = status
    ofrep.headers = {"location": f"{ofrep.url}/elsewhere"} if status == 302 else {}
    found = one(ofrep.evaluator())
    assert found.exposed is exposed
    assert told in found.problem
    assert "sdk-key" not in found.problem
    assert len(ofrep.asked) == 1, "redirects are not followed"


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ({"errorCode": "INVALID_CONTEXT", "errorDetails": "anna is no number"}, "INVALID_CONTEXT"),
        ({"errorCode": "no unit anna", "errorDetails": "anna"}, "HTTP 400"),
        (b'{"errorCode":"\xff"}', "HTTP 400"),
        (b'{"errorCode":' + b"[" * 30_000, "HTTP 400"),
    ],
)
def test_an_ofrep_refusal_is_told_by_its_code_and_never_in_the_servers_words(
    ofrep: Ofrep, refusal: object, told: str
) -> None:
    def refuse(request: Any, body: Any) -> None:
        ofrep.send(request, 400, refusal)

    ofrep.answer = refuse  # type: ignore[method-assign]
    assert one(ofrep.evaluator()) == Evaluation(False, told)


def test_an_ofrep_server_that_asks_us_to_wait_is_left_alone_for_that_long(ofrep: Ofrep) -> None:
    now = Now()
    asking = OfrepEvaluator(ofrep.settings, None, {}, now)

    async def scenario() -> None:
        await asking.start()
        ofrep.status, ofrep.headers = 429, {"retry-after": "7"}
        assert (await asking.evaluate([ANNA]))[0].exposed is None
        ofrep.status, ofrep.headers = 200, {}
        now.now += 6.9
        assert "asked us to wait" in (await asking.evaluate([ANNA]))[0].problem
        assert len(ofrep.asked) == 1
        now.now += 0.2
        assert await asking.evaluate([ANNA]) == [Evaluation(True)]
        await asking.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"not json", "no evaluation of a flag"),
        (b"[]", "no evaluation of a flag"),
        (b"\xff", "no evaluation of a flag"),
        (b'{"value":true,"variant":"\xff"}', "no evaluation of a flag"),
        (b'{"value":' + b"[" * 30_000, "no evaluation of a flag"),
        (b'"' + b"x" * LARGEST + b'"', f"more than {LARGEST} bytes"),
    ],
)
def test_an_ofrep_answer_that_is_none_exposes_nobody(ofrep: Ofrep, raw: bytes, told: str) -> None:
    ofrep.raw = raw
    found = one(ofrep.evaluator())
    assert found.exposed is None
    assert told in found.problem


@pytest.mark.parametrize("value", ["on", 1, None, {"on": True}])
def test_an_ofrep_flag_that_is_no_boolean_exposes_nobody_and_says_what_to_do(
    ofrep: Ofrep, value: object
) -> None:
    ofrep.values["text"] = value
    found = one(ofrep.evaluator(), Question("text", "anna"))
    assert found.exposed is False
    assert "flags.openfeature.variant" in found.problem


@pytest.mark.parametrize(("variant", "exposed"), [("trial", True), ("v", True), ("other", False)])
def test_an_ofrep_flag_exposes_by_the_value_or_the_variant_that_is_named(
    ofrep: Ofrep, variant: str, exposed: bool
) -> None:
    ofrep.values["text"] = "trial"
    settings = replace(ofrep.settings, variant=variant)
    asking = OfrepEvaluator(settings, None, {}, Now())
    assert one(asking, Question("text", "anna")) == Evaluation(exposed)


def test_an_ofrep_server_that_is_away_or_late_gives_no_answer(ofrep: Ofrep) -> None:
    away = OfrepEvaluator(replace(ofrep.settings, url="http://127.0.0.1:9"), None, {}, Now())
    found = one(away)
    assert found.exposed is None
    assert "cannot be reached" in found.problem

    def late(request: Any, body: Any) -> None:
        with ofrep.changed:
            ofrep.changed.wait(5)
        with suppress(OSError):  # nobody waits for it any more
            ofrep.send(request, 200, {"value": True})

    ofrep.answer = late  # type: ignore[method-assign]
    asking = OfrepEvaluator(replace(ofrep.settings, timeout=0.05), None, {}, Now())
    assert "took longer than 0.05 s" in one(asking).problem
    ofrep.set({})


# Through the SDK.


def test_a_flag_file_that_is_malformed_at_the_start_is_not_ready_and_says_why(tmp_path: Path) -> None:
    flagd = FlagdFile(tmp_path)
    flagd.write("{")

    async def scenario() -> None:
        asking = flagd.evaluator()
        with pytest.raises(StateUnavailable, match=r"OpenFeature provider flagd: .*delimiter|Expecting"):
            await asking.start()
        assert (await asking.evaluate([ANNA]))[0].exposed is None
        flagd.set({"canary": ["anna"]})
        await asking.start()
        assert await asking.evaluate([ANNA]) == [Evaluation(True)]
        await asking.close()

    asyncio.run(scenario())


def test_a_flag_file_that_becomes_malformed_keeps_the_last_good_flags_for_their_age(tmp_path: Path) -> None:
    flagd, now = FlagdFile(tmp_path), Now()
    flagd.set({"canary": ["anna"]})

    async def scenario() -> None:
        asking = evaluator(flagd.settings, None, {}, lambda: None, now)
        assert isinstance(asking, SdkEvaluator)
        await asking.start()
        flagd.write("{")
        await until(lambda: asking.illness is not None)
        assert "is in error: Could not parse JSON" in str(asking.illness)
        now.now += flagd.settings.age - 1
        assert await asking.evaluate([ANNA]) == [Evaluation(True)]
        now.now += 1
        (found,) = await asking.evaluate([ANNA])
        assert found.exposed is None
        assert "Could not parse JSON" in found.problem
        flagd.set({"canary": ["bo"]})
        await until(lambda: asking.illness is None)
        assert await asking.evaluate([ANNA]) == [Evaluation(False)]
        await asking.close()

    asyncio.run(scenario())


def test_a_growthbook_that_is_away_keeps_the_last_good_features_for_their_age() -> None:
    served, now = GrowthBook(), Now()
    served.set({"canary": ["anna"]})

    async def scenario() -> None:
        asking = evaluator(served.settings, served.token, {}, lambda: None, now)
        await asking.start()
        assert await asking.evaluate([ANNA]) == [Evaluation(True)]
        served.status = 500
        now.now += 1.1
        assert await asking.evaluate([ANNA]) == [Evaluation(True)]
        now.now += 2.1
        (found,) = await asking.evaluate([ANNA])
        assert found.exposed is None
        assert "growthbook" in found.problem
        served.status = 200
        now.now += 1.1
        assert await asking.evaluate([ANNA]) == [Evaluation(True)]
        await asking.close()

    try:
        asyncio.run(scenario())
    finally:
        served.close()


@pytest.mark.parametrize(
    ("value", "told"), [("control", "TYPE_MISMATCH"), (1, "TYPE_MISMATCH"), (None, "FLAG_NOT_FOUND")]
)
def test_a_growthbook_feature_that_is_no_boolean_exposes_nobody(value: object, told: str) -> None:
    served = GrowthBook()
    served.values["canary"] = value
    try:
        found = one(served.evaluator())
    finally:
        served.close()
    assert found.exposed is False
    assert told in found.problem


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_launchdarkly_key_that_is_refused_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "START_WAIT", 0.3)
    served = LaunchDarklyRelay()
    served.status = 401

    async def scenario() -> None:
        asking = served.evaluator()
        with pytest.raises(StateUnavailable, match="OpenFeature provider launchdarkly"):
            await asking.start()
        await asking.close()

    try:
        asyncio.run(scenario())
    finally:
        served.close()
    gc.collect()  # LaunchDarkly's client leaves the refused connection to the collector


class Own(InMemoryProvider):
    """A provider of the operator's own."""

    def __init__(self, flags: Mapping[str, InMemoryFlag[Any]]) -> None:
        super().__init__(dict(flags))
        self.failing: Exception | None = None
        self.seen: list[EvaluationContext | None] = []

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        self.seen.append(evaluation_context)
        if self.failing is not None:
            raise self.failing
        return super().resolve_boolean_details(flag_key, default_value, evaluation_context)

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self.resolve_boolean_details(flag_key, default_value, evaluation_context)


def own() -> Own:
    """What a configuration may name."""
    return Own({"canary": _flag(on=True), "text": InMemoryFlag("trial", {"trial": "x", "other": "y"})})


def _flag(*, on: bool) -> InMemoryFlag[bool]:
    return InMemoryFlag("on" if on else "off", {"on": True, "off": False})


OWN = OpenFeatureSettings(f"{__name__}:own")


def asking_own(provider: Own, now: Now, changed: Callable[[], None] = lambda: None) -> SdkEvaluator:
    return SdkEvaluator(OWN, lambda: provider, {"environment": "test"}, changed, now)


def test_a_provider_of_ones_own_is_named_by_module_and_function(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("our_flags")
    module.provider = own  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "our_flags", module)
    settings = OpenFeatureSettings("our_flags:provider")
    assert one(evaluator(settings, None, {}, lambda: None, Now())) == Evaluation(True)
    by_variant = replace(settings, variant="trial")
    assert one(evaluator(by_variant, None, {}, lambda: None, Now()), Question("text", "anna")).exposed is True
    for name, path in (("our_flags:missing", "name a function"), ("no_such_module:x", "no_such_module")):
        with pytest.raises(ConfigError, match=path):
            evaluator(OpenFeatureSettings(name), None, {}, lambda: None, Now())


def test_a_provider_is_asked_with_the_unit_as_targeting_key_and_the_rest_as_attributes() -> None:
    provider = own()
    one(asking_own(provider, Now()), Question("canary", "anna", (("country", "se"),)))
    (seen,) = provider.seen
    assert seen is not None
    assert (seen.targeting_key, dict(seen.attributes)) == ("anna", {"environment": "test", "country": "se"})


def test_a_provider_that_raises_gives_no_answer_and_its_words_which_may_hold_the_unit_are_not_told() -> None:
    provider = own()
    provider.failing = RuntimeError("no such unit: anna")
    assert one(asking_own(provider, Now())) == Evaluation(None, "GENERAL")


def test_a_flag_of_another_type_exposes_nobody() -> None:
    found = one(asking_own(own(), Now()), Question("text", "anna"))
    assert found.exposed is False
    assert "TYPE_MISMATCH" in found.problem


def test_a_stale_provider_answers_for_its_age_and_again_when_it_is_ready() -> None:
    provider, now = own(), Now()
    told: list[int] = []

    async def scenario() -> None:
        asking = asking_own(provider, now, lambda: told.append(1))
        await asking.start()
        provider.emit_provider_stale(ProviderEventDetails(message="the stream is cut"))
        await until(lambda: asking.illness is not None)
        now.now += 59.9
        assert await asking.evaluate([ANNA]) == [Evaluation(True)]
        now.now += 0.1
        found = (await asking.evaluate([ANNA]))[0]
        assert (found.exposed, "is stale: the stream is cut" in found.problem) == (None, True)
        provider.emit_provider_ready(ProviderEventDetails())
        await until(lambda: asking.illness is None)
        assert await asking.evaluate([ANNA]) == [Evaluation(True)]
        assert told, "what was held may be wrong by now"
        await asking.close()

    asyncio.run(scenario())


def test_however_often_a_provider_is_made_anew_the_sdk_keeps_two_domains_of_it() -> None:
    made: list[Own] = []
    now = Now()
    told: list[int] = []

    def make() -> Own:
        made.append(own())
        return made[-1]

    async def scenario() -> None:
        domains, clients = len(provider_registry._providers), len(_event_support._client_handlers)
        asking = SdkEvaluator(OWN, make, {}, lambda: told.append(1), now, renew=1.0)
        await asking.start()
        for renewals in range(1, 7):
            now.now += 1.1
            assert await asking.evaluate([ANNA]) == [Evaluation(True)]
            assert len(made) == 1 + renewals
            assert made[-1].seen, "the newest is asked"
        assert len(provider_registry._providers) <= domains + 2
        assert len(_event_support._client_handlers) <= clients + 2
        made[-1].emit_provider_configuration_changed(ProviderEventDetails())
        await until(lambda: bool(told))
        await asking.close()

    asyncio.run(scenario())


def test_a_provider_that_cannot_be_made_anew_leaves_the_running_one_in_its_place() -> None:
    now = Now()
    ready = [own(), None, None, None, own()]

    def make() -> Own:
        found = ready.pop(0)
        if found is None:
            raise RuntimeError("away")
        return found

    async def scenario() -> None:
        asking = SdkEvaluator(OWN, make, {}, lambda: None, now, renew=1.0)
        await asking.start()
        for ill in (True, True, True, False):
            now.now += 1.1
            assert await asking.evaluate([ANNA]) == [Evaluation(True)]
            assert (asking.illness is not None) is ill
        await asking.close()

    asyncio.run(scenario())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - providers' threads have no event for it
            await asyncio.sleep(0.01)
