"""The configuration contract: its example loads, and what it does not allow is refused by key and reason."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError
from domain.reference import Reference, Registry
from domain.routing import Mode, Upstream, Version
from domain.snapshot import ShadowLimits, UnitKind, UnitSource
from settings import file
from settings.criteria import DriftGate, EvaluationGate, GateSettings, LatencyGate, MemoryGate
from settings.drills import DrillSettings
from settings.parse import parse, problems
from settings.schema import (
    AccuracyGuard,
    Address,
    ClassesGuard,
    CohortKind,
    CohortSource,
    CompareSettings,
    ConfidenceGuard,
    DivergenceGuard,
    DriftGuard,
    EndpointSettings,
    ErrorsGuard,
    FlipsGuard,
    GuardSettings,
    LatencyGuard,
    Stage,
    UnleashSettings,
)

EXAMPLE = Path(__file__).with_name("contract.yaml")
DOCUMENT: Any = file.document(EXAMPLE)


def changed(path: str, value: object) -> dict[str, Any]:
    """The example with one key set (a number in the path is an index) or, with `...`, deleted."""
    document: dict[str, Any] = copy.deepcopy(DOCUMENT)
    where: Any = document
    *parents, last = path.split("/")
    for part in parents:
        where = where[int(part)] if isinstance(where, list) else where.setdefault(part, {})
    if value is ...:
        del where[last]
    elif isinstance(where, list):
        where[int(last)] = value
    else:
        where[last] = value
    return document


def rain(path: str, value: object) -> EndpointSettings:
    return parse(changed(f"endpoints/rain/{path}", value)).endpoint("rain")


def test_the_example_of_the_contract_loads_whole() -> None:
    settings = file.load(EXAMPLE)
    assert settings.listen == Address("127.0.0.1", 8080)
    assert settings.admin == Address("127.0.0.1", 8081)
    assert (settings.workers, settings.drain) == (1, 30.0)
    assert settings.database == "sqlite:///var/pointsman.db"
    assert settings.flags_path == "flags.json"
    assert settings.document == DOCUMENT
    assert settings.endpoints == (
        EndpointSettings(
            name="rain",
            path="/v2/models/rain/infer",
            protocol="v2",
            unit=UnitSource(UnitKind.HEADER, "x-user-id"),
            incumbent=Version("rain-1", (Upstream("127.0.0.1", 9001),)),
            candidate=Version("rain-2", (Upstream("127.0.0.1", 9002),)),
            compare=CompareSettings("classification", "predict_proba"),
            timeout=2.0,
            max_body=8 * 1024 * 1024,
            flag="rain-v2-canary",
            shadow=ShadowLimits(10_000, 256, 64 * 1024 * 1024),
            guards=GuardSettings(
                false_alarm=0.001,
                vote_window=600.0,
                divergence=DivergenceGuard(0.02),
                flips=FlipsGuard(0.01),
                errors=ErrorsGuard(0.005),
                latency=LatencyGuard(1.5, 1.5, 0.2, 0.01),
                confidence=ConfidenceGuard(0.05),
                classes=ClassesGuard(0.05),
                drift=DriftGuard(0.1),
                accuracy=AccuracyGuard(0.01),
                breaker=5,
            ),
            plan=(
                Stage(Mode.SHADOW, pairs=500),
                Stage(Mode.CANARY, 100, 500),
                Stage(Mode.CANARY, 1000, 1000, 600.0),
                Stage(Mode.CANARY, 5000, 0, 3600.0),
            ),
            cohorts=(CohortSource(CohortKind.HEADER, "x-country"), CohortSource(CohortKind.FEATURE, "0")),
            incumbent_lineage=(Reference(Registry.FILE, "rain-1"),),
            candidate_lineage=(Reference(Registry.FILE, "rain-2"),),
            gates=GateSettings(
                evaluation=EvaluationGate("holdout.parquet", "y", "accuracy", 0.005),
                latency=LatencyGate(100.0, 30.0, ((0.99, 0.05),)),
                memory=MemoryGate(512 * 1024 * 1024),
                drift=DriftGate(0.1),
            ),
            watch=86_400.0,
            drills=DrillSettings(every="0 3 * * 1", environment="staging"),
        ),
    )


UNLEASH = {"url": "https://unleash.example:4242/api/", "token_env": "TOKEN", "environment": "production"}


OPENFEATURE = {"provider": "ofrep", "url": "http://flags:8016/", "token_env": "OFREP_KEY", "age": "30s"}


def test_flags_are_asked_for_unit_by_unit_when_the_source_says_so() -> None:
    given = {"source": "openfeature", "path": "flags.json", "openfeature": OPENFEATURE}
    settings = parse(changed("flags", given | {"environment": "production", "app_name": "rain"}))
    platform = settings.openfeature
    assert platform is not None
    assert (platform.provider, platform.url, platform.token_env) == (
        "ofrep",
        "http://flags:8016",
        "OFREP_KEY",
    )
    assert (platform.age, platform.units) == (30.0, 100_000)
    assert (settings.flags_path, settings.unleash) == (None, None)
    assert (settings.environment, settings.app_name) == ("production", "rain")
    assert "flags.path" in settings.inert
    assert "flags.openfeature" not in settings.inert


def test_environment_and_application_are_those_of_unleash_where_flags_come_from_there() -> None:
    given = {"source": "unleash", "unleash": UNLEASH}
    settings = parse(changed("flags", given))
    assert settings.unleash is not None
    assert (settings.environment, settings.app_name) == (settings.unleash.environment, "pointsman")
    (problem,) = problems(changed("flags", given | {"environment": "staging"}))
    assert (problem.path, "flags.unleash.environment" in problem.allowed) == ("flags.environment", True)


def test_a_plan_is_driven_in_unleash_where_its_token_and_whole_percentages_are() -> None:
    flags = {"source": "unleash", "unleash": UNLEASH | {"admin_token_env": "ADMIN"}}
    driven = changed(ENDPOINT + "drive", "unleash")
    driven["flags"] = flags
    driven["endpoints"]["rain"]["plan"] = [{"mode": "canary", "weight": "5%"}]
    assert parse(driven).endpoint("rain").drive == "unleash"
    driven["endpoints"]["rain"]["plan"] = [{"mode": "canary", "weight": "0.5%"}]
    driven["flags"]["unleash"]["admin_token_env"] = None
    paths = [problem.path for problem in problems(driven)]
    assert paths == ["endpoints.rain.drive", "endpoints.rain.plan[0].weight"]


def test_flags_come_from_unleash_when_the_source_says_so() -> None:
    given = {"source": "unleash", "path": "flags.json", "unleash": UNLEASH}
    settings = parse(changed("flags", given))
    assert settings.unleash == UnleashSettings("https://unleash.example:4242/api", "TOKEN", "production")
    assert settings.flags_path is None
    assert "flags.path" in settings.inert
    of_a_file = parse(changed("flags", given | {"source": "file"}))
    assert (of_a_file.unleash, of_a_file.flags_path) == (None, "flags.json")
    assert "flags.unleash" in of_a_file.inert


@pytest.mark.parametrize("key", UNLEASH)
def test_a_server_is_named_with_its_token_and_environment(key: str) -> None:
    (problem,) = problems(changed("flags", {"source": "unleash", "unleash": UNLEASH | {key: None}}))
    assert problem.path == f"flags.unleash.{key}"
    assert "flags.source is unleash" in problem.allowed


def test_nothing_in_the_example_is_inert() -> None:
    assert parse(DOCUMENT).inert == ()


def test_predictions_are_judged_by_their_noise_where_the_incumbent_is_asked_twice() -> None:
    assert not rain("shadow/noise_share", "0%").guards.noisy
    noisy = rain("shadow/noise_share", "5%")
    assert (noisy.shadow.noise_share, noisy.guards.noisy) == (500, True)
    document = changed("endpoints/rain/shadow", {"share": "0%", "noise_share": "5%"})
    document["endpoints"]["rain"]["plan"] = [{"mode": "shadow"}]
    assert not parse(document).endpoint("rain").guards.noisy, "nothing is mirrored, so nothing is asked twice"
    document["endpoints"]["rain"]["plan"] = [{"mode": "guarded", "weight": "1%"}]
    assert parse(document).endpoint("rain").guards.noisy, "a guarded stage asks both arms by itself"


def test_cohorts_are_headers_and_features() -> None:
    found = rain("cohorts", ["header:X-Country", "feature:0", "feature:age"]).cohorts
    assert list(map(str, found)) == ["header:x-country", "feature:0", "feature:age"]


ENDPOINT = "endpoints/rain/"


def _asked(**platform: str) -> dict[str, object]:
    return {"source": "openfeature", "openfeature": platform}


REFUSED = [
    ("listen", 8080, "listen", "host:port"),
    ("admin", "0.0.0.0:8081", "admin", "without authentication only loopback"),
    ("admin", "10.0.0.1:8081", "admin", "loopback"),
    ("admin", "admin.example:8081", "admin", "loopback"),
    ("admin", "127.0.0.1:8080", "admin", "another port"),
    ("listen", "0.0.0.0:8081", "admin", "another port"),
    ("workers", 0, "workers", "1 to 128"),
    ("workers", True, "workers", "whole number"),
    ("workers", "4", "workers", "whole number"),
    ("workers", 2.0, "workers", "whole number"),
    ("drain", 30, "drain", "with its unit"),
    ("state/database", "mysql://user@host/db", "state.database", "postgresql://user@host/database"),
    ("state/database", "postgresql://user:secret@host/db", "state.database", "PGPASSWORD"),
    ("state/database", "sqlite:///:memory:", "state.database", "has to be a file"),
    ("state/database", "sqlite://", "state.database", "sqlite:///var"),
    ("state/database", "sqlite:///var/", "state.database", "sqlite:///relative"),
    ("state/redis", "http://localhost", "state.redis", "redis+sentinel://HOST:PORT"),
    ("state/redis", "redis://user:secret@localhost", "state.redis", "state.redis_password_env"),
    ("state/replica", "no blanks", "state.replica", "no other replica"),
    ("flags/source", "openfeature", "flags.openfeature.provider", "flags.source is openfeature"),
    ("flags/source", "fil", "flags.source", "use 'file', 'unleash' or 'openfeature'"),
    ("flags/environment", "a b", "flags.environment", "1 to 100 letters"),
    ("flags/openfeature", {"provider": "posthog"}, "flags.openfeature.provider", "module:function"),
    ("flags", _asked(provider="ofrep"), "flags.openfeature.url", "the provider is ofrep"),
    ("flags", _asked(provider="flagd"), "flags.openfeature.path", "the provider is flagd"),
    ("flags", _asked(provider="growthbook", url="http://gb"), "flags.openfeature.token_env", "client key"),
    ("flags", _asked(provider="our.flags:make", path="x"), "flags.openfeature.path", "takes no such key"),
    (
        "flags/openfeature",
        {"provider": "launchdarkly", "token_env": "sdk-abc"},
        "flags.openfeature.token_env",
        "never the secret",
    ),
    (
        "flags/openfeature",
        {"provider": "ofrep", "url": "http://u:p@ofrep"},
        "flags.openfeature.url",
        "do not belong into a URL",
    ),
    ("flags/openfeature", {"provider": "a:b", "age": "0s"}, "flags.openfeature.age", "1s"),
    ("flags/openfeature", {"provider": "a:b", "units": 7}, "flags.openfeature.units", "100"),
    (ENDPOINT + "drive", "flag", "endpoints.rain.drive", "'plan' or 'unleash'"),
    (ENDPOINT + "drive", "unleash", "endpoints.rain.drive", "flags.source: unleash"),
    ("flags/path", ..., "endpoints.rain.flag", "flags.path"),
    ("flags/unleash", {"url": "http://user:pw@unleash/api"}, "flags.unleash.url", "do not belong into a URL"),
    ("flags/unleash", {"project": "a/../b"}, "flags.unleash.project", "as in Unleash"),
    ("flags/unleash", {"environment": ".."}, "flags.unleash.environment", "as in Unleash"),
    ("flags/unleash", {"poll": "1ms"}, "flags.unleash.poll", "100ms"),
    ("flags/unleash", {"token_env": "*:production.abc"}, "flags.unleash.token_env", "never the secret"),
    ("registry/source", "mlflow", "registry.source", "give registry.mlflow.url too"),
    ("auth/tokens_file", "", "auth.tokens_file", "text"),
    ("endpoints", {}, "endpoints", "at least one"),
    ("endpoints", ..., "endpoints", "required"),
    ("endpoints", ["rain"], "endpoints", "mapping"),
    ("endpoints/rain", None, "endpoints.rain", "mapping"),
    ("endpoints/bad name", {}, "endpoints.'bad name'", "letters"),
    (ENDPOINT + "path", ..., "endpoints.rain.path", "required"),
    (ENDPOINT + "path", "v2/models", "endpoints.rain.path", "'/'"),
    (ENDPOINT + "path", "/a?b", "endpoints.rain.path", "without query"),
    (ENDPOINT + "path", "/a/../b", "endpoints.rain.path", "'..'"),
    (ENDPOINT + "path", "/ä", "endpoints.rain.path", "ASCII"),
    (ENDPOINT + "path", "/a b", "endpoints.rain.path", "ASCII"),
    (ENDPOINT + "path", "//a", "endpoints.rain.path", "ASCII"),
    (ENDPOINT + "protocol", "v3", "endpoints.rain.protocol", "'seldon', 'openai' or 'json'"),
    (ENDPOINT + "unit", "cookie:id", "endpoints.rain.unit", "header:NAME"),
    (ENDPOINT + "unit", "header:", "endpoints.rain.unit", "header:NAME"),
    (ENDPOINT + "unit", "header:x user", "endpoints.rain.unit", "header:NAME"),
    (ENDPOINT + "unit", "header:Connection", "endpoints.rain.unit", "one connection"),
    (ENDPOINT + "unit", "header:X-Pointsman-Arm", "endpoints.rain.unit", "x-pointsman"),
    (ENDPOINT + "unit", "body:user", "endpoints.rain.unit", "JSON pointer"),
    (ENDPOINT + "unit", "body:/a~2", "endpoints.rain.unit", "JSON pointer"),
    (ENDPOINT + "timeout", 2, "endpoints.rain.timeout", "250ms"),
    (ENDPOINT + "timeout", "0s", "endpoints.rain.timeout", "from 1ms to 1h"),
    (ENDPOINT + "max_body", "8M", "endpoints.rain.max_body", "8MiB"),
    (ENDPOINT + "max_body", "0B", "endpoints.rain.max_body", "from 1B"),
    (ENDPOINT + "idempotent", "yes", "endpoints.rain.idempotent", "true or false"),
    (ENDPOINT + "idempotent", 1, "endpoints.rain.idempotent", "true or false"),
    (ENDPOINT + "context", {"userId": "header:x"}, "endpoints.rain.context.userId", "sessionId"),
    (
        ENDPOINT + "context",
        {"environment": "header:x"},
        "endpoints.rain.context.environment",
        "gateway itself",
    ),
    (ENDPOINT + "context", {"country": "x-country"}, "endpoints.rain.context.country", "header:NAME"),
    (ENDPOINT + "context", ["country"], "endpoints.rain.context", "mapping"),
    (ENDPOINT + "incumbent", ..., "endpoints.rain.incumbent", "required"),
    (ENDPOINT + "incumbent", "rain-1", "endpoints.rain.incumbent", "mapping"),
    (ENDPOINT + "incumbent/version", 1.1, "endpoints.rain.incumbent.version", "quotes"),
    (ENDPOINT + "incumbent/urls", [], "endpoints.rain.incumbent.urls", "at least one"),
    (ENDPOINT + "incumbent/urls", "http://a", "endpoints.rain.incumbent.urls", "list"),
    (ENDPOINT + "incumbent/urls", ["http://a", "http://A/"], "endpoints.rain.incumbent.urls", "once"),
    (ENDPOINT + "incumbent/urls", [f"http://h{i}" for i in range(65)], "endpoints.rain.incumbent.urls", "64"),
    (ENDPOINT + "candidate/version", "rain-1", "endpoints.rain.candidate.version", "incumbent"),
    (ENDPOINT + "candidate/path", "x", "endpoints.rain.candidate.path", "'/'"),
    (ENDPOINT + "flag", " ", "endpoints.rain.flag", "printable"),
    (ENDPOINT + "cohorts", ["x-country"], "endpoints.rain.cohorts[0]", "feature"),
    (ENDPOINT + "shadow/share", 1, "endpoints.rain.shadow.share", "percentage"),
    (ENDPOINT + "shadow/share", "0.001%", "endpoints.rain.shadow.share", "0.01%"),
    (ENDPOINT + "shadow/max_in_flight", 0, "endpoints.rain.shadow.max_in_flight", "1 to 65536"),
    (ENDPOINT + "compare", ..., "endpoints.rain.compare", "required"),
    (
        ENDPOINT + "compare/kind",
        "rankings",
        "endpoints.rain.compare.kind",
        "'boxes' or 'series'",
    ),
    (ENDPOINT + "compare/tolerance", 0.1, "endpoints.rain.compare.tolerance", "'kind: regression' or"),
    (ENDPOINT + "compare", {"kind": "regression", "scale": 0}, "endpoints.rain.compare.scale", "from"),
    (
        ENDPOINT + "compare",
        {"kind": "regression", "labels": ["a"]},
        "endpoints.rain.compare.labels",
        "belongs to",
    ),
    (ENDPOINT + "compare/threshold", 1, "endpoints.rain.compare.threshold", "number from"),
    (ENDPOINT + "guards/false_alarm", 0.5, "endpoints.rain.guards.false_alarm", "49%"),
    (ENDPOINT + "guards/false_alarm", 0, "endpoints.rain.guards.false_alarm", "0.0000001%"),
    (ENDPOINT + "guards/vote/per", "user", "endpoints.rain.guards.vote.per", "'unit', 'pair' or 'row'"),
    (ENDPOINT + "guards/vote/per", "pair", "endpoints.rain.guards.vote.window", "leave the window out"),
    (ENDPOINT + "guards/vote/per", "row", "endpoints.rain.guards.vote.window", "every row votes"),
    (ENDPOINT + "guards/vote/block", 0, "endpoints.rain.guards.vote.block", "from 1 to 1000"),
    (ENDPOINT + "guards/certify", "60%", "endpoints.rain.guards.certify", "from 0.01% to 49%; or false"),
    (ENDPOINT + "guards/certify", True, "endpoints.rain.guards.certify", "or false"),
    (ENDPOINT + "guards/confidence/shift", "10%", "endpoints.rain.guards.confidence.shift", "to 9%"),
    (ENDPOINT + "guards/vote/window", "0s", "endpoints.rain.guards.vote.window", "from 1s"),
    (ENDPOINT + "guards/flips", {}, "endpoints.rain.guards.flips.rate", "required"),
    (ENDPOINT + "guards/flips/rate", 1, "endpoints.rain.guards.flips.rate", "90%"),
    (ENDPOINT + "guards/flips/rate", "0%", "endpoints.rain.guards.flips.rate", "from 0.001%"),
    (ENDPOINT + "guards/errors/excess", -0.1, "endpoints.rain.guards.errors.excess", "from 0.001%"),
    (ENDPOINT + "guards/latency", {}, "endpoints.rain.guards.latency.slo", "p95_ratio"),
    (
        ENDPOINT + "guards/latency",
        {"slo_rate": "1%"},
        "endpoints.rain.guards.latency.slo_rate",
        "needs its slo",
    ),
    (ENDPOINT + "guards/latency/p99_ratio", 0.9, "endpoints.rain.guards.latency.p99_ratio", "1 to 100"),
    (
        ENDPOINT + "guards/breaker/consecutive_errors",
        -1,
        "endpoints.rain.guards.breaker.consecutive_errors",
        "0",
    ),
    (ENDPOINT + "guards/drift/shift", "x", "endpoints.rain.guards.drift.shift", "percentage"),
    (ENDPOINT + "gates/latency/for", 30, "endpoints.rain.gates.latency.for", "250ms"),
    (ENDPOINT + "gates/memory/max", 512, "endpoints.rain.gates.memory.max", "8MiB"),
    (ENDPOINT + "watch", "a day", "endpoints.rain.watch", "7d"),
    (ENDPOINT + "drills/every", "daily", "endpoints.rain.drills.every", "weekday"),
    (ENDPOINT + "plan", [], "endpoints.rain.plan", "at least one stage"),
    (ENDPOINT + "plan", {"mode": "shadow"}, "endpoints.rain.plan", "list"),
    (ENDPOINT + "plan/0", "shadow", "endpoints.rain.plan[0]", "mapping"),
    (ENDPOINT + "plan/0/mode", "guard", "endpoints.rain.plan[0].mode", "'shadow', 'guarded' or 'canary'"),
    (ENDPOINT + "plan/0/mode", "guarded", "endpoints.rain.plan[0].weight", "guarded stage needs a weight"),
    (ENDPOINT + "plan/2/mode", "guarded", "endpoints.rain.plan[2].mode", "come before canary stages"),
    (ENDPOINT + "plan/0/mode", ..., "endpoints.rain.plan[0].mode", "required"),
    (ENDPOINT + "plan/0/weight", "1%", "endpoints.rain.plan[0].weight", "serves nobody"),
    (ENDPOINT + "plan/0/pairs", 0, "endpoints.rain.plan[0].pairs", "by time alone"),
    (ENDPOINT + "plan/1/weight", ..., "endpoints.rain.plan[1].weight", "needs a weight"),
    (ENDPOINT + "plan/1/weight", "0%", "endpoints.rain.plan[1].weight", "above 0%"),
    (ENDPOINT + "plan/1/weight", "0.001%", "endpoints.rain.plan[1].weight", "0.01%"),
    (ENDPOINT + "plan/1/weight", 1, "endpoints.rain.plan[1].weight", "percentage"),
    (ENDPOINT + "plan/1/weight", "11%", "endpoints.rain.plan[2].weight", "never go down; at least 11%"),
    (ENDPOINT + "plan/3", {"mode": "shadow"}, "endpoints.rain.plan[3].mode", "before canary"),
    (ENDPOINT + "plan", [{"mode": "shadow"}] * 101, "endpoints.rain.plan", "at most 100"),
]


@pytest.mark.parametrize(("where", "value", "path", "reason"), REFUSED)
def test_what_the_contract_does_not_allow_is_refused_by_key_and_reason(
    where: str, value: object, path: str, reason: str
) -> None:
    document = changed(where, value)
    found = problems(document)
    assert [(problem.path, reason in problem.allowed) for problem in found] == [(path, True)]
    with pytest.raises(ConfigError) as caught:
        parse(document)
    assert str(caught.value) == str(found[0])


@pytest.mark.parametrize(
    ("url", "upstream"),
    [
        ("http://models", Upstream("models", 80)),
        ("https://Models.example", Upstream("models.example", 443, tls=True)),
        ("http://10.0.0.1:9001/", Upstream("10.0.0.1", 9001)),
        ("http://[::1]:9001/a/b/", Upstream("::1", 9001, prefix="/a/b")),
    ],
)
def test_urls_are_host_port_and_prefix(url: str, upstream: Upstream) -> None:
    assert rain("incumbent/urls", [url]).incumbent.upstreams == (upstream,)


@pytest.mark.parametrize(
    "url",
    [
        "models:9001",
        "//models",
        "ftp://models",
        "http://",
        "http:///x",
        "http://a:0",
        "http://a:",
        "http://a:65536",
        "http://a:x",
        "http://a?b",
        "http://a/?",
        "http://a#b",
        "http://a#",
        "http://u@a",
        "http://u:p@a",
        "http://@a",
        "http://a b",
        "http://a\n",
        "http://ä",
        "http://a/../b",
        "http://127.1",
        "http://[::1",
        "unix:/x",
        9001,
        "",
        "http://a//b\\c",
        "http://[::1]x:80",
        "http://-a",
        "http://%61",
    ],
)
def test_a_url_that_requests_cannot_be_sent_to_is_refused(url: object) -> None:
    (problem,) = problems(changed("endpoints/rain/incumbent/urls", [url, "http://good:9001"]))
    assert problem.path == "endpoints.rain.incumbent.urls[0]"


def test_a_password_in_a_refused_value_is_not_repeated() -> None:
    for where in ("endpoints/rain/incumbent/urls/0", "state/redis", "state/database", "surprise"):
        found = problems(changed(where, "http://user:hunter2@host/" + "x" * 2000))
        assert found
        assert "hunter2" not in "".join(str(problem) + repr(problem.value) for problem in found)


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    (problem,) = problems(changed("endpoints/rain/guards/flips/rte", "1%"))
    assert str(problem) == (
        "endpoints.rain.guards.flips.rte: '1%' is not allowed; there is no such key; did you mean 'rate'?"
    )
    (problem,) = problems(changed("endpoints/rain/xyzzy", 1))
    assert "known here: path, protocol, unit" in problem.allowed


def test_all_problems_of_a_document_are_found_at_once_and_a_misspelt_key_comes_first() -> None:
    document = changed("workers", 0)
    document["endpoints"]["rain"]["pth"] = document["endpoints"]["rain"].pop("path")
    document["endpoints"]["rain"]["plan"][1]["weight"] = 1
    paths = [problem.path for problem in problems(document)]
    assert paths == ["endpoints.rain.pth", "workers", "endpoints.rain.path", "endpoints.rain.plan[1].weight"]


def test_two_endpoints_cannot_have_one_path() -> None:
    document = changed("endpoints/sun", copy.deepcopy(DOCUMENT["endpoints"]["rain"]))
    (problem,) = problems(document)
    assert (problem.path, "'rain'" in problem.allowed) == ("endpoints.sun.path", True)


def test_only_loopback_may_have_the_admin_api() -> None:
    for admin in ("127.0.0.1:0", "127.9.9.9:1", "[::1]:8081", "localhost:8081"):
        assert parse(changed("admin", admin)).admin.host in {"127.0.0.1", "127.9.9.9", "::1", "localhost"}


def test_null_means_left_out_everywhere() -> None:
    absent = parse(changed("endpoints/rain/guards", ...))
    null = parse(changed("endpoints/rain/guards", None))
    assert replace(null, digest="", document={}) == replace(absent, digest="", document={})
    assert rain("candidate", None).candidate is None
    assert rain("guards/flips", None).guards.flips is None


def test_every_pair_votes_when_the_vote_is_per_pair() -> None:
    assert rain("guards/vote", {"per": "pair"}).guards.vote_window == 0.0
    assert rain("guards/vote", {"per": "row"}).guards.vote_window == 0.0
    assert rain("guards/vote", {"per": "unit"}).guards.vote_window == 600.0
    assert [rain("guards/vote", {"per": per}).guards.vote_per for per in ("unit", "row")] == ["unit", "row"]
    assert rain("guards/vote", {"block": 20}).guards.vote_block == 20


def test_certification_has_a_chance_of_error_or_is_off() -> None:
    assert rain("guards/certify", "1%").guards.certify == 0.01
    assert rain("guards/false_alarm", 0.001).guards.certify == 0.05
    assert rain("guards/certify", False).guards.certify is None


def test_weights_start_anew_when_guarded_stages_are_over() -> None:
    stages = [{"mode": "shadow"}, {"mode": "guarded", "weight": "50%"}, {"mode": "canary", "weight": "1%"}]
    plan = rain("plan", stages).plan
    assert [(stage.mode, stage.weight) for stage in plan] == [
        (Mode.SHADOW, 0),
        (Mode.GUARDED, 5000),
        (Mode.CANARY, 100),
    ]
    falling = [{"mode": "guarded", "weight": "50%"}, {"mode": "guarded", "weight": "49%"}]
    (problem,) = problems(changed(ENDPOINT + "plan", falling))
    assert (problem.path, "at least 50%" in problem.allowed) == ("endpoints.rain.plan[1].weight", True)


def test_without_mirroring_errors_are_judged_by_counts() -> None:
    assert rain("shadow/share", "100%").guards.mirrored
    document = changed("endpoints/rain/shadow/share", "0%")
    document["endpoints"]["rain"]["plan"] = [{"mode": "canary", "weight": "1%"}]
    assert not parse(document).endpoint("rain").guards.mirrored


SHADOW, CANARY = {"mode": "shadow"}, {"mode": "canary", "weight": "10%"}
GUARDED = {"mode": "guarded", "weight": "10%"}
SOFT = {"drift": {"shift": "10%"}, "accuracy": {"drop": "1%"}}
ERRORS, FLIPS = {"errors": {"excess": "1%"}}, {"flips": {"rate": "1%"}}


@pytest.mark.parametrize(
    ("plan", "guards", "words"),
    [
        ([SHADOW, CANARY], ERRORS, "plan[0] could never move on: a shadow stage without mirrored requests"),
        ([CANARY, CANARY], FLIPS, "only errors can be judged"),
        ([CANARY, CANARY], {}, "give a share above 0%, or guards.errors"),
        ([CANARY, CANARY], ERRORS | FLIPS, "guards.flips need mirrored requests"),
        ([CANARY, CANARY], ERRORS | SOFT, "guards.drift, guards.accuracy need"),
        ([GUARDED, CANARY, CANARY], FLIPS, "plan[1] could never move on"),
    ],
)  # fmt: skip
def test_a_plan_that_could_never_move_on_for_want_of_pairs_is_refused(
    plan: list[Any], guards: dict[str, Any], words: str
) -> None:
    document = changed("endpoints/rain/shadow/share", "0%")
    document["endpoints"]["rain"] |= {"plan": plan, "guards": guards}
    (problem,) = problems(document)
    assert (problem.path, problem.value) == ("endpoints.rain.shadow.share", "0%")
    assert words in problem.allowed
    document["endpoints"]["rain"]["shadow"]["share"] = "1%"
    assert problems(document) == ()


@pytest.mark.parametrize(
    ("plan", "guards"),
    [
        ([SHADOW], FLIPS),
        ([CANARY, CANARY], ERRORS),
        ([GUARDED, GUARDED], FLIPS),
        ([GUARDED, CANARY, CANARY], FLIPS | ERRORS),
    ],
)
def test_a_plan_without_mirroring_may_stand_where_every_stage_can_end(
    plan: list[Any], guards: dict[str, Any]
) -> None:
    document = changed("endpoints/rain/shadow/share", "0%")
    document["endpoints"]["rain"] |= {"plan": plan, "guards": guards}
    assert problems(document) == ()


def test_drift_is_against_a_file_or_against_what_is_learned_first() -> None:
    assert rain("guards/drift", {"shift": "10%"}).guards.drift == DriftGuard(0.1, None, 1000)
    assert rain("guards/drift", {"shift": "2%", "reference": "profile.csv"}).guards.drift == DriftGuard(
        0.02, "profile.csv"
    )
    longer = rain("guards/drift", {"shift": "3%", "learn": 10_000}).guards.drift
    assert longer == DriftGuard(0.03, None, 10_000)
    (problem,) = problems(changed("endpoints/rain/guards/drift", {"shift": "5%"}))
    assert (problem.path, problem.value) == ("endpoints.rain.guards.drift.shift", "5%")
    assert "may itself be off by 9.5%: learn from 3600 at least" in problem.allowed
    (problem,) = problems(changed("endpoints/rain/guards/drift", {"shift": "1%"}))
    assert "allow more, or give a reference file" in problem.allowed
    both = {"shift": "10%", "reference": "profile.csv", "learn": 1000}
    (problem,) = problems(changed("endpoints/rain/guards/drift", both))
    assert problem.path == "endpoints.rain.guards.drift.learn"


def test_a_text_model_has_no_features_that_could_drift() -> None:
    document = changed("endpoints/rain/protocol", "openai")
    document["endpoints"]["rain"]["compare"] = {"kind": "text"}
    assert "endpoints.rain.guards.drift" in [problem.path for problem in problems(document)]


def test_without_a_plan_an_endpoint_stays_in_shadow() -> None:
    assert rain("plan", ...).plan == (Stage(Mode.SHADOW),)


def test_a_stage_without_pairs_needs_five_hundred_unless_it_is_the_last() -> None:
    plan = rain(
        "plan",
        [{"mode": "shadow"}, {"mode": "canary", "weight": "0.01%"}, {"mode": "canary", "weight": "100%"}],
    ).plan
    assert plan == (Stage(Mode.SHADOW, 0, 500), Stage(Mode.CANARY, 1, 500), Stage(Mode.CANARY, 10_000, 0))


def test_context_is_sorted_and_its_headers_are_lower_case() -> None:
    context = rain("context", {"sessionId": "header:X-Session", "country": "header:X-Country"}).context
    assert context == (("country", "x-country"), ("sessionId", "x-session"))


def test_the_unit_can_be_a_header_a_part_of_the_body_or_the_request() -> None:
    assert rain("unit", "header:X-User").unit == UnitSource(UnitKind.HEADER, "x-user")
    assert rain("unit", "body:/user/id~1x").unit == UnitSource(UnitKind.BODY, "/user/id~1x")
    assert rain("unit", "request").unit == UnitSource(UnitKind.REQUEST)


def test_the_output_of_plain_json_is_a_pointer() -> None:
    document = changed("endpoints/rain/protocol", "json")
    (problem,) = problems(document)
    assert problem.path == "endpoints.rain.compare.output"
    document["endpoints"]["rain"]["compare"]["output"] = "/predictions/0"
    assert parse(document).endpoints[0].compare.output == "/predictions/0"


def test_the_database_path_is_relative_or_absolute_as_written() -> None:
    assert parse(changed("state/database", "sqlite:////var/lib/p.db")).database == "sqlite:////var/lib/p.db"
    assert parse(changed("state", ...)).database == "sqlite:///var/pointsman.db"
