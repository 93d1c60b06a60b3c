import Foundation
import ServiceHarness
import Testing

/// `make up` and `make down`: what is asked for is done, or refused by name.
@Suite(.serialized) struct ClusterTests {
    @Test func whatIsAskedForIsTaken() async throws {
        let stub = try StubCluster()
        let up = try await stub.cluster("up")
        #expect(up.status == 0 && up.text.contains("Switchboard is up."), "\(up.text)")
        // Servers that are named are used, and ours are not started.
        #expect(!up.text.contains("starting redis"))
        let names = ["REDIS_HOST", "REDIS_PASSWORD", "RABBITMQ_URI", "DATABASE_SHARDS", "MODEL_NAME", "MODEL_PATH"]
        for name in names {
            let value = try await stub.shell("unset \(name); . \"$state/cluster.env\"; printf %s \"$\(name)\"")
            #expect(value.text == stub.environment[name])
        }
        #expect(try await stub.shell("find \"$state\" -type f -perm /077").text == "")
        // Whoever is not told where the gateway is finds it there, with the key; that it takes no POST is the stub's.
        let load = try await Program.run(
            Executable.path("switchboard"),
            [
                "load", "--key-file", "\(stub.state)/api-key", "--kind", "async", "--streams", "1", "--duration",
                "500ms",
            ],
            environment: ["PATH": "/usr/bin:/bin"])
        #expect(load.status == 1 && load.text.contains("501 unknown"), "\(load.text)")
        try await stub.remove()
    }

    @Test func aRunningClusterRefusesOtherSettingsByName() async throws {
        let stub = try StubCluster()
        try await stub.cluster("up")
        let again = try await stub.cluster("up")
        #expect(again.status == 0 && again.text.contains("up already"), "\(again.text)")
        let other = try StubCluster()
        for (name, value) in [
            ("GATEWAY_PORT", "\(other.port)"), ("MODEL_PATH", other.model), ("DATABASE_SHARDS", "postgresql://a/b"),
            ("RATE_LIMIT_CHAT", "0"), ("NODE_ARGUMENTS", "--engine simulated"),
        ] {
            let refused = try await stub.cluster("up", [name: value])
            #expect(refused.status == 1 && refused.text.contains("another \(name);"), "\(refused.text)")
        }
        // A shell that has read cluster.env asks for nothing else.
        let same = try await stub.shell("set -a; . \"$state/cluster.env\"; exec \"$cluster\" up")
        #expect(same.status == 0 && same.text.contains("up already"), "\(same.text)")
        try await stub.remove()
        try await other.remove()
    }

    @Test func whatFailsLeavesNothingBehind() async throws {
        let stub = try StubCluster()
        // Redis is ours here.
        let failed = try await stub.cluster("up", ["REDIS_HOST": "", "REDIS_PASSWORD": "", "STUB_FAILS": "1"])
        #expect(failed.status == 1 && failed.text.contains("migrate failed"), "\(failed.text)")
        #expect(try await stub.cluster("down").text == "Switchboard is not up.")
        let half = try await stub.cluster("up", ["REDIS_HOST": ""])
        #expect(half.status == 1 && half.text.contains("REDIS_PASSWORD is of a Redis of your own"), "\(half.text)")
        let folder = try await stub.cluster("up", ["MODEL_PATH": stub.state])
        #expect(folder.status == 1 && folder.text.contains("has no config.json"), "\(folder.text)")
        let hub = try await stub.cluster("up", ["MODEL_PATH": "meta-llama/Llama-3.2-1B"])
        #expect(hub.status == 1 && hub.text.contains("are not fetched"), "\(hub.text)")
        try await stub.remove()
    }

    /// Suites that need the model skip themselves where there is none.
    @Test func testsOfAModelThatIsNotThereAreNotSkippedInSilence() async throws {
        let setup = PrometheusFiles.repository.appending(path: "deploy/local/setup").path
        var environment = ProcessInfo.processInfo.environment
        environment["MODEL_PATH"] = "/typo"
        let result = try await Program.run(setup, ["test"], environment: environment)
        #expect(result.status == 1 && result.text.contains("MODEL_PATH: '/typo'"), "\(result.text)")
    }

    /// The one in the foreground sees that its cluster was stopped, and leaves the new one alone.
    @Test func aClusterThatIsStartedAnewBesideAForegroundStays() async throws {
        let stub = try StubCluster()
        let result = try await stub.shell(
            """
            DETACH= "$cluster" up >"$state/foreground" 2>&1 &
            until grep -q Ctrl-C "$state/foreground"; do kill -0 $! || { cat "$state/foreground"; exit 9; }; sleep 0.1; done
            "$cluster" down && "$cluster" up >/dev/null || exit 1
            wait $!
            "$cluster" up | head -1
            """)
        #expect(result.status == 0 && result.text.contains("up already"), "\(result.text)")
        try await stub.remove()
    }

    @Test func aServiceThatDiesIsStartedAgain() async throws {
        let stub = try StubCluster()
        try await stub.cluster("up")
        let result = try await stub.shell(Self.killed("gateway"))
        #expect(result.status == 0, "\(result.text)")
        let status = try await stub.cluster("status")
        #expect(status.status == 0, "\(status.text)")
        #expect(status.text.contains("gateway ") && status.text.contains("http://127.0.0.1:\(stub.port)/readyz"))
        try await stub.cluster("down")
        #expect(try await stub.cluster("status").status == 1)
        try await stub.remove()
    }

    /// Kills a service, and waits until there is another.
    private static func killed(_ name: String) -> String {
        """
        read -r old _ <"$state/cluster/\(name).pid" && kill -9 "$old" || exit 8
        for ((try = 0; try < 300; try++)); do
            read -r new _ <"$state/cluster/\(name).pid"
            [[ -z $new || $new == "$old" ]] || ! kill -0 "$new" 2>/dev/null || break
            sleep 0.1
        done
        [[ -n $new && $new != "$old" ]] && kill -0 "$new" || { echo "\(name) is not back"; exit 7; }

        """
    }

    /// Its port is another's for a moment. The services know no other port, so the server waits until it has its own again.
    @Test func aServerThatDiesComesBackOnItsPort() async throws {
        let stub = try StubCluster()
        let up = try await stub.cluster("up", ["REDIS_HOST": "", "REDIS_PASSWORD": ""])
        #expect(up.status == 0, "\(up.text)")
        let result = try await stub.shell(
            """
            . "$state/cluster.env"
            read -r supervisor _ <"$state/cluster/supervisor.pid" && read -r redis _ <"$state/cluster/redis/pid" || exit 9
            # The supervisor sleeps until the port is taken.
            kill -STOP "$supervisor" && kill -9 "$redis" || exit 8
            coproc python3 -c "$take" "$REDIS_PORT"
            trap 'kill "$COPROC_PID" 2>/dev/null' EXIT
            read -r taken <&"${COPROC[0]}"
            kill -CONT "$supervisor"
            for ((try = 0; try < 300; try++)); do
                [[ $(<"$state/cluster/redis/port") == "$REDIS_PORT" ]] || { echo "moved to another port"; exit 7; }
                ! grep -q "port $REDIS_PORT, wanted for redis, is in use" "$state/logs/supervisor.log" || break
                sleep 0.1
            done
            ((try < 300)) || { echo "nobody has wanted the port"; exit 6; }
            kill "$COPROC_PID"
            for ((try = 0; try < 300; try++)); do
                answer=$(REDISCLI_AUTH=$REDIS_PASSWORD redis-cli -h "$REDIS_HOST" -p "$REDIS_PORT" ping 2>&1)
                [[ $answer != PONG ]] || exit 0
                sleep 0.1
            done
            echo "not back: $answer"
            exit 5
            """, ["take": Self.takePort])
        #expect(result.status == 0, "\(result.text)")
        try await stub.remove()
    }

    /// Python: listens on a port as soon as it is free, says so, and keeps it.
    private static let takePort = """
        import signal, socket, sys, time
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            try:
                listener.bind(("127.0.0.1", int(sys.argv[1])))
                break
            except OSError:
                time.sleep(0.01)
        listener.listen()
        print("taken", flush=True)
        signal.pause()
        """

    /// On a file system of its own, which is filled to the last byte: mounted in a namespace of its own, so for root alone.
    @Test(.enabled(if: getuid() == 0, "for root alone: it mounts a file system")) func aFullDiskStopsNoService()
        async throws
    {
        let stub = try StubCluster()
        let result = try await stub.shell(
            """
            mount -t tmpfs -o size=16m none "$state" || exit 77
            "$cluster" up >/dev/null || exit 1
            head -c 11000000 /dev/zero >>"$state/logs/gateway.log" # longer than a log may be: it is to be moved aside
            cat /dev/zero >"$state/full" 2>/dev/null
            supervisor=$(<"$state/cluster/supervisor.pid")
            \(Self.killed("queue-worker"))
            \(Self.killed("queue-worker"))
            [[ $(<"$state/cluster/supervisor.pid") == "$supervisor" ]] && kill -0 ${supervisor%% *} || exit 6
            read -r service _ <"$state/cluster/queue-worker.pid"
            rm "$state/full"
            "$cluster" down
            kill -0 $service 2>/dev/null && { echo "left behind"; exit 5; }
            exit 0
            """, by: ["unshare", "-m", "--propagation", "private"])
        #expect(result.status == 0, "\(result.text)")
        try await stub.remove()
    }
}
