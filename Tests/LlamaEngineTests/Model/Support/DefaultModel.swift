import Foundation

/// The model that `make` fetches: `MODEL_PATH`, else the quantised .gguf under `.local/models` of the package.
enum DefaultModel {
    static let missing = "needs the default model: set MODEL_PATH, or let `make test` fetch it into .local/models"

    static let path: String? = {
        if let path = ProcessInfo.processInfo.environment["MODEL_PATH"], !path.isEmpty { return path }
        let root = URL(filePath: #filePath).pathComponents.dropLast(5).joined(separator: "/")
        let folder = String(root.dropFirst()) + "/.local/models"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { $0.hasSuffix(".gguf") && !$0.contains("F32") }.sorted().first.map { "\(folder)/\($0)" }
    }()

    static var isPresent: Bool { path.map { FileManager.default.fileExists(atPath: $0) } ?? false }
}
