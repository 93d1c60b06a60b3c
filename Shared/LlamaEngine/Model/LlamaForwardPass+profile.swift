import CKernels

/// Where the time of a step goes.
extension LlamaForwardPass {
    public enum OperationKind: String, Sendable, CaseIterable {
        case embed, norm, qkv, headNorm, storeKV, attention, merge, compact, quantize, project, swiglu, outputNorm
        case logits

        fileprivate var kernels: ck_op_kind {
            switch self {
            case .embed: CK_OP_EMBED
            case .norm: CK_OP_NORM
            case .qkv: CK_OP_QKV
            case .headNorm: CK_OP_QK_NORM
            case .storeKV: CK_OP_STORE_KV
            case .attention: CK_OP_ATTENTION
            case .merge: CK_OP_MERGE
            case .compact: CK_OP_COMPACT
            case .quantize: CK_OP_QUANTIZE
            case .project: CK_OP_PROJECT
            case .swiglu: CK_OP_SWIGLU
            case .outputNorm: CK_OP_OUT_NORM
            case .logits: CK_OP_LOGITS
            }
        }
    }

    /// What one kind of operation does in a step.
    public struct OperationWork: Sendable {
        /// Bytes of weights that are read.
        public var weightBytes = 0
        /// Multiplications with weights for each row.
        public var multiplications = 0
    }

    /// Starts or stops measuring, from zero. An operation of a single unit counts to the one before it where several threads run.
    public func measure(_ on: Bool) { ck_team_profile(team, on) }

    /// Nanoseconds since ``measure(_:)`` for each kind of operation, as the calling thread saw them.
    public var nanoseconds: [OperationKind: UInt64] {
        kinds { ck_team_nanoseconds(team, Int32($0.kernels.rawValue)) }
    }

    public var work: [OperationKind: OperationWork] {
        kinds { kind in
            var work = OperationWork()
            for operation in operations where operation.kind == Int32(kind.kernels.rawValue) {
                let matrices = [operation.matrix.0, operation.matrix.1, operation.matrix.2]
                for matrix in matrices.prefix(Int(operation.matrix_count)) {
                    work.weightBytes += Int(matrix.panels) * ck_panel_bytes(matrix.format, matrix.columns)
                    work.multiplications += Int(matrix.rows) * Int(matrix.columns)
                }
            }
            return work
        }
    }

    private func kinds<Value>(_ value: (OperationKind) -> Value) -> [OperationKind: Value] {
        Dictionary(uniqueKeysWithValues: OperationKind.allCases.map { ($0, value($0)) })
    }
}
