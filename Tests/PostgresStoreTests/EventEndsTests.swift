import Testing

@testable import PostgresStore

@Suite struct EventEndsTests {
    @Test(arguments: [[], [0], [0, 0, 5], [1, 2, 3], [127, 255, 16_511, 1 << 30]] as [[Int]])
    func endsComeBack(_ ends: [Int]) throws {
        let bytes = try EventEnds.encode(ends, textBytes: 1 << 30)
        #expect(try EventEnds.decode(bytes, textBytes: 1 << 30) == ends)
    }

    @Test func shortTokensTakeOneByte() throws {
        #expect(try EventEnds.encode(Array(stride(from: 4, through: 400, by: 4)), textBytes: 400).count == 100)
    }

    @Test(arguments: [[-1], [2, 1], [11], [5, 11], [.max], [.min]] as [[Int]])
    func endsThatFallOrLeaveTheTextAreRefused(_ ends: [Int]) {
        #expect(throws: DatabaseError.self) { try EventEnds.encode(ends, textBytes: 10) }
    }

    @Test(arguments: [[0x80], [11], [0x8B, 0x80], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [5, 6]] as [[UInt8]])
    func bytesThatWereNotMadeHereAreRefused(_ bytes: [UInt8]) {
        #expect(throws: DatabaseError.self) { try EventEnds.decode(bytes, textBytes: 10) }
    }
}
