import CKernels
import Foundation
import Testing

@testable import LlamaEngine

/// Our own exp, sin, cos, norms and conversions: near the truth, and the same bits in every variant.
@Suite struct ElementaryTests {
    static func all(_ count: Int, _ body: (ck_variant, inout [Float]) -> Void) throws -> [Float] {
        var results: [[UInt32]] = [], first: [Float] = []
        for variant in KernelVariant.available {
            var y = [Float](repeating: 0, count: count)
            body(try KernelTests.kernels(variant), &y)
            if results.isEmpty { first = y }
            results.append(y.map(\.bitPattern))
            #expect(results[0] == y.map(\.bitPattern), "\(variant)")
        }
        return first
    }

    static let arguments: [Float] =
        (0..<4096).map { -90 + Float($0) * 0.0441 }
        + [
            0, -0.0, .infinity, -.infinity, .leastNonzeroMagnitude, -.leastNormalMagnitude / 3, 88, 88.1, 1e30, -1e30,
            -87, -86.9999, 3e-8, -3e-8, 0.34657, -0.34658,
        ]

    @Test func exponential() throws {
        let x = Self.arguments
        let y = try Self.all(x.count) { kernels, y in kernels.exp(x, Int32(x.count), &y) }
        for (x, y) in zip(x, y) {
            let truth = Foundation.exp(Double(min(x, 88)))
            #expect(x < -87 ? y == 0 : abs(Double(y) - truth) <= truth * 2.4e-7, "exp(\(x)) = \(y)")
        }
        let nan = try Self.all(16) { kernels, y in kernels.exp([Float](repeating: .nan, count: 16), 16, &y) }
        #expect(nan.allSatisfy { $0.isNaN })
    }

    @Test func swiglu() throws {
        let gate = Self.arguments, up = gate.map { 1 + $0 * 0.01 }
        let y = try Self.all(gate.count) { kernels, y in kernels.swiglu(gate, up, Int32(gate.count), &y) }
        for index in 0..<4096 {
            let g = Double(gate[index]), truth = g / (1 + Foundation.exp(-g)) * Double(up[index])
            #expect(abs(Double(y[index]) - truth) <= abs(truth) * 6e-7 + 1e-36)
        }
    }

    @Test func rotations() throws {
        let turns = RotaryFrequencies.turns(base: 500_000, dimensions: 64, scaling: .none, factors: nil)
        for (pair, turn) in turns.enumerated() {
            let truth = pow(500_000, -Double(pair) / 32) / (2 * Double.pi)
            #expect(abs(turn - truth) < truth * 1e-14)
        }
        for position in [0, 1, 2, 15, 16, 255, 4095, 131_071, 16_777_215] {
            let both = try Self.all(128) { kernels, y in
                y.withUnsafeMutableBufferPointer { y in
                    guard let base = y.baseAddress else { return }
                    kernels.rope(Int32(position), turns, 32, base, base + 64)
                }
            }
            for pair in 0..<32 {
                let angle = (Double(position) * turns[pair]).truncatingRemainder(dividingBy: 1) * 2 * Double.pi
                #expect(abs(Double(both[2 * pair]) - cos(angle)) < 2e-7 && both[2 * pair] == both[2 * pair + 1])
                #expect(
                    abs(Double(both[65 + 2 * pair]) - sin(angle)) < 2e-7 && both[64 + 2 * pair] == -both[65 + 2 * pair])
            }
        }
    }

    @Test func norms() throws {
        var generator = RandomNumbers(seed: 2)
        for columns in [32, 96, 576, 2048] {
            let x = generator.floats(columns, scale: 5), w = generator.floats(columns)
            let y = try Self.all(columns) { kernels, y in kernels.norm(x, w, 1e-5, Int32(columns), &y) }
            let scale = 1 / (x.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(columns) + 1e-5).squareRoot()
            for k in 0..<columns { #expect(abs(Double(y[k]) - Double(x[k]) * scale * Double(w[k])) < 1e-5) }
        }
    }

    @Test func halves() throws {
        let patterns = (0..<65536).map { UInt16($0) }
        let floats = try Self.all(65536) { kernels, y in kernels.unhalf(patterns, 65536, &y) }
        for (pattern, float) in zip(patterns, floats) {
            let truth = Float(Float16(bitPattern: pattern))
            #expect(float == truth || (float.isNaN && truth.isNaN))
        }
        var generator = RandomNumbers(seed: 3)
        var x =
            floats.filter { !$0.isNaN }
            + (0..<65536).map { _ in Float(bitPattern: UInt32.random(in: 0...(.max), using: &generator)) }
        // Halfway cases and their neighbours.
        x += floats.filter(\.isFinite).flatMap {
            [$0.nextUp, $0.nextDown, $0 * 1.00048828125, $0 * (1.00048828125 as Float).nextUp]
        }
        x = Array(x.prefix(x.count / 16 * 16))
        var twin: [UInt16]?
        for variant in KernelVariant.available {
            var y = [UInt16](repeating: 0, count: x.count)
            try KernelTests.kernels(variant).half(x, Int32(x.count), &y)
            if let twin { #expect(twin == y, "\(variant)") }
            twin = y
            for (x, y) in zip(x, y) where !x.isNaN { #expect(Float16(x).bitPattern == y, "\(x)") }
        }
    }
}
