"""Lua for Redis: what must be one step, and one round trip."""

from __future__ import annotations

__all__ = ["ALL", "APPEND", "READ", "REPLACE", "TAKE"]

# KEYS: stream. ARGV: how many to keep, seconds to live, entry… Returns the ids.
APPEND = """
local ids = {}
for i = 3, #ARGV do
  ids[i - 2] = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'd', ARGV[i])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return ids
"""

# KEYS: stream. ARGV: id or '', how many. Returns the entries behind the id; nil when it is not kept.
READ = """
local start = '-'
if ARGV[1] ~= '' then
  if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return false end
  start = '(' .. ARGV[1]
end
return redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', ARGV[2])
"""

# KEYS: bucket. ARGV: tokens a second, most tokens. Returns the seconds to wait, as text; '0' when taken.
TAKE = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local elapsed = math.max(0, now - (tonumber(kept[2]) or now))
local tokens = math.min(burst, (tonumber(kept[1]) or burst) + elapsed * rate)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = (1 - tokens) / rate end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens), 'at', string.format('%.17g', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / rate * 1000) + 1000)
return string.format('%.17g', wait)
"""

# KEYS: key. ARGV: new value, milliseconds to live or 0, old value (left out: none). Returns 1 when set.
REPLACE = """
local found = redis.call('GET', KEYS[1])
if found ~= (ARGV[3] or false) then return 0 end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
"""

ALL = (APPEND, READ, TAKE, REPLACE)
