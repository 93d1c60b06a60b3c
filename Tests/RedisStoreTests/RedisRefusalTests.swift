import RedisStore
import Testing

/// What each error reply means: in the words of the servers that give them.
@Suite struct RedisRefusalTests {
    @Test(arguments: [
        ("LOADING Redis is loading the dataset in memory", RedisRefusal.Kind.outage),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", .outage),
        ("UNKILLABLE Sorry the script already executed write commands against the dataset.", .outage),
        ("ERR Script killed by user with SCRIPT KILL... script: 694a, on @user_script:1.", .outage),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", .outage),
        ("CLUSTERDOWN Hash slot not served", .outage), ("CLUSTERDOWN The cluster is down", .outage),
        ("TRYAGAIN Multiple keys request during rehashing of slot", .outage),
        ("MOVED 3999 127.0.0.1:6381", .outage), ("ASK 3999 127.0.0.1:6381", .outage),
        ("EXECABORT Transaction discarded because of previous errors.", .outage),
        ("ERR max number of clients reached", .outage),
        ("IOERR error or timeout reading from target instance", .outage),
        ("OOM command not allowed when used memory > 'maxmemory'.", .outageOfWrites),
        ("OOM command not allowed when used memory > 'maxmemory'. script: ecb6, on @user_script:1.", .outageOfWrites),
        ("READONLY You can't write against a read only replica.", .outageOfWrites),
        ("NOREPLICAS Not enough good replicas to write. script: c83e, on @user_script:1.", .outageOfWrites),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist", .outageOfWrites),
        // As Redis 6 says it of a script.
        (
            "ERR Error running script (call to f_c83e): @user_script:1: @user_script: 1: -READONLY You can't write",
            .outageOfWrites
        ),
        (
            "ERR Error running script (call to f_c83e): @user_script:1: @user_script: 1: -NOREPLICAS Not enough good",
            .outageOfWrites
        ),
        ("ERR Error running script (call to f_c83e): @user_script:1: attempt to index a nil value", .request),
        ("ERR Error running script (call to f_c83e): @user_script:1: -WRONGTYPE Operation against a key", .request),
        ("NOAUTH Authentication required.", .credentials),
        ("WRONGPASS invalid username-password pair or user is disabled.", .credentials),
        ("NOPERM this user has no permissions to run the 'evalsha' command", .credentials),
        ("DENIED Redis is running in protected mode", .credentials),
        ("ERR AUTH <password> called without any password configured for the default user.", .credentials),
        ("ERR invalid password", .credentials),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", .request),
        ("NOSCRIPT No matching script. Please use EVAL.", .request),
        ("BUSYGROUP Consumer Group name already exists", .request),
        ("BUSYKEY Target key name already exists.", .request),
        ("CROSSSLOT Keys in request don't hash to the same slot", .request),
        ("ERR unknown command 'NONSENSE', with args beginning with:", .request),
        ("ERR user_script:1: Script attempted to access nonexistent global variable 'x'", .request),
    ]) func isInTheTable(reply: String, kind: RedisRefusal.Kind) {
        let refusal = RedisRefusal(reply)
        #expect(refusal.kind == kind && refusal.isKnown)
        #expect(RedisError.server(reply).isPassing == (kind != .request))
    }

    @Test(arguments: ["SOMETHINGNEW of a later version", "BUSIER than ever", "", "readonly"])
    func whatIsNotInTheTableIsAnOutage(reply: String) {
        #expect(RedisRefusal(reply).kind == .outage && !RedisRefusal(reply).isKnown)
        #expect(RedisError.server(reply).isPassing)
    }

    @Test func whatTheServerDidNotSayPassesToo() {
        for error in [RedisError.unavailable(""), .connectionLost, .timedOut, .overloaded, .cancelled] {
            #expect(error.isPassing && error.refusal == nil)
        }
        #expect(!RedisError.unexpectedReply("a record").isPassing)
    }
}
