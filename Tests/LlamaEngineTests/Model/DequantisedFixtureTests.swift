import CKernels
import Foundation
import ModelFile
import Testing

@testable import LlamaEngine

/// Blocks of random bytes of every quantised type, repacked and gathered: the numbers that PyPI's `gguf` reads from them, to the bit.
@Suite struct DequantisedFixtureTests {
    struct Rows {
        var type: TensorType
        var count: Int, columns: Int
        var bytes: [UInt8]
        var numbers: [Float]
    }

    /// Tests/Reference/make_dequantised_fixture.py describes the format.
    static func fixture() throws -> [Rows] {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/dequantised.blocks")
        let data = try Data(contentsOf: path)
        return data.withUnsafeBytes { bytes in
            var result: [Rows] = [], at = 0
            func integer() -> Int {
                defer { at += 4 }
                return Int(bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
            }
            while at < bytes.count {
                let id = integer(), count = integer(), columns = integer(), rowBytes = integer()
                let raw = Array(bytes[at..<at + count * rowBytes])
                at += raw.count
                let numbers = (0..<count * columns).map { _ in Float(bitPattern: UInt32(integer())) }
                guard let type = TensorType(rawValue: UInt32(id)) else { continue }
                result.append(Rows(type: type, count: count, columns: columns, bytes: raw, numbers: numbers))
            }
            return result
        }
    }

    @Test func repackingKeepsEveryNumber() throws {
        let fixture = try Self.fixture()
        #expect(fixture.count == 12)
        for rows in fixture {
            let format = try #require(WeightPlan.format(rows.type))
            // Four times over, so that the rows come to lie in other lanes and in a second panel, which they do not fill.
            let bytes = [rows.bytes, rows.bytes, rows.bytes, rows.bytes].flatMap { $0 }
            let matrix = try PanelMatrix(bytes, format, outputs: 4 * rows.count, inputs: rows.columns)
            for row in 0..<4 * rows.count {
                let from = row % rows.count * rows.columns
                let expected = rows.numbers[from..<from + rows.columns].map(\.bitPattern)
                let got = matrix.row(row).map(\.bitPattern)
                let wrong = zip(got, expected).enumerated().first { $1.0 != $1.1 }?.offset
                #expect(wrong == nil, "\(rows.type) row \(row) column \(wrong ?? 0)")
            }
        }
    }

    /// Repacked weights take the file's bytes, but for scales of 6 bits that become bytes.
    @Test func panelsStayNearTheFilesSize() throws {
        for rows in try Self.fixture() {
            let format = try #require(WeightPlan.format(rows.type))
            let file = 16 * rows.bytes.count / rows.count
            let panel = ck_panel_bytes(Int32(format.rawValue), Int32(rows.columns))
            #expect(Double(panel) <= 1.06 * Double(file), "\(rows.type)")
        }
    }
}
