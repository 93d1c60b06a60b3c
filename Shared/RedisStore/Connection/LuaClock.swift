/// Lua that scripts begin with when they need the time: all expiries and windows run on the server's clock.
enum LuaClock {
    /// `now` in ms and `micros` in µs of Unix time: whole numbers below 2^53, exact in Lua; `whole` writes such a number
    /// without an exponent.
    static let source = """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local micros = time[1] * 1000000 + time[2]
        local function whole(number) return string.format('%.0f', number) end

        """
}
