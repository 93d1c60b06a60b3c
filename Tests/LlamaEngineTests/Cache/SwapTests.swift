import Foundation
import Testing

@testable import LlamaEngine

@Suite struct SwapTests {
    @Test func blocksMoveOnlyWhereThatIsCheaperThanComputingThemAgain() throws {
        var swap = SwapSpace(byteCount: 100 * 1000 + 999, blockBytes: 1000)
        #expect(swap.slotCount == 100)
        swap.record(out: 10, seconds: 0.010)
        swap.record(in: 10, seconds: 0.030)
        // 4 ms for a block in both directions, 16 tokens in 1.6 or 8 ms.
        #expect(swap.take(blocks: 5, tokens: 80, secondsPerToken: 0.0001) == nil)
        let taken = swap.take(blocks: 5, tokens: 80, secondsPerToken: 0.0005)
        let slots = try #require(taken)
        #expect(Set(slots).count == 5)
        #expect(swap.freeSlots.count == 95)
        #expect(swap.take(blocks: 96, tokens: 5000, secondsPerToken: 1) == nil)
        try swap.verify(owners: [slots])
        #expect(throws: IntegrityFault.self) { try swap.verify(owners: []) }
        swap.giveBack(slots)
        try swap.verify(owners: [])
        #expect(throws: IntegrityFault.self) { try swap.verify(owners: [slots]) }
    }

    @Test func aBusyDiskIsTriedAgain() {
        var swap = SwapSpace(byteCount: 100 * 1000, blockBytes: 1000)
        swap.record(out: 1, seconds: 10)
        swap.record(in: 1, seconds: 10)
        var refusals = 0
        while refusals < 1000, swap.take(blocks: 1, tokens: 16, secondsPerToken: 0.001) == nil { refusals += 1 }
        #expect((10...200).contains(refusals))
    }

    @Test func offWithoutBytesOrBlocks() {
        var swap = SwapSpace()
        #expect(swap.take(blocks: 1, tokens: 1000, secondsPerToken: 1) == nil)
        #expect(SwapSpace(byteCount: 999, blockBytes: 1000).slotCount == 0)
        #expect(SwapSpace(byteCount: -5, blockBytes: 1000).slotCount == 0)
    }

    @Test func theFileKeepsWhatItWasGivenAndHasNoName() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "swap-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let file = try SwapFile(slots: 3, slotBytes: 5000, directory: directory.path)
        for slot in 0..<3 as Range<Int32> {
            file.slot(slot).initializeMemory(as: UInt8.self, repeating: UInt8(slot + 1), count: 5000)
        }
        for slot in 0..<3 as Range<Int32> {
            let bytes = UnsafeRawBufferPointer(start: file.slot(slot), count: 5000)
            #expect(bytes.allSatisfy { $0 == UInt8(slot + 1) })
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }

    @Test func aFileThatCannotBeIsSaidAtOnce() {
        #expect(throws: EngineError.self) { try SwapFile(slots: 1, slotBytes: 4096, directory: "/nowhere/at/all") }
        #expect {
            try SwapFile(slots: 1 << 30, slotBytes: 1 << 30, directory: NSTemporaryDirectory())
        } throws: {
            if case .unavailable(let reason) = $0 as? EngineError { reason.hasPrefix("swap") } else { false }
        }
    }
}
