/// Lua that scripts begin with when they need the time: all expiries and windows run on the server's clock.
enum LuaClock {
    /// `whole` writes a whole number below 2^53, which is exact in Lua, without an exponent.
    static let format = """
        local function whole(number) return string.format('%.0f', number) end

        """

    /// `now` in ms and `micros` in µs of Unix time: whole numbers below 2^53.
    static let source =
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local micros = time[1] * 1000000 + time[2]

        """ + format

    /// `present()` is the time in ms: for scripts that seldom need it.
    static let onDemand =
        format + """
            local function present()
              local time = redis.call('TIME')
              return time[1] * 1000 + math.floor(time[2] / 1000)
            end

            """
}
