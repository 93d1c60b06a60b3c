import Foundation

/// The model that `deploy/local/setup` fetches, or the one that MODEL_PATH names.
public enum TestModel {
    public static let path: String = {
        if let path = ProcessInfo.processInfo.environment["MODEL_PATH"], !path.isEmpty { return path }
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return root.appending(path: ".local/models/SmolLM2-135M-Instruct.Q4_1.gguf").path
    }()

    /// The same weights in full precision, which `deploy/local/setup test` makes beside it.
    public static var twinPath: String { path.replacing(".Q4_1.gguf", with: ".F32.gguf") }
    public static var hasTwin: Bool { twinPath != path && FileManager.default.isReadableFile(atPath: twinPath) }

    public static var isThere: Bool { FileManager.default.isReadableFile(atPath: path) }
}
