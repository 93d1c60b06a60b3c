/// Whose blocks a sequence may take over, and who may take over its own.
enum CacheScope: Hashable {
    /// All requests with this salt, a tenant's.
    case salt(String)
    /// This request alone, when it comes back after a preemption.
    case request(UInt64)
}

/// Which blocks hold the keys and values of which tokens, after which prefix: a tree with one block for a node.
///
/// A full block is found by the hash of the whole chain of tokens before and in it (as in Kwon et al. 2023, section 4.3). The hash only
/// finds it: a hit is the same tokens in the same block after the same parent, which was compared in its turn, up to the scope at
/// the root. So a collision of hashes costs a miss and never a wrong block. Partial blocks (the end of a turn) are found as
/// children of the block before them.
///
/// Knows neither owners nor contents; ``BlockPool`` does. A block that a sequence owns and a cached one without owner are nodes alike; the
/// latter are listed in the order of their eviction. Parents outlive their children: an owner of a block owns its whole chain and
/// leaves it from the end, so no parent is ever listed before its child.
struct PrefixCache {
    /// A block's number, or from `blockCount` on a scope's.
    typealias Node = Int32
    static let none: Node = -1

    struct Entry {
        var parent = PrefixCache.none
        /// Of the chain up to the end of this block.
        var hash: UInt64 = 0
        /// Tokens of this block; 0 is no entry, less than a block's a partial one.
        var count = 0
        var firstChild = PrefixCache.none
        var nextSibling = PrefixCache.none
        var previousSibling = PrefixCache.none
    }

    /// Children of a node that are compared for a partial match, the newest first: a bound on the work, however many there are.
    static let comparedChildren = 8

    let blockCount: Int
    /// `[blockCount + scopes]`.
    private(set) var entries: [Entry]
    /// `[blockCount][16]`.
    private var tokens: [Int32]
    private(set) var index: [UInt64: Int32] = [:]
    private(set) var scopes: [CacheScope: Node] = [:]
    private var scopeNames: [CacheScope?] = []
    private var unusedScopes: [Node] = []
    private let identity: UInt64
    private let hashMask: UInt64

    /// - Parameters:
    ///   - numericsID: a part of every hash: blocks of other bits are other blocks.
    ///   - hashMask: bits of the hashes that are kept; tests make collisions with few.
    init(blockCount: Int, numericsID: String, hashMask: UInt64 = .max) {
        self.blockCount = blockCount
        self.hashMask = hashMask
        entries = Array(repeating: Entry(), count: blockCount)
        tokens = Array(repeating: 0, count: blockCount * BlockPool.blockSize)
        identity = Self.hash(0xcbf2_9ce4_8422_2325, numericsID.utf8.lazy.map(UInt64.init))
    }

    func holds(_ block: Int32) -> Bool { entries[Int(block)].count > 0 }
    func isPartial(_ block: Int32) -> Bool { (1..<BlockPool.blockSize).contains(entries[Int(block)].count) }

    func tokens(of block: Int32) -> ArraySlice<Int32> {
        let start = Int(block) * BlockPool.blockSize
        return tokens[start..<start + entries[Int(block)].count]
    }

    /// Whether the node is one of a scope that is in use.
    func isScope(_ node: Node) -> Bool {
        let place = Int(node) - blockCount
        guard scopeNames.indices.contains(place), let scope = scopeNames[place] else { return false }
        return scopes[scope] == node
    }

    // MARK: Hashes

    /// The hash of a chain that another block's tokens make longer.
    func hash(after previous: UInt64, _ block: ArraySlice<Int32>) -> UInt64 {
        Self.hash(previous, block.lazy.map { UInt64(UInt32(bitPattern: $0)) }) & hashMask
    }

    func rootHash(_ scope: CacheScope) -> UInt64 {
        switch scope {
        case .salt(let salt): Self.hash(identity &+ 1, salt.utf8.lazy.map(UInt64.init)) & hashMask
        case .request(let id): Self.hash(identity &+ 2, CollectionOfOne(id)) & hashMask
        }
    }

    private static func hash(_ start: UInt64, _ words: some Sequence<UInt64>) -> UInt64 {
        var state = start
        // A round of SplitMix64's finalizer for each word.
        for word in words {
            state = (state ^ word) &* 0xBF58_476D_1CE4_E5B9
            state = (state ^ (state >> 27)) &* 0x94D0_49BB_1331_11EB
            state ^= state >> 31
        }
        return state
    }

    // MARK: Looking up

    /// The full block with these tokens after this parent.
    func block(after parent: Node, hash: UInt64, tokens wanted: ArraySlice<Int32>) -> Int32? {
        guard let block = index[hash], entries[Int(block)].parent == parent, tokens(of: block) == wanted else {
            return nil
        }
        return block
    }

    /// The child that begins with the most of these tokens, and how many; nil when none begins with the first.
    func longestMatch(after parent: Node, _ wanted: ArraySlice<Int32>) -> (block: Int32, count: Int)? {
        var best: (block: Int32, count: Int)?
        var child = entries[Int(parent)].firstChild
        for _ in 0..<Self.comparedChildren where child != Self.none {
            let count = zip(tokens(of: child), wanted).prefix { $0 == $1 }.count
            if count > best?.count ?? 0 { best = (child, count) }
            child = entries[Int(child)].nextSibling
        }
        return best
    }

    // MARK: Changing

    /// The node of a scope. One that gets no child must be given back with ``removeIfChildless(_:)``.
    mutating func makeRoot(_ scope: CacheScope) -> Node {
        if let node = scopes[scope] { return node }
        let node: Node
        if let unused = unusedScopes.popLast() {
            node = unused
        } else {
            node = Node(entries.count)
            entries.append(Entry())
            scopeNames.append(nil)
        }
        entries[Int(node)] = Entry(hash: rootHash(scope))
        scopes[scope] = node
        scopeNames[Int(node) - blockCount] = scope
        return node
    }

    mutating func removeIfChildless(_ root: Node) {
        let place = Int(root) - blockCount
        guard place >= 0, entries[Int(root)].firstChild == Self.none, let scope = scopeNames[place] else { return }
        scopes[scope] = nil
        scopeNames[place] = nil
        unusedScopes.append(root)
    }

    /// Lists a block; a full one under its hash. False when another full block has that hash.
    mutating func insert(_ block: Int32, after parent: Node, hash: UInt64, tokens new: ArraySlice<Int32>) -> Bool {
        assert(!holds(block) && !new.isEmpty && new.count <= BlockPool.blockSize)
        if new.count == BlockPool.blockSize {
            guard index[hash] == nil else { return false }
            index[hash] = block
        }
        let start = Int(block) * BlockPool.blockSize
        tokens.replaceSubrange(start..<start + new.count, with: new)
        let sibling = entries[Int(parent)].firstChild
        entries[Int(block)] = Entry(parent: parent, hash: hash, count: new.count, nextSibling: sibling)
        if sibling != Self.none { entries[Int(sibling)].previousSibling = block }
        entries[Int(parent)].firstChild = block
        return true
    }

    /// Takes a block without children off the tree.
    mutating func remove(_ block: Int32) {
        let entry = entries[Int(block)]
        assert(entry.count > 0 && entry.firstChild == Self.none, "a parent goes after its children")
        if entry.count == BlockPool.blockSize { index[entry.hash] = nil }
        if entry.nextSibling != Self.none { entries[Int(entry.nextSibling)].previousSibling = entry.previousSibling }
        if entry.previousSibling != Self.none {
            entries[Int(entry.previousSibling)].nextSibling = entry.nextSibling
        } else {
            entries[Int(entry.parent)].firstChild = entry.nextSibling
        }
        entries[Int(block)] = Entry()
        removeIfChildless(entry.parent)
    }
}
