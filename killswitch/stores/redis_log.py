"""Evidence logs in Redis: a stream for the entries, a hash for what is known of them, and a checkpoint.

Entries reach the replicas as messages, which carry them whole, so that no replica has to ask. A replica that
missed one reads the stream from where it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from domain.errors import StateUnavailable
from killswitch import evidence_log
from killswitch.evidence_log import Sent, Standing
from killswitch.stores import redis_scripts as scripts
from killswitch.stores.redis_client import Argument, RedisClient

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

MOST_ENTRIES = 20_000
"""Entries that a stream holds, about; checkpoints come far more often."""

LIFETIME = 30 * 86_400
"""Seconds after its last entry that Redis keeps a log."""

OK, KNOWN, GAP, EPOCH, FENCED = "ok", "known", "gap", "epoch", "fenced"


class LogName(NamedTuple):
    """An endpoint, and the trial whose evidence it is."""

    endpoint: str
    trial: str


class LogState(NamedTuple):
    """Epoch (None: there is no log), how many entries there were, and the last one's sender and number."""

    epoch: str | None
    length: int
    last: tuple[str, int] | None


class Answer(NamedTuple):
    """What became of a request: OK with the index; KNOWN and GAP with the sender's last number; EPOCH with
    the one in force, and FENCED with the token in force. `previous`: sender and number of the entry before
    one that was appended."""

    kind: str
    value: str
    previous: tuple[str, int] | None = None


class Placed(NamedTuple):
    """An entry at its index, and the sender and number of the one before it."""

    position: int
    sent: Sent
    previous: tuple[str, int] | None


class Shown(NamedTuple):
    """An entry of some log of `endpoint`, as it was told: undecoded."""

    endpoint: str
    epoch: str
    position: int
    sender: str
    number: int
    previous: tuple[str, int] | None
    entry: bytes


class Lines(NamedTuple):
    """A subscription to entries."""

    client: RedisClient
    pubsub: PubSub

    async def next(self, within: float) -> Shown | None:
        """The next entry; None when none came, or something else did. Raises StateUnavailable."""
        message = await self.client.next_message(self.pubsub, within)
        return None if message is None else _shown(*message)


@dataclass(frozen=True, slots=True)
class RedisLog:
    """All evidence logs, by `client`."""

    client: RedisClient

    async def states(self, logs: Sequence[LogName]) -> list[LogState]:
        """How each stands. Raises StateUnavailable."""
        commands = [("HMGET", scripts.log_state(*log), "epoch", "index", "last") for log in logs]
        found = await self.client.ask_all(commands)
        return [_state(answer) for answer in found]

    async def append(self, log: LogName, epoch: str, sent: Sent, token: int | None = None) -> Answer:
        """Append `sent`, unless the log has it. Raises StateUnavailable: it may be in the log, or not."""
        arguments: list[Argument] = [
            epoch, sent.sender, sent.number, evidence_log.dump(sent), scripts.log_channel(log.endpoint),
            MOST_ENTRIES, LIFETIME, "" if token is None else token,
        ]  # fmt: skip
        keys = [scripts.log_state(*log), scripts.log_entries(*log, epoch)]
        return _answer(await self.client.run(scripts.APPEND, keys, arguments))

    async def open(
        self, log: LogName, expected: str | None, epoch: str, token: int, standing: Standing
    ) -> Answer:
        """Begin `epoch` with `standing`, if `expected` is still the one in force. Raises StateUnavailable."""
        fields: list[Argument] = []
        for name, number in standing.sent.items():
            fields += (f"sent:{name}", number)
        dumped = evidence_log.dump_standing(Standing(0, standing.sent, standing.heard, standing.state))
        keys = [scripts.log_state(*log), scripts.log_checkpoint(*log, epoch)]
        arguments: list[Argument] = [expected or "", epoch, token, dumped, LIFETIME, *fields]
        return _answer(await self.client.run(scripts.OPEN, keys, arguments))

    async def checkpoint(self, log: LogName, epoch: str, token: int, standing: Standing) -> Answer:
        """Replace the checkpoint. Raises StateUnavailable."""
        keys = [scripts.log_state(*log), scripts.log_checkpoint(*log, epoch)]
        dumped = evidence_log.dump_standing(standing)
        arguments: list[Argument] = [epoch, standing.index, token, dumped, LIFETIME]
        return _answer(await self.client.run(scripts.CHECKPOINT, keys, arguments))

    async def standing(self, log: LogName, epoch: str) -> Standing | None:
        """The checkpoint of `epoch`, None when there is none that can be read. Raises StateUnavailable."""
        found = await self.client.ask_all([("GET", scripts.log_checkpoint(*log, epoch))])
        try:
            return evidence_log.load_standing(found[0]) if isinstance(found[0], bytes) else None
        except ValueError:
            return None

    async def entries(self, log: LogName, epoch: str, after: int, most: int = 500) -> list[Placed]:
        """At most so many entries after index `after`, in order; one that cannot be read ends them.

        Raises StateUnavailable.
        """
        command = ("XRANGE", scripts.log_entries(*log, epoch), f"{after + 1}-0", "+", "COUNT", most)
        found = (await self.client.ask_all([command]))[0]
        entries: list[Placed] = []
        for place, fields in found if isinstance(found, list) else []:
            try:
                sent = evidence_log.load(_field(fields, b"e"))
                entries.append(Placed(int(place.split(b"-")[0]), sent, _last(_field(fields, b"p"))))
            except ValueError:
                break
        return entries

    @asynccontextmanager
    async def lines(self, endpoints: Sequence[str]) -> AsyncIterator[Lines]:
        """What is appended to the logs of `endpoints` from now on. Raises StateUnavailable."""
        channels = [scripts.log_channel(one) for one in endpoints]
        async with self.client.listening([scripts.KILLS_CHANNEL, *channels]) as pubsub:
            yield Lines(self.client, pubsub)


def _state(answer: object) -> LogState:
    if not isinstance(answer, list) or answer[0] is None:
        return LogState(None, 0, None)
    try:
        return LogState(answer[0].decode(), int(answer[1] or 0), _last(answer[2] or b""))
    except ValueError:
        return LogState(None, 0, None)


def _field(fields: object, name: bytes) -> bytes:
    if isinstance(fields, list):
        fields = dict(zip(fields[::2], fields[1::2], strict=False))
    content = fields.get(name) if isinstance(fields, Mapping) else None
    return content if isinstance(content, bytes) else b""


def _last(text: bytes) -> tuple[str, int] | None:
    """An entry's sender and number. Raises ValueError."""
    sender, _, number = text.decode().rpartition(" ")
    return (sender, int(number)) if sender else None


def _answer(answer: Sequence[object]) -> Answer:
    kind, value = (one.decode() if isinstance(one, bytes) else str(one) for one in answer[:2])
    if kind not in (OK, KNOWN, GAP, EPOCH, FENCED):
        raise StateUnavailable(f"the shared state answers {kind!r} to an entry of an evidence log")
    previous = answer[2] if len(answer) > 2 else None
    return Answer(kind, value, _last(previous) if isinstance(previous, bytes) else None)


def _shown(channel: str, message: bytes) -> Shown | None:
    head, _, endpoint = channel.rpartition("pointsman:log:")
    parts = message.split(b" ", 6)
    if head or not endpoint or channel == scripts.KILLS_CHANNEL or len(parts) != 7:
        return None
    try:
        index, epoch, sender, number = int(parts[0]), parts[1].decode(), parts[2].decode(), int(parts[3])
        previous = _last(b" ".join(parts[4:6]))
    except ValueError:
        return None
    return Shown(endpoint, epoch, index, sender, number, previous, parts[6])
