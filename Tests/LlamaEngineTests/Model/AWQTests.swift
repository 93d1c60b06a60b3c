import CKernels
import ModelFile
import Testing

@testable import LlamaEngine

/// AWQ's 4-bit matrices: their packing, their tile, and whole folders of them.
@Suite struct AWQTests {
    /// AutoAWQ's order: this word is 0 to 7 for the outputs 0 to 7.
    @Test func aWordHoldsEightOutputs() throws {
        var generator = RandomNumbers(seed: 1)
        var matrix = AWQMatrix(inputs: 128, outputs: 8, scale: 1, using: &generator)
        matrix.quants = (0..<8 * 128).map { $0 / 128 }
        matrix.zeros = (0..<8).map { 7 - $0 }
        matrix.scales = .init(repeating: 1, count: 8)
        #expect(matrix.packedQuants() == .init(repeating: 0x7531_6420, count: 128))
        #expect(matrix.packedZeros() == [0x0246_1357])
        let panel = try PanelMatrix(matrix)
        for output in 0..<8 { #expect(panel.row(output) == .init(repeating: Float(2 * output - 7), count: 128)) }
    }

    @Test func gatheringGivesTheNumbers() throws {
        var generator = RandomNumbers(seed: 2)
        for (outputs, inputs) in [(8, 128), (40, 384), (48, 256)] {
            let matrix = AWQMatrix(inputs: inputs, outputs: outputs, scale: 0.3, using: &generator)
            let order = (0..<Int32(outputs)).shuffled(using: &generator), values = matrix.values
            let panels = try PanelMatrix(matrix, order: order)
            for (row, output) in order.enumerated() {
                let wanted = values[Int(output) * inputs..<(Int(output) + 1) * inputs]
                #expect(panels.row(row).map(\.bitPattern) == wanted.map(\.bitPattern), "row \(row)")
            }
        }
    }

    /// f = fma(d * da, sum of (quant - zero) * q, f), blocks ascending; every variant has the same bits.
    @Test func aTileFollowsTheContract() throws {
        var generator = RandomNumbers(seed: 3)
        for (outputs, inputs) in [(16, 128), (8, 256), (40, 640)] {
            let matrix = AWQMatrix(inputs: inputs, outputs: outputs, scale: 0.3, using: &generator)
            let panels = try PanelMatrix(matrix)
            let x = Activations(generator.floats(8 * inputs, scale: 3), rows: 8, columns: inputs)
            for panel in 0..<(outputs + 15) / 16 {
                let twin = try x.multiply(panels, panel: panel, first: 0, rows: 8, .scalar)
                for first in 0..<8 {
                    for rows in 1...(8 - first) {
                        for variant in KernelVariant.available {
                            let y = try x.multiply(panels, panel: panel, first: first, rows: rows, variant)
                            #expect(y[...] == twin[first * 16..<(first + rows) * 16], "\(variant) \(first) \(rows)")
                        }
                    }
                }
                for row in 0..<8 {
                    for lane in 0..<16 {
                        let output = panel * 16 + lane
                        guard output < outputs else {
                            #expect(twin[row * 16 + lane] == 0)
                            continue
                        }
                        var f: Float = 0, exact = 0.0
                        for block in 0..<inputs / 32 {
                            let q = x.quants(row, block), d = matrix.scale(output, 32 * block)
                            let da = withUnsafeBytes(of: x.groups[block].d) {
                                $0.load(fromByteOffset: row * 4, as: Float.self)
                            }
                            let sum = (0..<32).reduce(0) { $0 + matrix.level(output, 32 * block + $1) * q[$1] }
                            f.addProduct(d * da, Float(sum))
                            exact += Double(d) * Double(da) * Double(sum)
                        }
                        #expect(twin[row * 16 + lane] == f.bitPattern, "row \(row) output \(output)")
                        #expect(abs(Double(f) - exact) < 2e-5 * Double(inputs).squareRoot())
                    }
                }
            }
        }
    }

    static let sequence = RowSequence(count: 40, vocabulary: 203, firstBlock: 3, stride: 2, seed: 9)

    /// Distance of the logits from those in doubles on the dequantised weights, in units of their size.
    static func error(_ folder: AWQFolder) throws -> Double {
        let expected = LlamaInDoubles(folder.model, embedding: 128, halves: true).logits(sequence.tokens)
        let bits = try folder.load().makeForwardPass().bits(sequence, chunks: [30, 1, 9])
        var error = 0.0, size = 0.0
        for (row, logits) in expected.enumerated() {
            for (a, b) in zip(logits, bits[row]) {
                error += (a - Double(Float(bitPattern: b))) * (a - Double(Float(bitPattern: b)))
                size += a * a
            }
        }
        return (error / size).squareRoot()
    }

    /// What is left is the rounding of activations to 8 bits, as for the other quantised types.
    @Test(arguments: [false, true]) func aFolderIsNearTheSameNumbersInDoubles(_ biases: Bool) throws {
        // Measured: 0.04 and 0.02.
        #expect(try Self.error(AWQFolder(biases: biases, seed: 60)) < 0.08)
    }

    /// The bound above notices outputs that lie elsewhere in their words.
    @Test func anotherOrderGivesOtherNumbers() throws {
        #expect(try Self.error(AWQFolder(biases: false, order: Array(0..<8), seed: 60)) > 0.3)
    }

    @Test func bitsDependOnNeitherVariantNorThreadsNorChunks() throws {
        let folder = AWQFolder(biases: true, seed: 61)
        let expected = try folder.load(kernels: .scalar).makeForwardPass().bits(Self.sequence, chunks: [40])
        for variant in KernelVariant.available {
            let pass = try folder.load(threads: 2, kernels: variant).makeForwardPass()
            #expect(try pass.bits(Self.sequence, chunks: [1, 7, 12, 20]) == expected, "\(variant)")
        }
    }

    /// Quants, zero points and scales are read as words and halves; a header of any length may put them elsewhere.
    @Test(arguments: [1, 2, 3]) func tensorsMayLieOdd(by odd: Int) throws {
        let folder = AWQFolder(biases: true, seed: 61)
        let expected = try folder.load().makeForwardPass().bits(Self.sequence, chunks: [40])
        #expect(try folder.load(odd: odd).makeForwardPass().bits(Self.sequence, chunks: [40]) == expected)
    }

    @Test func itTakesFourBitsAndAQuarter() throws {
        let model = try Self.honest.load()
        let matrix = model.layers[1].down
        #expect(matrix.format == Int32(CK_AWQ.rawValue))
        let bits = Int(matrix.panel_stride) * Int(matrix.panels) * 8, weights = 256 * 128
        #expect(bits * 4 == weights * 17)
    }

    static let lies: [(field: String, reason: String, change: @Sendable (inout AWQFolder) -> Void)] = [
        ("config.json 'quantization_config'", "missing", { $0.quantisation = [:] }),
        ("config.json 'quantization_config.quant_method'", "'gptq'", { $0.quantisation["quant_method"] = #""gptq""# }),
        ("config.json 'quantization_config.quant_method'", "'unknown'", { $0.quantisation["quant_method"] = nil }),
        ("config.json 'quantization_config.bits'", "8 is not", { $0.quantisation["bits"] = "8" }),
        ("config.json 'quantization_config.bits'", "no integer", { $0.quantisation["bits"] = #""4""# }),
        ("config.json 'quantization_config.group_size'", "64 is not", { $0.quantisation["group_size"] = "64" }),
        ("config.json 'quantization_config.group_size'", "-1 is not", { $0.quantisation["group_size"] = "-1" }),
        ("config.json 'quantization_config.version'", "'gemv'", { $0.quantisation["version"] = #""gemv""# }),
        ("config.json 'quantization_config.zero_point'", "false is not", { $0.quantisation["zero_point"] = "false" }),
        ("tensor '\(up)qweight' dimensions", "[32, 128]", { $0.reshape(up + "qweight", [64, 64]) }),
        ("tensor '\(up)qzeros' dimensions", "[32, 1]", { $0.reshape(up + "qzeros", [2, 16]) }),
        ("tensor '\(up)scales' dimensions", "[256, 1]", { $0.reshape(up + "scales", [2, 128]) }),
        ("tensor '\(up)qzeros'", "missing", { $0.tensors.removeAll { $0.name == up + "qzeros" } }),
        ("tensor '\(up)scales'", "missing", { $0.tensors.removeAll { $0.name == up + "scales" } }),
        ("tensor '\(up)weight'", "missing", { $0.tensors.removeAll { $0.name == up + "qweight" } }),
        ("tensor '\(up)scales' type", "bf16 where AWQ has f16", { $0.retype(up + "scales", .bf16) }),
        ("tensor '\(up)qweight' type", "f32 where AWQ has i32", { $0.retype(up + "qweight", .f32) }),
        (
            "tensor '\(up)g_idx'", "not supported",
            { $0.tensors.append((up + "g_idx", [128], .f16, .init(repeating: 0, count: 256))) }
        ),
        (
            "tensor '\(up)weight'", "not supported",
            { $0.tensors.append((up + "weight", [256, 128], .f16, .init(repeating: 0, count: 65536))) }
        ),
        (
            "tensor 'model.layers.0.self_attn.q_proj.qweight'", "whole number",
            {
                $0.config.merge(["hidden_size": "96", "head_dim": "32"]) { $1 }
                for (name, shape) in [("embed_tokens", [203, 96]), ("layers.0.input_layernorm", [96])] {
                    $0.tensors.removeAll { $0.name == "model.\(name).weight" }
                    let bytes = [UInt8](repeating: 0, count: shape.reduce(2, *))
                    $0.tensors.append(("model.\(name).weight", shape, .f16, bytes))
                }
            }
        ),
    ]
    static let honest = AWQFolder(biases: false, seed: 63)
    static let up = "model.layers.1.mlp.up_proj."

    @Test(arguments: lies.indices) func aLieIsRefused(_ index: Int) throws {
        var folder = Self.honest
        Self.lies[index].change(&folder)
        let error = try #require(throws: ModelError.self) { _ = try folder.load() }
        #expect(error.field == Self.lies[index].field)
        #expect(error.reason.contains(Self.lies[index].reason), "\(error)")
    }
}

extension AWQFolder {
    fileprivate mutating func reshape(_ name: String, _ shape: [Int]) {
        for index in tensors.indices where tensors[index].name == name { tensors[index].shape = shape }
    }

    fileprivate mutating func retype(_ name: String, _ type: TensorType) {
        for index in tensors.indices where tensors[index].name == name { tensors[index].type = type }
    }
}
