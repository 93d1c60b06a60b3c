import Foundation

/// The model that `make` fetches: `MODEL_PATH`, else the file under `.local/models` of the package. Other models may lie there too.
enum DefaultModel {
    static let missing = "needs the default model: set MODEL_PATH, or let `make test` fetch it into .local/models"

    /// The package's folder.
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    static let path: String? = {
        if let path = ProcessInfo.processInfo.environment["MODEL_PATH"], !path.isEmpty { return path }
        let file = root.appending(path: ".local/models/SmolLM2-135M-Instruct.Q4_1.gguf").path
        return FileManager.default.fileExists(atPath: file) ? file : nil
    }()

    static var isPresent: Bool { path.map { FileManager.default.fileExists(atPath: $0) } ?? false }
}
