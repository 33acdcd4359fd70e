"""docs/configuration.md names the keys that the parser knows, no others, and their true defaults."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from settings import file
from settings.parse import known_keys, parse, problems
from settings.schema import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
ROWS = [
    [cell.strip() for cell in row.strip("|").split("|")]
    for row in re.findall(r"^\| `[a-z_A-Z.\[\]0-9]+` \|.*\|$", TEXT, flags=re.MULTILINE)
]
KEYS = {row[0].strip("`"): row for row in ROWS}

COMPLETE = """
listen: 127.0.0.1:18080
admin: 127.0.0.1:18081
workers: 3
environment: staging
drain: 7s
tls: [{certificate: one.pem, key: one.key, names: [one.example]}]
proxy_protocol: {from: [10.0.0.0/8]}
timeouts: {head: 7s, body: 7s, idle: 7s}
limits: {connections: 7, connections_per_client: 7, max_in_flight: 7, memory: 77MiB}
access_log: {path: access.log, sample: 7%}
state:
  database: "sqlite:///elsewhere.db"
  redis: rediss://redis.example
  redis_ca: ca.pem
  redis_password_env: REDIS_PASSWORD
  replica: one
flags:
  source: file
  path: flags.json
  unleash: {url: "http://unleash:4242/api", token_env: A, app_name: a, poll: 1s, environment: e, project: p,
    admin_token_env: B}
  openfeature: {provider: ofrep, url: "http://flags:8016", path: flagd.json, token_env: C, variant: v,
    age: 7s, units: 700, timeout: 1s}
  environment: e
  app_name: a
registry:
  source: file
  path: lineage.yaml
  poll: 7s
  mlflow: {url: "http://mlflow:5000", token_env: A, user: ada}
  huggingface: {url: "http://hub", token_env: A, user: ada}
  dvc: {repository: /srv/rain}
  delta: {tables: {rain: /srv/tables/rain}}
  wandb: {url: "http://wandb", token_env: A}
notifications:
  - {name: duty, kind: pagerduty, url: "https://pager.example/", secret_env: A, on: [trip], endpoints: [rain],
    allow_private: true}
tiers:
  rain:
    watch: 7h
    patience: 70d
    approvals: {people: 7, valid_for: 7h}
    plan:
      - {mode: canary, weight: 7%, pairs: 7, at_least: 7s}
      - {mode: canary, weight: 8%}
auth:
  tokens_file: tokens.json
  url: https://127.0.0.1:7443
  behind_loopback: true
  metrics: open
  session: {idle: 7m, longest: 7h}
  oidc:
    issuer: https://issuer.example
    client_id: gate
    client_secret_env: A
    audience: api
    algorithms: [RS384]
    skew: 7s
    name_claim: email
    roles_claim: realm.roles
    scopes: [openid]
    roles: [{value: ops, role: operator, endpoints: [rain]}]
admin_tls: {certificate: a.pem, key: b.pem}
log:
  path: predictions
  keep: 7d
  most: 70GiB
  roll: 7m
  redis: {url: rediss://redis.example, ca: ca.pem, password_env: A, stream: s, most: 77MiB}
  archive: {url: s3://bucket/log, every: 7m}
  kafka: {servers: ["kafka:9092"], topic: t, tls: true, ca: ca.pem, user: ada, password_env: A}
tracing: {url: "http://collector:4318", share: 7%, service: s, token_env: A}
audit: {key: audit.key, heads: heads.jsonl, every: 7s, keep_access: 7d}
endpoints:
  rain:
    path: /rain
    protocol: json
    unit: request
    context: {country: header:x-country}
    timeout: 7s
    max_body: 7MiB
    idempotent: true
    max_in_flight: 7
    adaptive: true
    incumbent:
      version: one
      lineage: "models:/rain@champion"
      urls: ["https://one"]
      path: /one
      metrics: /metrics
      balance: two_choices
      slow_start: 7s
      resolve: 7s
      connections: {max: 7, pending: 7, uploads: 7%, connect_timeout: 7s}
      health: {path: /ready, every: 7s, timeout: 7s, healthy: 7, unhealthy: 7}
      ejection: {consecutive_errors: 7, pause: 7s, longest: 70s, share: 7%}
      tls: {ca: ca.pem, certificate: own.pem, key: own.key, server_name: one.example}
    candidate:
      version: two
      lineage: "models:/rain/2"
      urls: ["https://two"]
      path: /two
      metrics: /metrics
      balance: two_choices
      slow_start: 7s
      resolve: 7s
      connections: {max: 7, pending: 7, uploads: 7%, connect_timeout: 7s}
      health: {path: /ready, every: 7s, timeout: 7s, healthy: 7, unhealthy: 7}
      ejection: {consecutive_errors: 7, pause: 7s, longest: 70s, share: 7%}
      tls: {ca: ca.pem, certificate: own.pem, key: own.key, server_name: one.example}
    drive: plan
    flag: canary
    cohorts: [feature:0]
    drift: {reference: learned, learn: 700, over: 7s, categories: 7, ranges: {age: [0, 7]}}
    log: {records: 7%, features: [age], redact: [/name], input: true}
    watch: 1h
    approvals: {people: 7, valid_for: 7h}
    shadow: {share: 7%, noise_share: 7%, max_in_flight: 7, max_bytes: 7MiB}
    compare: {kind: KIND}
    guards:
      false_alarm: 0.007
      certify: 7%
      vote: {per: unit, window: 7m, block: 7}
      divergence: {mean: 7%}
      flips: {rate: 7%}
      errors: {excess: 7%}
      latency: {p95_ratio: 7, p99_ratio: 7, slo: 7s, slo_rate: 7%}
      confidence: {shift: 7%}
      classes: {shift: 7%}
      drift: {shift: 17%, reference: profile.csv}
      accuracy: {drop: 7%}
      breaker: {consecutive_errors: 7}
    patience: 7d
    gates:
      valid_for: 7h
      requests: requests.jsonl
      evaluation: {data: d, label: l, metric: m, tolerance: 7%, confidence: 77%, features: [a], batch: 7}
      latency:
        {rps: 70, for: 7m, p50: 7ms, p95: 7ms, p99: 7ms, p50_ratio: 7, p95_ratio: 7, p99_ratio: 7, errors: 7%}
      memory: {max: 7MiB, for: 7s, metrics: /elsewhere}
      drift: {data: d, against: prior-week, time: t, shift: 7%, features: [a]}
      lineage: {require: [commit]}
      schema: {requests: 7}
      custom: [{name: own, command: [own.sh], timeout: 7s}]
    drills: {every: "0 3 * * 1", environment: staging, fault: noise, share: 7%, served: true, weight: 7%,
      lasts: 7s, within: 7s, latency: 7ms, noise: 7, requests: requests.jsonl, rps: 7}
    retrain: {kind: github, url: "https://hub.example", token_env: A, repository: acme/rain, workflow: a.yml,
      ref: dev, event: again, on: [drift], at_most: 7 per 7h, allow_private: true}
    plan:
      - {mode: canary, weight: 7%, pairs: 7, at_least: 7s}
      - {mode: canary, weight: 8%}
"""
DECODED: Any = file.decode(COMPLETE.encode(), "complete")
KINDS = {
    "regression": {"output": "/y", "tolerance": 7, "scale": 7},
    "classification": {"output": "/y", "labels": ["no", "yes"], "threshold": 0.7, "multi_label": True},
    "ranking": {"output": "/y", "tolerance": 7, "p": 0.7, "top": 7, "item": "id"},
    "text": {"output": "/y", "tolerance": 0.7, "short": 7},
    "json": {"output": "/y", "tolerance": 7, "ignore": ["/id"], "tolerances": {"/price": 7}},
    "boxes": {"output": "/y", "tolerance": 0.7, "iou": 0.7, "format": "xywh", "threshold": 0.7},
}


LEARNING = "ranking"
"""In this kind's document drift is learned: a reference is either given or learned."""


FOLLOWING = "boxes"
"""In this kind's document the candidate is followed, and the plan is a tier's."""

FOLLOW = {
    "model": "rain", "candidate": "challenger", "incumbent": "champion", "version": "{name}.{version}",
    "urls": ["https://{name}/{version}"], "path": "/{version}", "health": "/{version}/ready", "settle": "7s",
    "promote": True,
}  # fmt: skip


def complete(kind: str) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(DECODED)
    document["endpoints"]["rain"]["compare"] = {"kind": kind, **KINDS[kind]}
    if kind == LEARNING:
        document["endpoints"]["rain"]["guards"]["drift"] = {"shift": "17%", "learn": 700}
    gates = document["endpoints"]["rain"]["gates"]
    if kind == LEARNING:  # and what excludes other keys of the gates
        del gates["evaluation"]["features"]
        gates["evaluation"]["request"] = "r"
        gates["memory"] = {"max": "7MiB", "for": "7s", "pid": 7}
        gates["custom"] = [{"name": "own", "url": "http://own/", "timeout": "7s"}]
        trainer = {
            "kind": "airflow",
            "url": "https://air.example",
            "dag": "a",
            "user": "ada",
            "token_env": "A",
        }
        document["endpoints"]["rain"]["retrain"] = trainer
    elif kind == FOLLOWING:
        del document["endpoints"]["rain"]["candidate"]
        document["endpoints"]["rain"] |= {"follow": copy.deepcopy(FOLLOW), "tier": "rain"}
    elif kind == "json":
        trainer = {"kind": "webhook", "url": "https://hook.example", "secret_env": "A"}
        document["endpoints"]["rain"]["retrain"] = trainer
    elif kind == "text":
        for told in (document["notifications"][0], document["endpoints"]["rain"]["retrain"]):
            del told["url"]
            told["url_env"] = "B"
        gates["memory"] = {"max": "7MiB", "for": "7s", "cgroup": "/own"}
    return document


def patterns(value: object, path: str = "") -> set[str]:
    """The key patterns that stand in a document."""
    named = {"endpoints.NAME", "endpoints.NAME.plan[]", "endpoints.NAME.gates.custom[]", "tiers.NAME"}
    found = {path} - named - {"", "tls[]", "notifications[]", "tiers.NAME.plan[]", "auth.oidc.roles[]"}
    if isinstance(value, dict) and not path.endswith((".context", ".tolerances", ".tables", ".drift.ranges")):
        for key, item in value.items():
            name = "NAME" if path in ("endpoints", "tiers") else key
            found |= patterns(item, f"{path}.{name}".strip("."))
    elif path in ("tls", "notifications") or path.endswith((".plan", ".custom", ".roles")):
        for item in value if isinstance(value, list) else []:
            found |= patterns(item, f"{path}[]")
    return found


def known() -> set[str]:
    return set().union(*(known_keys(complete(kind)) for kind in KINDS))


def test_the_complete_document_of_this_test_opens_every_section_that_the_parser_knows() -> None:
    # Each known key stands in the document; so does each key of the section that it opens; and so on down.
    assert set().union(*(patterns(complete(kind)) for kind in KINDS)) == known()
    assert [problems(complete(kind)) for kind in KINDS] == [()] * len(KINDS)


def test_every_key_that_the_parser_knows_is_documented() -> None:
    assert sorted(known() - KEYS.keys()) == []


def test_every_documented_key_is_known_to_the_parser() -> None:
    assert sorted(KEYS.keys() - known()) == []


def test_every_row_gives_meaning_unit_default_and_what_is_allowed() -> None:
    assert [row for row in ROWS if len(row) != 5 or not row[1] or not row[4]] == []


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_yaml_block_is_a_valid_configuration(block: str) -> None:
    assert parse(file.decode(block.encode(), "docs/configuration.md")).endpoints[0].name == "rain"


def test_the_error_shown_is_the_error_given() -> None:
    document = complete("regression")
    document["endpoints"]["rain"]["guards"]["breaker"] = {"consecutive_error": 3}
    (problem,) = problems(document)
    assert str(problem) in TEXT


DEFAULTS = {key: row[3].strip("`") for key, row in KEYS.items() if row[3] not in ("", "required")}
REQUIRED = sorted(key for key, row in KEYS.items() if row[3] == "required")


@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_a_documented_default_written_out_means_the_same_as_the_key_left_out(key: str) -> None:
    written = file.decode(f"default: {DEFAULTS[key]}".encode(), "default")
    assert isinstance(written, dict)
    kind = next((kind for kind in KINDS if last(key) in KINDS[kind]), "regression")
    kind = LEARNING if key.endswith((".drift.learn", ".evaluation.request", ".memory.pid")) else kind
    kind = "text" if key.endswith((".memory.cgroup", ".url_env")) else kind
    kind = LEARNING if key.endswith((".retrain.user", ".NAME.drift.reference")) else kind
    kind = FOLLOWING if ".follow" in key or key.endswith(".NAME.tier") else kind
    absent, present = complete(kind), complete(kind)
    for document in (absent, present):
        if key == "flags.path":  # an endpoint's flag needs it
            del document["endpoints"]["rain"]["flag"]
        if key == "auth.url":  # an issuer needs it, and what is behind loopback
            del document["auth"]["oidc"], document["auth"]["behind_loopback"]
        if key == "log.kafka.tls":  # authorities are for TLS
            del document["log"]["kafka"]["ca"]
        if key in ("log.kafka.user", "log.kafka.password_env"):  # neither is without the other
            for one in ("user", "password_env"):
                document["log"]["kafka"][one] = None
        if key.endswith(".slo"):
            del document["endpoints"]["rain"]["guards"]["latency"]["slo_rate"]
        if key.endswith(".tls.certificate"):  # a key without its certificate is refused
            del document["endpoints"]["rain"][key.split(".")[2]]["tls"]["key"]
        if key.endswith(".guards.drift"):  # a training that drift asks for needs it
            del document["endpoints"]["rain"]["retrain"]
        if key.endswith(".plan[].weight"):
            document[key.split(".")[0]]["rain"]["plan"][0]["mode"] = "shadow"
        if key.endswith(".follow.incumbent"):  # nothing could be promoted
            del document["endpoints"]["rain"]["follow"]["promote"]
    holder(absent, key).pop(last(key))
    holder(present, key)[last(key)] = written["default"]
    assert effective(absent) == effective(present)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_key_documented_as_required_is_missed(key: str) -> None:
    document = complete(FOLLOWING if ".follow." in key else "regression")
    holder(document, key).pop(last(key))
    path = key.replace("NAME", "rain").replace("[]", "[0]")
    assert path in [problem.path for problem in problems(document)]


def holder(document: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping that `key` stands in."""
    where: Any = document
    for part in key.split(".")[:-1]:
        where = where["rain" if part == "NAME" else part.removesuffix("[]")]
        where = where[0] if part.endswith("[]") else where
    assert isinstance(where, dict)
    return where


def last(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def effective(document: dict[str, Any]) -> Settings:
    """What a document means, without how it was written."""
    return replace(parse(document), digest="", document={}, inert=())
