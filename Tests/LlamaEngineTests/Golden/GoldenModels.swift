import Foundation

/// The two files of the default model that the golden tests need.
enum GoldenModels {
    static let quantized = DefaultModel.path ?? ""
    /// The F32 twin lies beside the quantised file; Tests/Reference/make_f32_model.py makes it.
    static let fullPrecision: String = {
        let name = URL(filePath: quantized).lastPathComponent.replacing(".Q4_1.gguf", with: ".F32.gguf")
        return URL(filePath: quantized).deletingLastPathComponent().appending(path: name).path
    }()

    static let missingFullPrecision =
        "needs the default model and its F32 twin in .local/models: `make test` fetches one and makes the other"

    static var hasFullPrecision: Bool {
        DefaultModel.isPresent && fullPrecision != quantized && FileManager.default.fileExists(atPath: fullPrecision)
    }
}
