from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from domain.routing import Mode
from settings import file, snapshot
from settings.schema import CompareSettings, Stage

SETTINGS = file.load(Path(__file__).with_name("contract.yaml"))
RAIN = SETTINGS.endpoint("rain")


def test_at_boot_every_candidate_is_out() -> None:
    boot = snapshot.boot(SETTINGS)
    assert (boot.generation, boot.config_digest) == (0, SETTINGS.digest)
    assert [(one.tripped, one.mode, one.weight) for one in boot.endpoints] == [(True, Mode.SHADOW, 0)]
    assert boot.incumbents_only() == boot


def test_an_endpoint_carries_the_settings_and_what_the_control_process_decides() -> None:
    served = snapshot.endpoint(RAIN, mode=Mode.CANARY, weight=100, tripped=False)
    assert (served.mode, served.weight, served.tripped) == (Mode.CANARY, 100, False)
    assert (served.path, served.unit, served.timeout, served.flag) == (
        RAIN.path,
        RAIN.unit,
        RAIN.timeout,
        RAIN.flag,
    )
    assert (served.incumbent, served.candidate, served.shadow) == (
        RAIN.incumbent,
        RAIN.candidate,
        RAIN.shadow,
    )
    assert (served.max_body, served.context, served.breaker) == (
        RAIN.max_body,
        RAIN.context,
        RAIN.guards.breaker,
    )


def test_another_candidate_or_endpoint_is_tried_on_other_units() -> None:
    assert RAIN.candidate is not None
    other = replace(RAIN, candidate=replace(RAIN.candidate, name="rain-3"))
    renamed = replace(RAIN, name="sun")
    salts = {
        snapshot.endpoint(one, mode=Mode.SHADOW, weight=0, tripped=False).release
        for one in (RAIN, other, renamed)
    }
    assert len(salts) == 3
    alone = snapshot.endpoint(replace(RAIN, candidate=None), mode=Mode.SHADOW, weight=0, tripped=False)
    assert alone.release == ""


def test_a_worker_is_told_which_cohorts_travel_and_keeps_requests_only_for_features() -> None:
    served = snapshot.endpoint(RAIN, mode=Mode.SHADOW, weight=0, tripped=False)
    assert (served.cohorts, served.keep_request) == (("x-country",), True)
    headers = replace(RAIN, cohorts=RAIN.cohorts[:1])
    served = snapshot.endpoint(headers, mode=Mode.SHADOW, weight=0, tripped=False)
    assert (served.cohorts, served.keep_request) == (("x-country",), True), "drift reads features, too"
    undrifting = replace(headers, guards=replace(RAIN.guards, drift=None))
    served = snapshot.endpoint(undrifting, mode=Mode.SHADOW, weight=0, tripped=False)
    assert (served.cohorts, served.keep_request) == (("x-country",), False)


def test_the_comparison_travels_to_the_workers_where_some_stage_is_guarded_from_boot_on() -> None:
    compare = CompareSettings("json", labels=("a", "b"), ignore=("/id",), tolerances=(("/score", 0.5),))
    plain = replace(RAIN, compare=compare, protocol="json")
    guarded = replace(plain, plan=(Stage(Mode.SHADOW), Stage(Mode.GUARDED, 100, 500), Stage(Mode.CANARY, 1)))
    for settings, travels in ((plain, False), (guarded, True)):
        for mode in (Mode.SHADOW, Mode.GUARDED):
            weight = 0 if mode is Mode.SHADOW else 100
            served = snapshot.endpoint(settings, mode=mode, weight=weight, tripped=mode is Mode.SHADOW)
            assert bool(served.compare) == travels
    assert served.protocol == "json"
    assert msgspec.json.decode(served.compare, type=CompareSettings) == compare
    assert snapshot.boot(replace(SETTINGS, endpoints=(guarded,))).endpoints[0].compare == served.compare
