"""The prediction log in a Redis stream: a parcel an entry, each once, and batches that are read together.

    NAME              the stream; an entry has one field, `p`: a parcel as msgpack
    NAME:positions    a hash: origin → "SEGMENT NUMBER", the end of what is or was in the stream of it
    NAME:bytes        bytes of the parcels that are in the stream
    NAME:batches      a hash: batch → token of whoever writes it

With the name in braces, all of them are in one slot of a cluster, so that a script may touch them together.

**Sending.** An entry and the origin's position are written in one step, which compares the position first: a
parcel whose answer was lost is not there twice, and after a failover that lost writes the sender sees by the
position what to send again. A stream that holds `most` bytes takes no more; nothing in it is ever trimmed.

**Reading.** Readers share the entries through the consumer group `archive`. A batch is a consumer of its own:
the entries pending for it are the batch, exactly, and stay together whoever writes it. A reader that dies
leaves a batch that nobody asks about any more; after a while another one takes the whole batch over, by
putting its own token in force (`adopt`), and writes the same file of the same name. Taking over single
entries, as XAUTOCLAIM does, would mix them into other files, and a reader that died after writing and before
settling would leave rows twice. A reader that was only slow finds its token not in force and lets go; should
it have finished its file just then, that file has the same rows. Settling removes a batch in one step.

Sources: redis.io/docs/latest/develop/data-types/streams, …/commands/xreadgroup, …/commands/xinfo-consumers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from domain.errors import StateUnavailable
from monitoring.log.forwarding.parcel import START, Parcel, Position, unpacked

GROUP = "archive"

WHERE = "return redis.call('HGET', KEYS[1], ARGV[1])"
BEGIN = "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])"
SEND = """
local at = redis.call('HGET', KEYS[2], ARGV[1]) or ''
if at ~= ARGV[2] then return {'moved', at} end
local held = tonumber(redis.call('GET', KEYS[3]) or '0')
if held > 0 and held + #ARGV[4] > tonumber(ARGV[5]) then return {'full', held} end
redis.call('XADD', KEYS[1], '*', 'p', ARGV[4])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('INCRBY', KEYS[3], #ARGV[4])
return {'sent'}
"""
"""ARGV: origin, its position as known, the position after, the parcel, the most bytes."""

GATHER = """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return false end
local found = redis.call('XREADGROUP', 'GROUP', 'archive', ARGV[1], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
local sizes = {}
if found then
  for i, entry in ipairs(found[1][2]) do sizes[i] = #entry[2][2] end
end
return sizes
"""
"""Add entries to a batch. ARGV: batch, token, how many. The sizes of those that came; nil: not ours."""

READ = """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return false end
local found = redis.call(
  'XREADGROUP', 'GROUP', 'archive', ARGV[1], 'COUNT', ARGV[4], 'STREAMS', KEYS[1], ARGV[3])
if not found then return {} end
return found[1][2]
"""
"""Entries of a batch after an id. ARGV: batch, token, id, how many. nil: not ours."""

SETTLE = """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return false end
local gone = 0
while true do
  local pending = redis.call('XPENDING', KEYS[1], 'archive', '-', '+', 1000, ARGV[1])
  if #pending == 0 then break end
  for _, one in ipairs(pending) do
    redis.call('XACK', KEYS[1], 'archive', one[1])
    gone = gone + redis.call('XDEL', KEYS[1], one[1])
  end
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'archive', ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
local left = redis.call('DECRBY', KEYS[3], ARGV[3])
if left < 0 or redis.call('XLEN', KEYS[1]) == 0 then redis.call('SET', KEYS[3], 0) end
return gone
"""
"""A batch was written: remove it. ARGV: batch, token, bytes of its parcels.

How many entries went; nil: not ours.
"""

OPEN = """
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], 'archive', '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then return redis.error_reply(made.err) end
return 1
"""

WAITING = """
local held = redis.call('GET', KEYS[2]) or '0'
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local one = {}
  for i = 1, #flat, 2 do one[flat[i]] = flat[i + 1] end
  if one['name'] == 'archive' then
    local found = redis.call('XRANGE', KEYS[1], '(' .. one['last-delivered-id'], '+', 'COUNT', 1)
    return {held, found[1] and found[1][1] or ''}
  end
end
return redis.error_reply('NOGROUP the consumer group is gone')
"""
"""Bytes in the stream, and the id of the oldest entry that nobody has read."""

ADOPT = """
local function read(flat)
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found
end
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], 'archive')) do
  local one = read(flat)
  if one['idle'] > tonumber(ARGV[2]) then
    if one['pending'] > 0 then
      redis.call('HSET', KEYS[2], one['name'], ARGV[1])
      redis.call('XREADGROUP', 'GROUP', 'archive', one['name'], 'COUNT', 1, 'STREAMS', KEYS[1], '0')
      return one['name']
    end
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'archive', one['name'])
    redis.call('HDEL', KEYS[2], one['name'])
  end
end
return false
"""
"""Take a batch over that nobody asked about for so long. ARGV: token, milliseconds. Its name; nil: none."""


class Runs(Protocol):
    """Redis, as far as it is needed here."""

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """What the Lua text answers. Raises StateUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class StreamSink:
    """Sends to the stream `name`, which holds at most `most` bytes."""

    def __init__(self, redis: Runs, name: str, most: int) -> None:
        self.name = "redis"
        self._redis = redis
        self._keys = keys(name)
        self._most = most
        self._known = b""

    async def position(self, origin: str) -> Position | None:
        """See Sink."""
        raw = await self._redis.run(WHERE, (self._keys.positions,), (origin,))
        self._known = raw or b""
        return _position(raw) if raw else START  # what an emptied Redis had is sent again, as far as possible

    async def send(self, parcel: Parcel) -> Mapping[str, int]:
        """See Sink."""
        end = f"{parcel.end.segment} {parcel.end.number}".encode()
        at = self._keys
        answer = await self._redis.run(
            SEND,
            (at.stream, at.positions, at.bytes),
            (parcel.origin, self._known, end, parcel.packed(), self._most),
        )
        if answer[0] == b"moved":
            raise StateUnavailable("the stream has another position of this log: it is looked up again")
        if answer[0] == b"full":
            size = f"{int(answer[1])} of {self._most} bytes wait to be read"
            raise StateUnavailable(f"the stream {self._keys.stream} is full: {size}")
        self._known = end
        return {}

    async def close(self) -> None:
        """See Sink."""
        await self._redis.close()


class StreamKeys(NamedTuple):
    """The names of the keys."""

    stream: str
    positions: str
    bytes: str
    batches: str


def keys(name: str) -> StreamKeys:
    """The keys of the stream called `name`."""
    tagged = f"{{{name}}}"
    return StreamKeys(tagged, f"{tagged}:positions", f"{tagged}:bytes", f"{tagged}:batches")


class Batch(NamedTuple):
    """Entries that are written together; `token` says that it is ours."""

    name: str
    token: str


class Sent(NamedTuple):
    """An entry: its id, the bytes of its parcel, and the parcel; None: it is none."""

    id: str
    size: int
    parcel: Parcel | None


class NotOurs(Exception):  # noqa: N818 - a batch that somebody else writes is no fault
    """Another reader has taken the batch over."""


class StreamReader:
    """Reads the stream `name` batch by batch. Methods raise StateUnavailable."""

    def __init__(self, redis: Runs, name: str) -> None:
        self._redis = redis
        self._keys = keys(name)

    async def open(self) -> None:
        """Have the consumer group there."""
        await self._redis.run(OPEN, (self._keys.stream,), ())

    async def waiting(self) -> tuple[int, float]:
        """Bytes in the stream, and since when (seconds since 1970) the oldest unread entry waits; 0: none."""
        held, oldest = await self._redis.run(WAITING, (self._keys.stream, self._keys.bytes), ())
        return int(held), milliseconds(oldest) / 1000 if oldest else 0.0

    async def begin(self, batch: Batch) -> None:
        """A batch of ours, empty."""
        await self._redis.run(BEGIN, (self._keys.batches,), (batch.name, batch.token))

    async def gather(self, batch: Batch, count: int) -> list[int]:
        """Add up to `count` entries; the sizes of those that came. Raises NotOurs."""
        return [int(size) for size in await self._run(GATHER, batch, count)]

    async def read(self, batch: Batch, after: str, count: int) -> list[Sent]:
        """Up to `count` entries of the batch after the id `after`. Raises NotOurs.

        Asking also says that somebody still works on it.
        """
        return [_sent(entry, fields) for entry, fields in await self._run(READ, batch, after, count)]

    async def settle(self, batch: Batch, size: int) -> int:
        """The batch, `size` bytes of parcels, is written: remove it; how many entries went.

        Raises NotOurs.
        """
        keys_of = self._keys
        gone = await self._redis.run(SETTLE, (keys_of.stream, keys_of.batches, keys_of.bytes), (*batch, size))
        if gone is None:
            raise NotOurs(batch.name)
        return int(gone)

    async def adopt(self, token: str, idle: float) -> Batch | None:
        """Take over a batch that nobody asked about for `idle` seconds; None: there is none."""
        name = await self._redis.run(
            ADOPT, (self._keys.stream, self._keys.batches), (token, round(idle * 1000))
        )
        return None if name is None else Batch(name.decode(), token)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._redis.close()

    async def _run(self, script: str, batch: Batch, *arguments: str | int) -> Any:
        found = await self._redis.run(
            script, (self._keys.stream, self._keys.batches), (batch.name, batch.token, *arguments)
        )
        if found is None:
            raise NotOurs(batch.name)
        return found


def milliseconds(entry: bytes | str) -> int:
    """When an entry was made, by Redis's clock, in milliseconds since 1970."""
    text = entry.decode() if isinstance(entry, bytes) else entry
    return int(text.split("-")[0])


def _position(raw: bytes) -> Position | None:
    try:
        segment, number = raw.split()
        return Position(int(segment), int(number))
    except ValueError:
        return None


def _sent(entry: bytes, fields: list[bytes] | None) -> Sent:
    data = fields[1] if fields and len(fields) == 2 else b""
    try:
        return Sent(entry.decode(), len(data), unpacked(data))
    except msgspec.MsgspecError:  # nothing of ours, or removed by somebody
        return Sent(entry.decode(), len(data), None)
