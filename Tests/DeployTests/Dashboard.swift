import Foundation

/// A Grafana dashboard of deploy/grafana, as far as tests look at it.
struct Dashboard: Decodable {
    struct Panel: Decodable {
        struct Place: Decodable {
            let x, y, w, h: Int
        }

        struct Target: Decodable {
            let refId: String
            let expr: String
            let format: String?
        }

        let id: Int
        let type: String
        let title: String
        let description: String?
        let gridPos: Place
        let targets: [Target]?
    }

    struct Variable: Decodable {
        let name: String
        let type: String
        let definition: String?
    }

    struct Variables: Decodable {
        let list: [Variable]
    }

    struct Annotations: Decodable {
        struct Annotation: Decodable {
            let expr: String
        }

        let list: [Annotation]
    }

    let uid: String
    let title: String
    let templating: Variables
    let annotations: Annotations
    let panels: [Panel]

    /// Every query of the panels, with what stands for Grafana's variables: all values, and a window of a minute.
    var expressions: [(panel: String, expression: String)] {
        panels.flatMap { panel in (panel.targets ?? []).map { ("\(title): \(panel.title)", filled($0.expr)) } }
    }

    private func filled(_ expression: String) -> String {
        let variables = templating.list.filter { $0.type == "query" }.map(\.name)
        return variables.reduce(expression.replacing("$__rate_interval", with: "1m")) {
            $0.replacing("\"$\($1)\"", with: "\".*\"")
        }
    }

    static let folder = PrometheusFiles.repository.appending(path: "deploy/grafana/dashboards")

    static func all() throws -> [Dashboard] {
        try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "json" }
            .sorted { $0.path < $1.path }
            .map { try JSONDecoder().decode(Dashboard.self, from: Data(contentsOf: $0)) }
    }
}
