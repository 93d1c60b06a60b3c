import CKernels
import ModelFile

/// Zero points and scales of a matrix of AWQ (Lin et al., 2023, arXiv:2306.00978) in the "gemm" form of AutoAWQ's checkpoints:
/// the weight of an output and an input is (quant - zero) * scale, with one zero and one scale for 128 inputs.
///
/// The quants are I32 `[inputs][outputs / 8]`, eight outputs in a word.
struct AWQParameters {
    static let group = Int(CK_AWQ_COLUMNS)

    /// I32 `[inputs / 128][outputs / 8]`, packed as the quants.
    var zeros: Tensor
    /// F16 `[inputs / 128][outputs]`.
    var scales: Tensor

    /// Repacks the matrix and releases its pages of the file.
    ///
    /// - Parameters:
    ///   - matrix: all panels of the plan.
    ///   - destination: holds them.
    func repack(
        _ plan: MatrixPlan, _ matrix: inout ck_matrix, _ destination: UnsafeMutablePointer<UInt8>,
        from source: any TensorSource
    ) {
        let order = (0..<plan.outputs).map { Int32(plan.order?.source(of: $0) ?? $0) }
        func aligned(_ tensor: Tensor, _ body: (UnsafeRawBufferPointer) -> Void) {
            source.withBytes(of: tensor) { $0.aligned(for: tensor.type, body) }
        }
        aligned(plan.tensor) { quants in
            aligned(zeros) { zeros in
                aligned(scales) { scales in
                    order.withUnsafeBufferPointer { order in
                        var awq = ck_awq(
                            quants: quants.baseAddress?.assumingMemoryBound(to: UInt32.self),
                            zeros: zeros.baseAddress?.assumingMemoryBound(to: UInt32.self),
                            scales: scales.baseAddress?.assumingMemoryBound(to: UInt16.self),
                            order: order.baseAddress, outputs: Int32(plan.outputs))
                        ck_repack_awq(&awq, &matrix, destination)
                    }
                }
            }
        }
        for tensor in [plan.tensor, zeros, scales] { source.releasePages(of: tensor) }
    }
}

extension WeightPlan {
    /// The matrix that GGUF calls `name`, where the source has it in AWQ's three tensors; nil where it has not.
    static func awqMatrix(
        _ name: String, _ inputs: Int, _ outputs: Int, _ order: HeadLayout?, in source: any TensorSource,
        _ used: inout Set<String>
    ) throws(ModelError) -> MatrixPlan? {
        let base = String(name.hasSuffix(".weight") ? name.dropLast("weight".count) : name[...])
        guard let packed = source.tensors[base + "qweight"] else { return nil }
        guard order?.isPadded != true else {
            throw ModelError(
                field: "tensor '\(packed.name)'",
                reason: "AWQ is not supported with heads whose size is no multiple of 16")
        }
        guard inputs % AWQParameters.group == 0, outputs % 8 == 0 else {
            throw ModelError(
                field: "tensor '\(packed.name)'",
                reason: "\(inputs) inputs and \(outputs) outputs are no whole number of groups of "
                    + "\(AWQParameters.group) and of words of 8")
        }
        func part(_ kind: String, _ dimensions: [Int], _ type: TensorType) throws(ModelError) -> Tensor {
            used.insert(base + kind)
            let tensor = try tensor(base + kind, dimensions, in: source)
            guard tensor.type == type else {
                throw ModelError(
                    field: "tensor '\(tensor.name)' type", reason: "\(tensor.type) where AWQ has \(type)")
            }
            return tensor
        }
        let groups = inputs / AWQParameters.group
        return MatrixPlan(
            tensor: try part("qweight", [outputs / 8, inputs], .i32),
            awq: AWQParameters(
                zeros: try part("qzeros", [outputs / 8, groups], .i32),
                scales: try part("scales", [outputs, groups], .f16)),
            source: CK_AWQ, format: CK_AWQ, outputs: outputs, inputs: inputs, order: order)
    }
}
