import CKernels
import Foundation

extension KernelVariant {
    /// The environment variable that forces a variant.
    public static let environmentVariable = "SWITCHBOARD_KERNELS"

    /// What this CPU and this build have, the best last.
    public static var available: [KernelVariant] { allCases.filter { $0.kernels != nil } }

    var kernels: UnsafePointer<ck_variant>? {
        let id =
            switch self {
            case .scalar: CK_SCALAR
            case .avx2: CK_AVX2
            case .avxvnni: CK_AVX_VNNI
            case .avx512: CK_AVX512
            case .neon: CK_NEON
            case .neondot: CK_NEON_DOT
            }
        return ck_variant_get(Int32(id.rawValue))
    }

    /// The variant asked for by option, else by the environment, else the best one.
    static func choose(_ option: KernelVariant?) throws(ModelError) -> (KernelVariant, UnsafePointer<ck_variant>) {
        var wanted = option, field = "option kernels"
        if wanted == nil, let name = ProcessInfo.processInfo.environment[environmentVariable], !name.isEmpty {
            field = environmentVariable
            guard let named = KernelVariant(rawValue: name) else {
                let names = allCases.map(\.rawValue).joined(separator: ", ")
                throw ModelError(field: field, reason: "'\(name.prefix(32))' is none of \(names)")
            }
            wanted = named
        }
        let variant = wanted ?? available.last ?? .scalar
        guard let kernels = variant.kernels else {
            throw ModelError(field: field, reason: "this CPU does not have \(variant.rawValue)")
        }
        return (variant, kernels)
    }
}
