"""From an event of the control process to what is told of it: pure.

The id of a notice is a digest of what happened, never of who saw it: replicas that saw the same trip, and a
process that reads an old trip from its database, make the same id, so that it is kept and told once.

Everything here may hold texts that strangers wrote (reasons of operators, names of versions, answers of
models). They are cut to bounded lengths and stripped of what steers a terminal; how they are quoted is each
format's business (`notify.formats`).
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from settings.receivers import Cause, Receiver, ReceiverKind, Topic

LONGEST_TEXT = 500
"""Characters of a text that somebody wrote."""

MOST_FACTS = 32

HALTED, PROMOTED, DONE = "halted", "promoted", "done"
"""Phases of a release, as `gates.release.Phase` writes them."""

Facts = Mapping[str, object]


class Severity(enum.StrEnum):
    """PagerDuty's words."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told.

    Attributes:
        id: the same wherever and whenever the same thing is told.
        topic: a `Topic`, or `retrain`, or `test`.
        at: when it happened, seconds since the epoch.
        summary: one line for people.
        facts: the same for machines.
        concerns: what it opens or ends, such as a kill; a receiver that keeps incidents keeps one for each.
        ends: whether it ends those.
    """

    id: str
    topic: str
    endpoint: str
    at: float
    severity: str
    summary: str
    facts: dict[str, object]
    concerns: tuple[str, ...] = ()
    ends: bool = False

    @property
    def urgent(self) -> bool:
        """Whether others give way to it where there is no room for all."""
        return self.topic in (Topic.TRIP, Topic.REARM)


def encode(notice: Notice) -> bytes:
    """For the outbox."""
    return msgspec.json.encode(notice)


def decode(kept: bytes) -> Notice:
    """From the outbox. Raises ValueError."""
    return msgspec.json.decode(kept, type=Notice)


def wanted(receiver: Receiver, notice: Notice) -> bool:
    """Whether `receiver` is told of it. Who keeps incidents is told of their end, whatever it subscribed."""
    if receiver.endpoints and notice.endpoint not in receiver.endpoints:
        return False
    if receiver.kind is ReceiverKind.SLACK and notice.ends and notice.topic == Topic.DRILL:
        return False  # a drill that passed is no news for people
    if receiver.kind is ReceiverKind.PAGERDUTY and notice.ends:
        return bool(_opened_by(notice) & receiver.on)
    return notice.topic in receiver.on


def _opened_by(notice: Notice) -> frozenset[str]:
    """The topics that open what `notice` ends."""
    return {
        Topic.REARM: frozenset({Topic.TRIP}),
        Topic.STAGE: frozenset({Topic.HALT}),
    }.get(Topic(notice.topic), frozenset({notice.topic}))


# What is told of each kind of event.


def of_trip(data: Facts, at: float) -> Notice:
    """A candidate is out."""
    endpoint, kill = _text(data, "endpoint"), _text(data, "kill")
    summary = f"{endpoint}: candidate {_text(data, 'version')} is out ({_text(data, 'cause')})"
    reason = _text(data, "reason")
    facts = _facts(data, "kill", "version", "cause", "actor", "reason", "at", "confirmed_ms", "durable")
    return Notice(
        identity("trip", kill), Topic.TRIP, endpoint, at, Severity.CRITICAL,
        f"{summary}: {reason}" if reason else summary, facts, (f"kill/{kill}",),
    )  # fmt: skip


def of_rearm(data: Facts, at: float) -> Notice:
    """A candidate is in again, from shadow."""
    endpoint = _text(data, "endpoint")
    cleared = data.get("cleared")
    kills = tuple(sorted(str(one) for one in cleared)) if isinstance(cleared, Sequence) else ()
    summary = f"{endpoint}: re-armed, the candidate starts again from shadow: {_text(data, 'reason')}"
    return Notice(
        identity("rearm", endpoint, *kills), Topic.REARM, endpoint, at, Severity.INFO,
        summary, _facts(data, "cleared", "reason"), tuple(f"kill/{kill}" for kill in kills), ends=True,
    )  # fmt: skip


def of_release(data: Facts, at: float) -> Notice:
    """A release took a step. `steps` (its number) tells two steps apart."""
    endpoint, phase = _text(data, "endpoint"), _text(data, "phase")
    halted, ended = phase == HALTED, phase in (PROMOTED, DONE)
    what = f"{endpoint}: release of {_text(data, 'candidate')} is {phase}"
    if phase == "canary":
        what = f"{what}, stage {data.get('stage')}"
    return Notice(
        identity("release", _text(data, "release"), data.get("steps"), phase),
        Topic.HALT if halted else Topic.STAGE,
        endpoint, at, Severity.ERROR if halted else Severity.INFO,
        f"{what}: {_text(data, 'reason')}",
        _facts(data, "release", "phase", "stage", "candidate", "reason", "trigger", "at"),
        ("release",) if halted or ended else (), ends=ended,
    )  # fmt: skip


def of_stage(data: Facts, at: float, trial: str) -> Notice:
    """An endpoint's plan moved on, where no release rules it; `trial` tells two trials apart."""
    endpoint = _text(data, "endpoint")
    weight = data.get("weight")
    share = f"{weight * 100:g} %" if isinstance(weight, int | float) else "?"
    return Notice(
        identity("stage", endpoint, trial, data.get("stage")), Topic.STAGE, endpoint, at, Severity.INFO,
        f"{endpoint}: stage {data.get('stage')}, {_text(data, 'mode')} at {share}",
        _facts(data, "stage", "mode", "weight"),
    )  # fmt: skip


def of_drill(data: Facts, at: float) -> Notice:
    """A rehearsed rollback ended, or did not take place in time."""
    endpoint, state = _text(data, "endpoint"), _text(data, "state")
    passed = state == "passed"
    reason = _text(data, "reason")
    summary = f"{endpoint}: drill {state}"
    return Notice(
        identity("drill", endpoint, _text(data, "id"), state), Topic.DRILL, endpoint, at,
        Severity.INFO if passed else Severity.ERROR,
        f"{summary}: {reason}" if reason else summary,
        _facts(data, "id", "state", "recovery_ms", "reason"), ("drill",), ends=passed,
    )  # fmt: skip


def of_approval(data: Facts, at: float) -> Notice:
    """A release waits for people, or need not any more."""
    endpoint, state, release = _text(data, "endpoint"), _text(data, "state"), _text(data, "release")
    given = state == "given"
    by = _text(data, "by")
    what = f"approved by {by}" if given else "waits for an approval"
    return Notice(
        identity("approval", release, state, by), Topic.APPROVAL, endpoint, at,
        Severity.INFO if given else Severity.WARNING,
        f"{endpoint}: release {release} {what}",
        _facts(data, "release", "state", "by"), (f"approval/{release}",), ends=given,
    )  # fmt: skip


def of_drift(data: Facts, at: float) -> Notice:
    """Requests are certainly not what they were. Told once a day of the same endpoint and version."""
    endpoint, version = _text(data, "endpoint"), _text(data, "version")
    return Notice(
        identity("drift", endpoint, version, int(at // 86_400)), Topic.DRIFT, endpoint, at, Severity.WARNING,
        f"{endpoint}: requests have drifted: {_text(data, 'reason')}",
        _facts(data, "version", "reason", "profile"),
    )  # fmt: skip


def of_retraining(endpoint: str, version: str, cause: Cause, reason: str, at: float, claim: str) -> Notice:
    """A model should be trained again; `claim` tells two periods apart."""
    words = {Cause.DRIFT: "the inputs have drifted", Cause.ACCURACY: "it has lost accuracy"}[cause]
    return Notice(
        identity("retrain", endpoint, version, cause, claim), "retrain", endpoint, at, Severity.WARNING,
        clean(f"{endpoint}: train {version} again, {words}: {reason}"),
        {"version": clean(version), "cause": str(cause), "reason": clean(reason)},
    )  # fmt: skip


def of_test(receiver: str, at: float, number: str) -> Notice:
    """Nothing happened: a receiver is tried. `number` tells two tries apart."""
    return Notice(
        identity("test", receiver, number), "test", "", at, Severity.INFO,
        f"This is a test of receiver {receiver}. Nothing has happened.", {"receiver": receiver},
        (f"test/{receiver}",), ends=True,
    )  # fmt: skip


def identity(*parts: object) -> str:
    """A notice's id: `msg_` and 32 hexadecimal digits of the SHA-256 of what tells it apart."""
    text = json.dumps([str(one) for one in parts], separators=(",", ":"))
    return f"msg_{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:32]}"


def clean(text: str, longest: int = LONGEST_TEXT) -> str:
    """`text` on one line, of bounded length, without what no terminal or page should be given."""
    shown = "".join(one if one.isprintable() else " " for one in text[: 2 * longest])
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _text(data: Facts, key: str) -> str:
    value = data.get(key)
    return "" if value is None else clean(str(value))


def _facts(data: Facts, *keys: str) -> dict[str, object]:
    return {key: _plain(data.get(key)) for key in keys if key in data}


def _plain(value: object) -> object:
    """What JSON can say of `value`, in bounds."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value[:MOST_FACTS]]
    return clean(str(value))
