"""How a training is asked for: Airflow, GitHub Actions, or a plain webhook: pure.

Airflow 3 (stable REST API v2): `POST /api/v2/dags/{dag}/dagRuns` with `logical_date` null, `conf`, and a
`dag_run_id` of our own; a run of that id is there already where it answers 409, so that a repeated request
starts nothing twice. Its tokens are short-lived, so with a user's name one is asked for first
(`POST /auth/token`). GitHub (REST API 2022-11-28): `POST /repos/{owner}/{name}/dispatches` with `event_type`
and `client_payload`, or `POST .../actions/workflows/{file}/dispatches` with `ref` and `inputs`; both may be
repeated by an attempt whose answer was lost, so that the workflow is given the notice's id to tell.
"""

from __future__ import annotations

import orjson

from notify.formats import webhook
from notify.message import Credentials, Login, Message
from notify.notice import Notice
from settings import signing
from settings.receivers import Retraining, TrainerKind

_CONFLICT = 409
_JSON = {"content-type": "application/json"}


def message(retraining: Retraining, notice: Notice, credentials: Credentials) -> Message:
    """The request that starts a training. Raises ValueError when the signing key is none."""
    match retraining.kind:
        case TrainerKind.AIRFLOW:
            return _airflow(retraining, notice, credentials)
        case TrainerKind.GITHUB:
            return _github(retraining, notice, credentials)
        case TrainerKind.WEBHOOK:
            keys = signing.keys(credentials.secret)
            return Message(credentials.url, (webhook(notice),), dict(_JSON), keys)


def _airflow(retraining: Retraining, notice: Notice, credentials: Credentials) -> Message:
    base = credentials.url.rstrip("/")
    run = {"dag_run_id": f"pointsman__{notice.id}", "logical_date": None, "conf": _why(notice),
           "note": notice.summary}  # fmt: skip
    url, body = f"{base}/api/v2/dags/{retraining.dag}/dagRuns", (orjson.dumps(run),)
    done = frozenset({_CONFLICT})
    if retraining.user is None:
        return Message(url, body, {**_JSON, "authorization": f"Bearer {credentials.secret}"}, done=done)
    who = {"username": retraining.user, "password": credentials.secret}
    return Message(url, body, dict(_JSON), done=done, login=Login(f"{base}/auth/token", orjson.dumps(who)))


def _github(retraining: Retraining, notice: Notice, credentials: Credentials) -> Message:
    base = f"{credentials.url.rstrip('/')}/repos/{retraining.repository}"
    headers = {
        "content-type": "application/json",
        "accept": "application/vnd.github+json",
        "x-github-api-version": "2022-11-28",
        "authorization": f"Bearer {credentials.secret}",
    }
    if retraining.workflow is None:
        asked: dict[str, object] = {"event_type": retraining.event, "client_payload": _why(notice)}
        return Message(f"{base}/dispatches", (orjson.dumps(asked),), headers)
    asked = {"ref": retraining.ref, "inputs": _why(notice)}
    url = f"{base}/actions/workflows/{retraining.workflow}/dispatches"
    return Message(url, (orjson.dumps(asked),), headers)


def _why(notice: Notice) -> dict[str, str]:
    """Texts only, as workflows take them."""
    facts = {key: str(notice.facts.get(key, "")) for key in ("version", "cause", "reason")}
    return {"endpoint": notice.endpoint, **facts, "notice": notice.id}
