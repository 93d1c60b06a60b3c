/// What a service's /metrics said: Prometheus' text format, as far as our own services write it.
public struct Scrape: Sendable {
    public struct Sample: Sendable, Equatable {
        public let name: String
        public let labels: [String: String]
        public let value: Double
    }

    public let text: String
    /// By the names of families, as the TYPE and HELP lines have them.
    public private(set) var types: [String: String] = [:]
    public private(set) var help: [String: String] = [:]
    public private(set) var samples: [Sample] = []

    /// - Throws: `HarnessError` with the line that is none.
    public init(_ text: String) throws {
        self.text = text
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 3)
            if words.count == 4, words[0] == "#", words[1] == "TYPE" {
                types[String(words[2])] = String(words[3])
            } else if words.count == 4, words[0] == "#", words[1] == "HELP" {
                help[String(words[2])] = String(words[3])
            } else {
                samples.append(try Scrape.sample(line))
            }
        }
    }

    private static func sample(_ line: Substring) throws -> Sample {
        guard let match = line.wholeMatch(of: /([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)/),
            let value = Double(match.output.3.replacing("Inf", with: "infinity"))
        else { throw HarnessError("not a sample: \(line)") }
        var labels: [String: String] = [:]
        for label in (match.output.2 ?? "").matches(of: /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/) {
            labels[String(label.output.1)] = String(label.output.2)
        }
        return Sample(name: String(match.output.1), labels: labels, value: value)
    }

    /// The sum of all samples of that name that have these labels, whatever others they have; nil when there is none.
    public func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        let found = samples.filter { sample in
            sample.name == name && labels.allSatisfy { sample.labels[$0.key] == $0.value }
        }
        return found.isEmpty ? nil : found.reduce(0) { $0 + $1.value }
    }
}

extension OperatorClient {
    public func scrape() async throws -> Scrape { try Scrape(try await answer("/metrics").text) }
}

extension Cluster {
    /// The metrics of every service of the cluster, by the service's name.
    public func scrapes() async throws -> [String: Scrape] {
        var scrapes = ["gateway": try await OperatorClient(port: port).scrape()]
        for process in [orchestrator, worker, node] {
            scrapes[process.name] = try Scrape(try await process.asked("/metrics").text)
        }
        return scrapes
    }
}
