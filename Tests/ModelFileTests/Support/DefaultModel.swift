import Foundation

/// The model that `make` fetches: `MODEL_PATH`, else the first .gguf under `.local/models` of the package.
enum DefaultModel {
    static let missing = "needs the default model: set MODEL_PATH, or let `make test` fetch it into .local/models"

    /// The package's folder.
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    static let path: String? = {
        if let path = ProcessInfo.processInfo.environment["MODEL_PATH"], !path.isEmpty { return path }
        let folder = root.appending(path: ".local/models")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names.filter { $0.hasSuffix(".gguf") }.sorted().first.map { folder.appending(path: $0).path }
    }()

    static var isPresent: Bool { path.map { FileManager.default.fileExists(atPath: $0) } ?? false }
}
