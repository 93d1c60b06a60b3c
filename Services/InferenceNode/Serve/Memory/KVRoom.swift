import LlamaEngine
import ServiceKit

/// How much memory a node's KV blocks may take, and why not more.
struct KVRoom: Equatable {
    let bytes: Int
    let bound: String

    /// What a node has besides weights and KV blocks: activations, logits, mapped files, the process itself.
    static let others = 256 << 20
    /// A cgroup in which more than this is used before the weights are loaded is not this node's alone.
    private static let usedAlone = 256 << 20

    init(bytes: Int, bound: String) {
        self.bytes = bytes
        self.bound = bound
    }

    /// - Parameter memory: as it was before the weights were loaded.
    /// - Parameter weights: bytes of the weights.
    /// - Returns: nil where nothing is known of the memory.
    init?(_ memory: MachineMemory, weights: Int) {
        let group = memory.group.flatMap { group in memory.total.map { group.limit < $0 } ?? true ? group : nil }
        if let group, group.used <= KVRoom.usedAlone, memory.otherNodes == 0 {
            bytes = max(0, group.limit - weights - KVRoom.others)
            bound = "the cgroup's limit of \(group.limit >> 20) MiB"
            return
        }
        // Others live here too, and other nodes may still take what they may.
        let free = [memory.available, group.map { max(0, $0.limit - $0.used) }].compactMap { $0 }.min()
        guard let free else { return nil }
        let nodes = max(0, memory.otherNodes) + 1
        bytes = free / 4 / nodes
        bound =
            "a quarter of \(free >> 20) MiB of free memory" + (nodes > 1 ? ", shared by \(nodes) nodes" : "")
    }
}

/// The number of KV blocks that `ENGINE_KV_BLOCKS=auto` stands for.
struct AutomaticBlocks: Equatable {
    let count: Int
    /// What bounds it.
    let bound: String

    /// Tokens of a sequence that is worth a start.
    static let leastTokens = 2048
    /// Blocks where nothing is known of the memory.
    static let unknown = 4096

    init(count: Int, bound: String) {
        self.count = count
        self.bound = bound
    }

    /// The blocks of as many contexts as run at once, or as many as there is memory for.
    /// - Throws: when the memory does not hold one sequence.
    init(
        sequences: Int, contextLength: Int, blockBytes: Int, weights: Int, room: KVRoom?
    ) throws(SettingsError) {
        let contextBlocks = AutomaticBlocks.blocks(contextLength)
        let (product, overflow) = contextBlocks.multipliedReportingOverflow(by: max(1, sequences))
        let wanted = min(overflow ? .max : product, ModelOptions.maximumKVBlocks)
        guard let room else {
            count = min(wanted, max(contextBlocks, AutomaticBlocks.unknown))
            bound = "nothing is known of the memory"
            return
        }
        let affordable = room.bytes / max(1, blockBytes)
        let least = AutomaticBlocks.blocks(min(contextLength, AutomaticBlocks.leastTokens))
        guard affordable >= least else {
            throw SettingsError(problems: [
                """
                ENGINE_KV_BLOCKS=auto: beside \(weights >> 20) MiB of weights, \(room.bound) leaves \(room.bytes >> 20) MiB or \
                \(affordable) KV blocks of \(blockBytes >> 10) KiB; one sequence of \
                \(min(contextLength, AutomaticBlocks.leastTokens)) tokens takes \(least). More memory, a smaller model or \
                ENGINE_KV_TYPE=q8 helps, or a number of blocks
                """
            ])
        }
        count = min(wanted, affordable)
        bound = wanted <= affordable ? "MAX_CONCURRENT contexts" : room.bound
    }

    private static func blocks(_ tokens: Int) -> Int { max(1, tokens / 16 + (tokens % 16 == 0 ? 0 : 1)) }
}
