import Foundation
import ServiceKit
import Testing

@testable import inference_node

@Suite struct MachineMemoryTests {
    /// A folder with files as `/proc` and `/sys` have them.
    private final class Machine {
        let root = FileManager.default.temporaryDirectory.appending(path: "machine-\(UUID().uuidString)")

        init(_ files: [String: String]) throws {
            for (path, text) in files {
                let place = root.appending(path: path)
                try FileManager.default.createDirectory(
                    at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(text.utf8).write(to: place)
            }
        }

        deinit { try? FileManager.default.removeItem(at: root) }

        var memory: MachineMemory { MachineMemory(root: root.path, process: 7) }
    }

    private let meminfo = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n"

    @Test func theSmallestLimitOnTheWayUpCounts() throws {
        let machine = try Machine([
            "proc/meminfo": meminfo, "proc/self/cgroup": "0::/pod/node\n",
            "sys/fs/cgroup/pod/node/memory.max": "max\n",
            "sys/fs/cgroup/pod/memory.max": "2147483648\n", "sys/fs/cgroup/pod/memory.current": "104857600\n",
            "sys/fs/cgroup/pod/memory.stat": "anon 1\ninactive_file 1048576\nactive_file 1048576\n",
            "sys/fs/cgroup/memory.max": "4294967296\n",
        ])
        let memory = machine.memory
        #expect(memory.group == .init(limit: 2 << 30, used: (100 << 20) - (2 << 20)))
        #expect(memory.total == 16_000_000 * 1024 && memory.available == 8_000_000 * 1024)
        let room = try #require(KVRoom(memory, weights: 100 << 20))
        #expect(room.bytes == (2 << 30) - (100 << 20) - (256 << 20))
        #expect(room.bound.contains("2048 MiB"))
    }

    /// In a container the path is the host's, and only the top is there.
    @Test func theFirstVersionHasItsOwnNames() throws {
        let machine = try Machine([
            "proc/meminfo": meminfo,
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
        ])
        #expect(machine.memory.group == .init(limit: 1 << 30, used: 1000))
    }

    @Test func withoutALimitAQuarterOfWhatIsFreeIsShared() throws {
        let unlimited = try Machine([
            "proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "9223372036854771712\n",
            "proc/7/comm": "inference-node\n", "proc/8/comm": "inference-node\n", "proc/9/comm": "redis-server\n",
        ])
        let memory = unlimited.memory
        #expect(memory.group == nil && memory.otherNodes == 1)
        let room = try #require(KVRoom(memory, weights: 1 << 40))
        #expect(room.bytes == 8_000_000 * 1024 / 8 && room.bound.contains("2 nodes"))
        #expect(KVRoom(MachineMemory(group: nil, total: nil, available: nil, otherNodes: 0), weights: 0) == nil)
        // A limit beyond the machine's memory is none; one that others use too is shared with them.
        let wide = MachineMemory(
            group: .init(limit: 64 << 30, used: 0), total: 16 << 30, available: 8 << 30, otherNodes: 0)
        #expect(KVRoom(wide, weights: 0)?.bytes == 2 << 30)
        let shared = MachineMemory(
            group: .init(limit: 4 << 30, used: 2 << 30), total: 16 << 30, available: 8 << 30, otherNodes: 0)
        #expect(KVRoom(shared, weights: 0)?.bytes == 512 << 20)
    }

    @Test func aFolderInMemoryIsKnownByItsMount() throws {
        let machine = try Machine([
            "proc/mounts":
                "/dev/sda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/sdb /tmp/disk ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n"
        ])
        func inMemory(_ path: String) -> Bool {
            MachineMemory.holdsFiles(ofFolder: path, root: machine.root.path)
        }
        #expect(inMemory("/tmp") && inMemory("/tmp/") && inMemory("/tmp/x"))
        #expect(!inMemory("/tmp/disk/x") && !inMemory("/var/tmp") && !inMemory("/tmpx"))
    }

    @Test func whatCannotBeReadIsNothing() throws {
        let machine = try Machine([
            "proc/meminfo": "MemTotal: x kB\nMemAvailable: 99999999999999999999 kB\n",
            "proc/self/cgroup": "junk\n0::/../../a\n", "sys/fs/cgroup/a/memory.max": "-5\n",
        ])
        #expect(machine.memory.group == nil && machine.memory.total == nil && machine.memory.available == nil)
    }
}

@Suite struct AutomaticBlocksTests {
    private func blocks(_ bytes: Int?, sequences: Int = 64, context: Int = 8192) throws -> AutomaticBlocks {
        try AutomaticBlocks(
            sequences: sequences, contextLength: context, blockBytes: 1 << 20, weights: 1 << 30,
            room: bytes.map { KVRoom(bytes: $0, bound: "the limit") })
    }

    @Test func theSmallerOfWhatIsWantedAndWhatThereIs() throws {
        #expect(try blocks(1 << 40) == .init(count: 64 * 512, bound: "MAX_CONCURRENT contexts"))
        #expect(try blocks(1000 << 20) == .init(count: 1000, bound: "the limit"))
        #expect(try blocks(1 << 40, sequences: .max).count == 1 << 20)
        #expect(try blocks(nil).count == 4096)
        #expect(try blocks(1 << 40, sequences: 1, context: 17).count == 2)
    }

    @Test func aStartThatHoldsNoSequenceIsRefusedByTheSettingsName() throws {
        #expect(try blocks(128 << 20).count == 128)
        let error = #expect(throws: SettingsError.self) { try blocks(127 << 20) }
        #expect(error?.description.contains("ENGINE_KV_BLOCKS=auto") == true)
        #expect(error?.description.contains("1024 MiB of weights") == true)
        // A short context is worth a start.
        #expect(try blocks(8 << 20, context: 128).count == 8)
    }
}
