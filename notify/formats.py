"""How each kind of receiver wants to be told: pure.

Slack: incoming webhooks (docs.slack.dev, "Sending messages using incoming webhooks", "Formatting message
text": `&`, `<` and `>` are escaped, so that no text can mention a channel or hide a link). PagerDuty: Events
API v2 (`routing_key`, `event_action` trigger or resolve, `dedup_key` of at most 255 characters, `payload`
with `summary` of at most 1024). Webhooks: our own document, described by `docs/notification.schema.json`,
signed by the Standard Webhooks specification.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import orjson

from notify.message import Credentials, Message
from notify.notice import Notice, Severity
from settings import signing
from settings.receivers import Receiver, ReceiverKind

VERSION = 1
"""Of the document that webhooks get. Keys are added without another number, never removed or renamed."""

_LONGEST_KEY = 255
_LONGEST_SUMMARY = 1024
_MARKS = {
    Severity.CRITICAL: ":rotating_light:",
    Severity.ERROR: ":x:",
    Severity.WARNING: ":warning:",
    Severity.INFO: ":information_source:",
}
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_JSON = {"content-type": "application/json"}


def message(receiver: Receiver, notice: Notice, credentials: Credentials) -> Message:
    """What `receiver` is sent. Raises ValueError when the signing key is none."""
    match receiver.kind:
        case ReceiverKind.SLACK:
            return Message(credentials.url, (slack(notice),), dict(_JSON))
        case ReceiverKind.PAGERDUTY:
            return Message(credentials.url, pagerduty(notice, credentials.secret), dict(_JSON))
        case ReceiverKind.WEBHOOK:
            keys = signing.keys(credentials.secret)
            return Message(credentials.url, (webhook(notice),), dict(_JSON), keys)


def webhook(notice: Notice) -> bytes:
    """The document of a plain webhook."""
    return orjson.dumps(document(notice))


def document(notice: Notice) -> dict[str, object]:
    """The same before it is encoded."""
    return {
        "version": VERSION,
        "id": notice.id,
        "type": f"pointsman.{notice.topic}",
        "timestamp": _iso(notice.at),
        "endpoint": notice.endpoint,
        "severity": str(notice.severity),
        "summary": notice.summary,
        "data": notice.facts,
    }


def slack(notice: Notice) -> bytes:
    """A message with a line for people, and the facts below it."""
    line = f"{_MARKS[Severity(notice.severity)]} {_slack_text(notice.summary)}"
    facts = " · ".join(
        f"{_slack_text(key)}: {_slack_text(str(value))}"
        for key, value in notice.facts.items()
        if value not in (None, "") and key not in ("reason", "at")
    )
    blocks: list[dict[str, object]] = [{"type": "section", "text": {"type": "mrkdwn", "text": line[:3000]}}]
    small = f"{_iso(notice.at)} · {facts}" if facts else _iso(notice.at)
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": small[:2000]}]})
    return orjson.dumps({"text": line, "blocks": blocks})


def pagerduty(notice: Notice, routing_key: str) -> tuple[bytes, ...]:
    """One event for each thing that the notice opens or ends."""
    concerns = notice.concerns or (notice.id,)
    return tuple(_pagerduty_event(notice, routing_key, one) for one in concerns)


def dedup_key(endpoint: str, concern: str) -> str:
    """Names one incident; where the names are too long for PagerDuty, their digest stands in."""
    key = f"pointsman/{endpoint}/{concern}"
    if len(key) <= _LONGEST_KEY:
        return key
    return f"pointsman/{hashlib.sha256(key.encode()).hexdigest()}"


def _pagerduty_event(notice: Notice, routing_key: str, concern: str) -> bytes:
    event: dict[str, object] = {
        "routing_key": routing_key,
        "event_action": "resolve" if notice.ends else "trigger",
        "dedup_key": dedup_key(notice.endpoint, concern),
    }
    if not notice.ends:
        event["client"] = "Pointsman"
        event["payload"] = {
            "summary": notice.summary[:_LONGEST_SUMMARY],
            "source": "pointsman",
            "severity": str(notice.severity),
            "timestamp": _iso(notice.at),
            "component": notice.endpoint,
            "class": notice.topic,
            "custom_details": notice.facts,
        }
    return orjson.dumps(event)


def _slack_text(text: str) -> str:
    return text.translate(_ESCAPES)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
