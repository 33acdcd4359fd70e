"""Reading who is told what happens (`notifications`), and `retrain` of an endpoint."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from settings import values
from settings.reader import Section
from settings.receivers import (
    GITHUB,
    PAGERDUTY,
    Cause,
    Destination,
    Receiver,
    ReceiverKind,
    Retraining,
    Topic,
    TrainerKind,
)
from settings.schema import GuardSettings

MOST_RECEIVERS = 16
URL = "write http://host/path or https://host/path"
_NEEDED = "this key is required: the environment variable that holds"
RATE = 'write how often in which time, such as "1 per 24h"'

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PRINTABLE = re.compile(r"[!-~]{1,2048}")
_DAG = re.compile(r"[A-Za-z0-9_.-]{1,250}")
_REPOSITORY = re.compile(r"[A-Za-z0-9-]{1,39}/(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,100}")
_WORKFLOW = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
_REF = re.compile(r"(?!/)[A-Za-z0-9_./-]{1,200}")
_RATE = re.compile(r"([0-9]{1,3}) per (\S{1,20})")
_DEFAULT_TOPICS = {
    ReceiverKind.SLACK: frozenset(Topic),
    ReceiverKind.WEBHOOK: frozenset(Topic),
    ReceiverKind.PAGERDUTY: frozenset({Topic.TRIP, Topic.HALT, Topic.DRILL}),
}
_KINDS_KEYS = {
    TrainerKind.AIRFLOW: ("dag", "user", "token_env"),
    TrainerKind.GITHUB: ("repository", "workflow", "ref", "event", "token_env"),
    TrainerKind.WEBHOOK: ("secret_env",),
}


def web_url(value: object) -> str:
    """A whole URL that something can be posted to, as it stands. Raises ValueError without quoting it."""
    if not isinstance(value, str) or not _PRINTABLE.fullmatch(value):
        raise ValueError(URL)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{URL}; the port is a number up to 65535") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"{URL}; no other scheme is spoken")
    if "@" in parts.netloc:
        raise ValueError(f"{URL}; user names and passwords do not belong into a URL")
    if "#" in value:
        raise ValueError(f"{URL}; a fragment is never sent")
    return value


def notifications(root: Section, endpoints: object) -> tuple[Receiver, ...]:
    """The list `notifications`; `endpoints` is what the document has under that key, by name."""
    found: dict[str, Receiver] = {}
    sections = root.sections("notifications")
    for section in sections:
        receiver = _receiver(section, frozenset(endpoints) if isinstance(endpoints, dict) else frozenset())
        if receiver is None:
            continue
        if receiver.name in found:
            section.refuse("name", receiver.name, "another receiver has this name; name each once")
        found.setdefault(receiver.name, receiver)
    if len(sections) > MOST_RECEIVERS:
        root.refuse("notifications", f"{len(sections)} receivers", f"name at most {MOST_RECEIVERS}")
    return tuple(found.values())


def _receiver(section: Section, endpoints: frozenset[str]) -> Receiver | None:
    name = section.need("name", _named, "what the receiver is called in metrics and messages")
    known = section.need("kind", values.choice(*ReceiverKind), "slack, pagerduty or webhook")
    url = section.take("url", web_url, None)
    url_env = section.take("url_env", values.environment_variable, None)
    secret_env = section.take("secret_env", values.environment_variable, None)
    allow_private = section.take("allow_private", values.boolean, False)
    topics = frozenset(map(Topic, section.each("on", values.choice(*Topic))))
    wanted = section.each("endpoints", values.choice(*sorted(endpoints)) if endpoints else values.text(64))
    if section.given("on") == []:
        section.refuse("on", [], "name what it is told of, or leave this out")
    if section.given("endpoints") == []:
        section.refuse("endpoints", [], "name endpoints, or leave this out for all of them")
    if name is None or known is None:
        return None
    kind = ReceiverKind(known)
    if kind is ReceiverKind.SLACK and section.holds("url"):
        way_out = "whoever knows it may post: put it into the environment and name the variable by url_env"
        section.refuse("url", "a URL of Slack", way_out)
    if kind is ReceiverKind.PAGERDUTY and url is None and url_env is None:
        url = PAGERDUTY
    _one_url(section)
    if url is None and url_env is None and not (section.holds("url") or section.holds("url_env")):
        section.refuse("url_env", None, f"{_NEEDED} the URL")
    if secret_env is None and kind is not ReceiverKind.SLACK:
        pages = kind is ReceiverKind.PAGERDUTY
        section.refuse("secret_env", None, f"{_NEEDED} the {'routing' if pages else 'signing'} key")
    if kind is ReceiverKind.SLACK and section.holds("secret_env"):
        section.refuse("secret_env", secret_env, "Slack knows no signature; leave it out")
    return Receiver(
        name,
        kind,
        Destination(url, url_env, allow_private),
        secret_env,
        topics or _DEFAULT_TOPICS[kind],
        frozenset(wanted),
    )


def retraining(endpoint: Section, guards: GuardSettings) -> Retraining | None:
    """The section `retrain` of an endpoint that has these guards."""
    section = endpoint.optional("retrain")
    if section is None:
        return None
    watched = {
        Cause.DRIFT: guards.drift is not None,
        Cause.ACCURACY: guards.accuracy is not None,
    }
    known = section.need("kind", values.choice(*TrainerKind), "airflow, github or webhook")
    url = section.take("url", web_url, None)
    url_env = section.take("url_env", values.environment_variable, None)
    causes = frozenset(map(Cause, section.each("on", values.choice(*Cause))))
    most, period = section.take("at_most", _rate, (1, 86_400.0))
    allow_private = section.take("allow_private", values.boolean, False)
    token_env = section.take("token_env", values.environment_variable, None)
    secret_env = section.take("secret_env", values.environment_variable, None)
    dag = section.take("dag", _matching(_DAG, "an Airflow DAG's id"), None)
    user = section.take("user", values.text(100), None)
    repository = section.take("repository", _matching(_REPOSITORY, "OWNER/NAME of a repository"), None)
    workflow = section.take("workflow", _matching(_WORKFLOW, "a workflow's file name"), None)
    ref = section.take("ref", _matching(_REF, "a branch or tag"), "main")
    event = section.take("event", values.text(100), "pointsman-retrain")
    for cause in sorted(causes or watched):
        if not watched[cause] and (causes or not any(watched.values())):
            missing = f"the endpoint has no guards.{cause}, so that this is never seen"
            section.refuse("on", section.given("on"), missing)
    if section.given("on") == []:
        section.refuse("on", [], "name causes, or leave this out for all that are watched")
    if known is None:
        return None
    kind = TrainerKind(known)
    needed = {TrainerKind.AIRFLOW: ("dag", "token_env"), TrainerKind.GITHUB: ("repository", "token_env"),
              TrainerKind.WEBHOOK: ("secret_env",)}[kind]  # fmt: skip
    for key in needed:
        if not section.holds(key):
            section.refuse(key, None, f"this key is required where kind is {kind}")
    for other, keys in _KINDS_KEYS.items():
        for key in set(keys) - set(_KINDS_KEYS[kind]):
            if other is not kind and section.holds(key):
                section.refuse(key, section.given(key), f"nothing of kind {kind} has it; leave it out")
    _one_url(section)
    if kind is TrainerKind.GITHUB and not (section.holds("url") or section.holds("url_env")):
        url = GITHUB
    if url is None and url_env is None and not (section.holds("url") or section.holds("url_env")):
        section.refuse("url_env", None, f"{_NEEDED} the URL")
    return Retraining(
        kind=kind,
        destination=Destination(url, url_env, allow_private),
        on=causes or frozenset(cause for cause in Cause if watched[cause]),
        most=most,
        period=period,
        token_env=token_env,
        secret_env=secret_env,
        dag=dag,
        user=user,
        repository=repository,
        workflow=workflow,
        ref=ref,
        event=event,
    )


def _one_url(section: Section) -> None:
    if section.holds("url") and section.holds("url_env"):
        section.refuse("url", "a URL", "url_env is given too; give one of them")


def _named(value: object) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise ValueError("a receiver's name is 1 to 64 letters, digits, _ . - and starts with a letter or digit")


def _rate(value: object) -> tuple[int, float]:
    """How often, and in how many seconds."""
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[1]) <= 100:
        raise ValueError(f"{RATE}, 1 to 100 times")
    return int(found[1]), values.duration("1m", "365d")(found[2])


def _matching(pattern: re.Pattern[str], meaning: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise ValueError(f"write {meaning}")

    return read
