"""What is done in Redis as one step, in Lua, and the names of the keys.

Everything of one endpoint has the endpoint's name in braces in its keys, so that a cluster keeps it in one
slot and a script may touch all of it. A key that holds something of another type (somebody's mistake) is put
aside under `KEY:damaged`: what belongs there is known to the replicas, who hand it over again.

Source: redis.io/docs/latest/develop/programmability/eval-intro, …/reference/cluster-spec (hash tags).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A script and what Redis calls it: the SHA-1 of its text."""

    text: str
    sha: str = field(init=False, default="")

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


def kills(endpoint: str) -> str:
    """A hash: id of a kill → the kill as JSON."""
    return f"pointsman:kills:{{{endpoint}}}"


def cleared(endpoint: str) -> str:
    """A hash: cleared id → the clearance as JSON."""
    return f"pointsman:cleared:{{{endpoint}}}"


def log_state(endpoint: str, trial: str) -> str:
    """A hash: epoch, index and fencing token of a trial's evidence log, and what of whom it holds."""
    return f"pointsman:log:{{{endpoint}}}:{trial}"


def log_entries(endpoint: str, trial: str, epoch: str) -> str:
    """A stream: the entries of one epoch, with ids INDEX-0."""
    return f"pointsman:log:{{{endpoint}}}:{trial}:{epoch}"


def log_checkpoint(endpoint: str, trial: str, epoch: str) -> str:
    """The evidence as it stands after one of the entries."""
    return f"pointsman:log:{{{endpoint}}}:{trial}:{epoch}:checkpoint"


LEASE = "pointsman:{lease}:holder"
TOKEN = "pointsman:{lease}:token"  # noqa: S105 - a number that counts leaders
PRESENCE = "pointsman:{replicas}"

KILLS_CHANNEL = "pointsman:kills"
"""Every kill and every re-arm of every endpoint; also each replica's word that it can be heard."""


def log_channel(endpoint: str) -> str:
    """The entries of an endpoint's evidence logs, as they come."""
    return f"pointsman:log:{endpoint}"


_SOUND = """
local function sound(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('RENAME', key, key .. ':damaged') end
end
"""

PUSH = Script(
    _SOUND
    + """
-- KEYS: kills, cleared. ARGV: channel, message, how many kills, then id and text of each kill and cleared id.
sound(KEYS[1], 'hash')
sound(KEYS[2], 'hash')
local most = 3 + 2 * tonumber(ARGV[3])
for at = 4, #ARGV, 2 do
  redis.call('HSETNX', at <= most and KEYS[1] or KEYS[2], ARGV[at], ARGV[at + 1])
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
"""
)
"""Hand kills and clearances over and tell everybody. By id the first writing stands."""

REARM = Script(
    _SOUND
    + """
-- KEYS: kills, cleared. ARGV: channel, message, clearance, ids. Answers the ids in force if they are others.
sound(KEYS[1], 'hash')
sound(KEYS[2], 'hash')
local seen, force, same = {}, {}, 0
for at = 4, #ARGV do seen[ARGV[at]] = true end
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  if redis.call('HEXISTS', KEYS[2], id) == 0 then
    force[#force + 1] = id
    if seen[id] then same = same + 1 end
  end
end
if #force == 0 or same ~= #force or same ~= #ARGV - 3 then return {0, unpack(force)} end
for at = 4, #ARGV do redis.call('HSET', KEYS[2], ARGV[at], ARGV[3]) end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return {1}
"""
)
"""Clear exactly the kills that were seen, if they are exactly those in force."""

FORGET = Script(
    """
-- KEYS: cleared. ARGV: id and text that nobody can read, and so on.
for at = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) == ARGV[at + 1] then redis.call('HDEL', KEYS[1], ARGV[at]) end
end
return 1
"""
)
"""Take garbage out of the cleared ids, so that whoever knows the clearance hands it over again."""

SPELL = Script(
    """
-- KEYS: kills or cleared. ARGV: a field, the field in its place, and so on.
for at = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[at])
  if value then redis.call('HSETNX', KEYS[1], ARGV[at + 1], value) end
  redis.call('HDEL', KEYS[1], ARGV[at])
end
return 1
"""
)
"""Give fields names that a re-arm can name. What was in force by the old one is in force by the new one."""

LEASE_TAKE = Script(
    """
-- KEYS: holder, token. ARGV: who, milliseconds. Answers the token, 0 while another one leads.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(redis.call('GET', KEYS[2]) or '0')
end
if holder then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local token = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, now)
redis.call('SET', KEYS[2], string.format('%.0f', token))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return token
"""
)
"""Become or stay the leader. Tokens rise even if Redis forgets the last one: they are milliseconds, or above.
"""

LEASE_GIVE = Script(
    """
-- KEYS: holder. ARGV: who.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""
)

BEAT = Script(
    _SOUND
    + """
-- KEYS: replicas. ARGV: life, text, seconds that a life is shown, seconds that it is remembered.
sound(KEYS[1], 'hash')
local now = tonumber(redis.call('TIME')[1])
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2]) end
local found = {}
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local seen = tonumber(string.match(all[at + 1], '^(%d+) ') or '0')
  if now - seen > tonumber(ARGV[4]) or seen > now + 60 then
    redis.call('HDEL', KEYS[1], all[at])
  elseif now - seen <= tonumber(ARGV[3]) then
    found[#found + 1] = string.gsub(all[at + 1], '^%d+ ', '', 1)
  end
end
return found
"""
)
"""Say that a replica is there; answers all that are. Only the clock of Redis counts."""

LEAVE = Script("return redis.call('HDEL', KEYS[1], ARGV[1])")

APPEND = Script(
    _SOUND
    + """
-- KEYS: state, entries. ARGV: epoch, sender, number, entry, channel, most entries, ttl, token.
sound(KEYS[1], 'hash')
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
if epoch ~= ARGV[1] then return {'epoch', epoch} end
sound(KEYS[2], 'stream')
local sent = 'sent:' .. ARGV[2]
local number = tonumber(ARGV[3])
local have = tonumber(redis.call('HGET', KEYS[1], sent) or '0')
if number <= have then return {'known', have} end
if number > have + 1 then return {'gap', have} end
if ARGV[8] ~= '' then
  local token = tonumber(redis.call('HGET', KEYS[1], 'token') or '0')
  if tonumber(ARGV[8]) < token then return {'fenced', string.format('%.0f', token)} end
  redis.call('HSET', KEYS[1], 'token', ARGV[8])
end
local previous = redis.call('HGET', KEYS[1], 'last') or ' 0'
local index = redis.call('HINCRBY', KEYS[1], 'index', 1)
local id = index .. '-0'
local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], id, 'e', ARGV[4], 'p', previous)
if type(added) == 'table' and added.err then
  redis.call('HINCRBY', KEYS[1], 'index', -1)
  return {'epoch', ''}
end
redis.call('HSET', KEYS[1], sent, ARGV[3], 'last', ARGV[2] .. ' ' .. ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[7])
redis.call('EXPIRE', KEYS[2], ARGV[7])
redis.call('PUBLISH', ARGV[5],
  table.concat({index, ARGV[1], ARGV[2], ARGV[3], previous, ARGV[4]}, ' '))
return {'ok', index, previous}
"""
)
"""Append an entry to a log, once: whoever sends it again is told that it is known.

Each entry is told with the sender and number of the one before it: a log that was rolled back has another.
"""

OPEN = Script(
    _SOUND
    + """
-- KEYS: state, checkpoint. ARGV: expected epoch, new epoch, token, checkpoint, ttl, then field and value of
-- state.
sound(KEYS[1], 'hash')
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
if epoch ~= ARGV[1] then return {'epoch', epoch} end
local token = tonumber(redis.call('HGET', KEYS[1], 'token') or '0')
if tonumber(ARGV[3]) < token then return {'fenced', string.format('%.0f', token)} end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'index', 0, 'token', ARGV[3], 'checkpoint', 0)
for at = 6, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])
return {'ok', 0}
"""
)
"""Begin an epoch of a log with the leader's evidence."""

CHECKPOINT = Script(
    _SOUND
    + """
-- KEYS: state, checkpoint. ARGV: epoch, index, token, checkpoint, ttl.
sound(KEYS[1], 'hash')
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
if epoch ~= ARGV[1] then return {'epoch', epoch} end
local token = tonumber(redis.call('HGET', KEYS[1], 'token') or '0')
if tonumber(ARGV[3]) < token then return {'fenced', string.format('%.0f', token)} end
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[1], 'index') or '0') then return {'epoch', ''} end
redis.call('HSET', KEYS[1], 'checkpoint', ARGV[2], 'token', ARGV[3])
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return {'ok', tonumber(ARGV[2])}
"""
)
"""Replace the checkpoint of an epoch by a newer one of the leader's."""
