import ModelFile

extension LlamaConfiguration {
    /// Whether the weights are quantised, and in a way that we run. Defaults are those of `transformers`' AwqConfig.
    static func checkQuantisation(_ folder: ModelFolder) throws {
        let group = "quantization_config"
        func refuse(_ key: String, _ reason: String) -> ModelError {
            ModelError(field: ModelFolder.field(key), reason: reason)
        }
        guard folder.has(group) else {
            guard let packed = folder.tensors.values.map(\.name).filter({ $0.hasSuffix(".qweight") }).min() else {
                return
            }
            throw refuse(group, "is missing, though there is a tensor '\(packed)'")
        }
        let method = try folder.string(group + ".quant_method", default: "unknown")
        guard method == "awq" else {
            throw refuse(group + ".quant_method", "'\(method.prefix(64))' is not supported (awq is)")
        }
        for (key, supported) in [("bits", 4), ("group_size", AWQParameters.group)] {
            let value = try folder.int("\(group).\(key)", in: -1...(1 << 16), default: supported)
            guard value == supported else {
                throw refuse("\(group).\(key)", "\(value) is not supported (\(supported) is)")
            }
        }
        let version = try folder.string(group + ".version", default: "gemm")
        guard version.lowercased() == "gemm" else {
            throw refuse(group + ".version", "'\(version.prefix(64))' is not supported (gemm is)")
        }
        guard try folder.bool(group + ".zero_point", default: true) else {
            throw refuse(group + ".zero_point", "false is not supported")
        }
    }
}
