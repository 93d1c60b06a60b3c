/// The turn log's scripts. KEYS: 1 the log (stream), 2 the record (hash), 3 the readers (sorted set by expiry in ms).
///
/// The record's fields: tenant, user, conversation, kind, accepted, deadline, retention (ms); next (index after the last
/// token); epoch, owner (the lease; owner empty when nobody holds it); ended; cancel (reason); absent (ms since when
/// nobody reads); plan, outcome (both until the end); attempts, stalled, node, numerics; for the last 64 attempts
/// `begun:<slot>` (epoch, time in ms, node) and `end:<slot>` (why it ended); mark (of the last beginning); suspected;
/// retries, parked (who put the turn on a rung of the retry ladder).
enum TurnLogScripts {
    /// Makes a record from ARGV 1...7: tenant, user, conversation, kind, accepted, deadline, retention.
    /// A log without a record is left over and goes. A turn past its deadline still gets `retention` to be ended in.
    private static let create =
        LuaClock.source + """

            local function create(isFree)
              if not isFree then redis.call('DEL', KEYS[1], KEYS[2], KEYS[3]) end
              redis.call('HSET', KEYS[2], 'tenant', ARGV[1], 'user', ARGV[2], 'conversation', ARGV[3], 'kind', ARGV[4],
                'accepted', ARGV[5], 'deadline', ARGV[6], 'retention', ARGV[7], 'next', 0, 'epoch', 0, 'owner', '',
                'attempts', 0, 'stalled', 0, 'absent', whole(now))
              redis.call('PEXPIREAT', KEYS[2], whole(math.max(now, tonumber(ARGV[6])) + tonumber(ARGV[7])))
            end
            """

    /// The readers that are not gone.
    private static let readers = """

        local function readers()
          return redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. whole(now), '+inf')
        end
        """

    /// `readers, absentFor, cancel` as an append and `presence` report them.
    private static let audience = """

        local function audience(count, cancel, absent)
          if count > 0 then return count, -1, cancel end
          -- The last reader took its leave (absent), or its gateway died and its registration ran out.
          local since = tonumber(absent)
          local last = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
          if last[2] then since = math.max(since or 0, tonumber(last[2])) end
          return 0, math.max(0, now - (since or now)), cancel
        end
        """

    /// Sends an entry to the readers' channels.
    private static let publish = """

        local function publish(payload, to)
          for _, reader in ipairs(to) do redis.call('PUBLISH', 'gateway:' .. reader, payload) end
        end
        """

    /// Whether ARGV 1 and 2 are the lease's epoch and owner.
    private static let fence = """

        local lease = redis.call('HMGET', KEYS[2], 'epoch', 'owner', 'next', 'ended', 'cancel', 'absent')
        local isOurs = lease[1] == ARGV[1] and lease[2] == ARGV[2] and ARGV[2] ~= ''
        """

    private static let record = """

        local function record()
          return redis.call('HMGET', KEYS[2], 'tenant', 'user', 'conversation', 'kind', 'accepted', 'deadline', 'ended',
            'next')
        end
        """

    static let reserve = RedisScript(
        create + record + """

            local isFree = redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3]) == 0
            if not isFree and redis.call('EXISTS', KEYS[2]) == 1 then return record() end
            create(isFree)
            return false
            """)

    static let forget = RedisScript(
        """
        if redis.call('HGET', KEYS[2], 'epoch') ~= '0' then return 0 end
        redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
        return 1
        """, effect: .reads)

    static let lookUp = RedisScript(
        record + """

            return record()
            """, effect: .reads)

    /// ARGV: reader, lifetime in ms, index. A reader ahead of the log (the log was lost and is written again) is still
    /// given the terminal event. While writes are refused the log is read without registering.
    static let follow = RedisScript(
        LuaClock.source + RedisRefusal.lua + """

            local state = redis.call('HMGET', KEYS[2], 'next', 'ended')
            if not state[1] then return false end
            if not state[2] and ARGV[1] ~= ''
              and not refused(redis.pcall('ZREMRANGEBYSCORE', KEYS[3], '-inf', whole(now))) then
              redis.call('ZADD', KEYS[3], whole(now + tonumber(ARGV[2])), ARGV[1])
              redis.call('PEXPIRE', KEYS[3], redis.call('PTTL', KEYS[2]))
              redis.call('HDEL', KEYS[2], 'absent')
            end
            local from = math.min(tonumber(ARGV[3]), tonumber(state[1]))
            return redis.call('XRANGE', KEYS[1], '(' .. from .. '-0', '+')
            """, effect: .reads)

    /// ARGV: reader.
    static let unfollow = RedisScript(
        LuaClock.source + """

            if redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then return 0 end
            if redis.call('ZCOUNT', KEYS[3], '(' .. whole(now), '+inf') == 0 and redis.call('EXISTS', KEYS[2]) == 1 then
              redis.call('HSET', KEYS[2], 'absent', whole(now))
            end
            return 1
            """)

    /// ARGV: reason, the turn's id. A turn on a rung of the retry ladder has no holder: whoever put it there is told.
    static let cancel = RedisScript(
        """
        local state = redis.call('HMGET', KEYS[2], 'owner', 'ended', 'parked')
        if not state[1] or state[2] then return 0 end
        redis.call('HSETNX', KEYS[2], 'cancel', ARGV[1])
        local holder = state[1]
        if holder == '' and state[3] then holder = state[3] end
        if holder ~= '' then redis.call('PUBLISH', 'orchestrator:' .. holder, ARGV[2]) end
        return 1
        """)

    /// ARGV: 1...7 the record, 8 owner, 9 redelivered, 10 creates, 11 whose lease may be taken (empty: nobody's), 12 the
    /// last epoch that the owner knows.
    static let acquire = RedisScript(
        create + """

            local state = redis.call('HMGET', KEYS[2], 'epoch', 'owner', 'ended')
            if not state[1] then
              if ARGV[10] == '0' then return {'unknown'} end
              create()
              state = {'0', '', false}
            end
            if state[3] then return {'ended'} end
            if state[2] ~= '' and state[2] ~= ARGV[11] and ARGV[9] == '0' then return {'held', state[2]} end
            local epoch = whole(math.max(tonumber(state[1]) + 1, tonumber(ARGV[12]) + 1, micros))
            redis.call('HSET', KEYS[2], 'epoch', epoch, 'owner', ARGV[8])
            redis.call('HDEL', KEYS[2], 'parked')
            local left = redis.call('HMGET', KEYS[2], 'plan', 'outcome', 'cancel', 'attempts', 'stalled', 'retries')
            local attempts, history = tonumber(left[4]), {}
            for number = math.max(0, attempts - 64), attempts - 1 do
              local slot = number % 64
              history[#history + 1] = redis.call('HGET', KEYS[2], 'begun:' .. slot) or ''
              history[#history + 1] = redis.call('HGET', KEYS[2], 'end:' .. slot) or ''
            end
            return {'acquired', epoch, redis.call('XRANGE', KEYS[1], '-', '+'), left[1], left[2], left[3], left[4],
              left[5], left[6] or '0', history}
            """)

    /// ARGV: hint. Sends it to every reader of a turn that goes on; the log stays as it is.
    static let tell = RedisScript(
        LuaClock.source + readers + publish + """

            if redis.call('HEXISTS', KEYS[2], 'ended') == 1 then return 0 end
            publish(ARGV[1], readers())
            return 1
            """, effect: .reads)

    /// ARGV: epoch, owner, first, next, entry. The hot path: one read of the record, one write, one entry. A look writes
    /// too, though it changes nothing: where no reader can register, nobody is to be told that there is none.
    static let append = RedisScript(
        LuaClock.source + fence + readers + audience + publish + """

            if not isOurs or lease[4] then return {'fenced'} end
            if lease[3] ~= ARGV[3] then return {'gap', tonumber(lease[3])} end
            local reading = readers()
            if ARGV[3] ~= ARGV[4] then
              redis.call('XADD', KEYS[1], ARGV[4] .. '-0', 'e', ARGV[5])
              if ARGV[3] == '0' then redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[2])) end
              redis.call('HSET', KEYS[2], 'next', ARGV[4], 'stalled', 0)
              publish(ARGV[5], reading)
            else
              redis.call('HSETNX', KEYS[2], 'next', 0)
            end
            return {'appended', audience(#reading, lease[5], lease[6])}
            """)

    /// ARGV: epoch, owner, field, value. The first writer wins.
    static let recordOnce = RedisScript(
        fence + """

            if not isOurs or lease[4] then return false end
            redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[4])
            return redis.call('HGET', KEYS[2], ARGV[3])
            """)

    /// What living holders say of attempts that are over, as triples from ARGV `from` on: the attempt's number, why it
    /// ended, and 1 when it brought nothing and that was not its holder's or a full node's doing. Poison is told by these: a
    /// holder that was killed accuses nobody. An attempt has one verdict: said again, since a reply was lost, it counts once.
    private static let verdicts = """

        local function verdicts(from)
          for i = from, #ARGV, 3 do
            local isNew = redis.call('HSETNX', KEYS[2], 'end:' .. (tonumber(ARGV[i]) - 1) % 64, ARGV[i + 1]) == 1
            if isNew and ARGV[i + 2] == '1' then redis.call('HINCRBY', KEYS[2], 'stalled', 1) end
          end
        end
        """

    /// ARGV: epoch, owner, node, numerics id, plan, mark, then verdicts. The mark of the lease's last beginning tells a
    /// repeat of it, whose reply was lost.
    static let beginAttempt = RedisScript(
        LuaClock.source + fence + verdicts + """

            if not isOurs or lease[4] then return false end
            verdicts(7)
            local mark = ARGV[1] .. ' ' .. ARGV[6]
            local number, slot
            if redis.call('HGET', KEYS[2], 'mark') == mark then
              number = tonumber(redis.call('HGET', KEYS[2], 'attempts'))
              slot = (number - 1) % 64
              local begun = redis.call('HGET', KEYS[2], 'begun:' .. slot) or ''
              now = tonumber(string.match(begun, '^%d+ (%d+) ')) or now
            else
              redis.call('HSET', KEYS[2], 'node', ARGV[3], 'numerics', ARGV[4], 'mark', mark)
              redis.call('HSETNX', KEYS[2], 'plan', ARGV[5])
              number = redis.call('HINCRBY', KEYS[2], 'attempts', 1)
              slot = (number - 1) % 64
              redis.call('HSET', KEYS[2], 'begun:' .. slot, ARGV[1] .. ' ' .. whole(now) .. ' ' .. ARGV[3])
              redis.call('HDEL', KEYS[2], 'end:' .. slot)
            end
            return {number, tonumber(redis.call('HGET', KEYS[2], 'stalled')), redis.call('HGET', KEYS[2], 'plan'), now}
            """)

    /// ARGV: epoch, owner, 1 or 0: whether something begins that may end its process, or is over.
    static let suspect = RedisScript(
        fence + """

            if not isOurs or lease[4] then return false end
            if ARGV[3] == '1' then return redis.call('HINCRBY', KEYS[2], 'suspected', 1) end
            redis.call('HDEL', KEYS[2], 'suspected')
            return 0
            """)

    /// ARGV: epoch, owner, next, entry.
    static let end = RedisScript(
        LuaClock.source + fence + readers + publish + """

            if lease[4] then return {'ended'} end
            if not isOurs then return {'fenced'} end
            if lease[3] ~= ARGV[3] then return {'gap', tonumber(lease[3])} end
            redis.call('XADD', KEYS[1], ARGV[3] .. '-1', 'e', ARGV[4])
            redis.call('HSET', KEYS[2], 'ended', 1, 'owner', '')
            -- Prompt, message and answer: the response queue has what is settled, and an ended turn is planned no more.
            redis.call('HDEL', KEYS[2], 'plan', 'outcome')
            publish(ARGV[4], readers())
            local retention = redis.call('HGET', KEYS[2], 'retention')
            redis.call('PEXPIRE', KEYS[1], retention)
            redis.call('PEXPIRE', KEYS[2], retention)
            redis.call('DEL', KEYS[3])
            return {'ended'}
            """)

    /// ARGV: epoch, owner, who puts the turn on a rung of the retry ladder (empty: nobody), then verdicts.
    static let release = RedisScript(
        fence + verdicts + """

            if not isOurs or lease[4] then return 0 end
            verdicts(4)
            redis.call('HSET', KEYS[2], 'owner', '')
            -- Whoever lets go lives: nothing that began with the turn has ended its process.
            redis.call('HDEL', KEYS[2], 'suspected')
            if ARGV[3] ~= '' then
              redis.call('HSET', KEYS[2], 'parked', ARGV[3])
              redis.call('HINCRBY', KEYS[2], 'retries', 1)
            end
            return 1
            """)

    static let presence = RedisScript(
        LuaClock.source + readers + audience + """

            local state = redis.call('HMGET', KEYS[2], 'next', 'cancel', 'absent')
            if not state[1] then return false end
            return {audience(#readers(), state[2], state[3])}
            """, effect: .reads)
}
