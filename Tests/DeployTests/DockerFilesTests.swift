import Foundation
import ServiceHarness
import Testing

/// deploy/docker and docker-compose.yml, as far as they can be judged without Docker; `deploy/docker/try` does the rest.
struct DockerFilesTests {
    static let repository = PrometheusFiles.repository

    static func text(_ path: String) throws -> String {
        try String(contentsOf: repository.appending(path: path), encoding: .utf8)
    }

    /// What the image's layer of packages lacks is compiled again with every change of ours.
    @Test func thePackageListHasEveryPackageAndProduct() async throws {
        let script = Self.repository.appending(path: "deploy/docker/package-list").path
        let result = try await Program.run(script, [Self.repository.appending(path: "Package.swift").path])
        #expect(result.status == 0, "\(result.text)")
        let manifest = try Self.text("Package.swift")
        let wanted =
            manifest.matches(of: /\.package\(url: "[^"]+", [^)]+\)/).map { String($0.output) }
            + manifest.matches(of: /\.product\(\s*name: "[^"]+",\s*package: "[^"]+"\)/).map { String($0.output) }
        #expect(wanted.count > 20)
        for entry in Set(wanted) { #expect(result.text.contains(entry), "\(entry) is not in the list") }
    }

    /// SwiftPM refuses a manifest with a target whose folder has no sources.
    @Test func everyTestTargetGetsAStandIn() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "stand-ins-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let script = Self.repository.appending(path: "deploy/docker/stand-ins-for-tests").path
        let manifest = Self.repository.appending(path: "Package.swift").path
        let result = try await Program.run(
            "/bin/sh", ["-c", "cd \"$1\" && exec \"$2\" \"$3\"", "sh", folder.path, script, manifest])
        #expect(result.status == 0, "\(result.text)")
        let package = try Self.text("Package.swift")
        let tests = try FileManager.default.contentsOfDirectory(
            atPath: Self.repository.appending(path: "Tests").path)
        let targets = tests.filter { package.contains("\"\($0)\"") && $0 != "Drill" }
        #expect(targets.count > 10)
        for target in targets + ["Drill/Kit", "Drill/Command"] {
            let file = folder.appending(path: "Tests/\(target)/StandIn.swift").path
            #expect(FileManager.default.fileExists(atPath: file), "\(target) has no stand-in")
        }
    }

    @Test func theImageHasTheModelOfTheOtherDeployments() throws {
        let setup = try Self.text("deploy/local/setup")
        let wheel = try #require(setup.firstMatch(of: /\nmodel_wheel=(\S+)/)).output.1
        #expect(try Self.text("deploy/docker/Dockerfile").contains("ARG MODEL_WHEEL=\(wheel)\n"))
    }

    @Test func everyServiceOfTheComposeFileIsBoundedAndProbed() throws {
        let services = try Self.composeServices()
        #expect(services.count > 12)
        let ending: Set = ["secrets", "setup", "announce"]
        for (name, lines) in services {
            let text = lines.joined(separator: "\n")
            #expect(text.contains("<<: *"), "\(name) has none of the common rules")
            guard !ending.contains(name) else {
                #expect(text.contains("restart: \"no\""), "\(name) would run again and again")
                continue
            }
            let isMonitoring = text.contains("profiles: [monitoring]")
            if !isMonitoring { #expect(text.contains("healthcheck:"), "\(name) has no health check") }
            guard !text.contains("<<: *postgres") else { continue }
            for bound in ["mem_limit:", "cpus:", "pids_limit:"] {
                #expect(text.contains(bound), "\(name) has no \(bound)")
            }
        }
    }

    @Test func portsAreThisMachinesOwnUnlessAskedAndNoPasswordIsWritten() throws {
        let compose = try Self.text("docker-compose.yml")
        let published = compose.matches(of: /"[^"\n]*:\d+"/).map { String($0.output) }.filter { $0.contains("_PORT") }
        #expect(published.count == 4)
        for port in published { #expect(port.hasPrefix("\"${BIND_ADDRESS:-127.0.0.1}:"), "\(port)") }
        let assigned = compose.matches(of: /(?i)password\w*[:=] *([^\s$"][^\s]*)/).map { String($0.output.1) }
        #expect(assigned.allSatisfy { $0.hasPrefix("/secrets/") }, "\(assigned)")
    }

    /// Whose the packages are, and whom to trust, is said where they are built, not in the repository.
    @Test func noPackageHostIsNamedAndNobodyIsTrustedWithoutCertificate() throws {
        for file in ["deploy/docker/Dockerfile", "docker-compose.yml", "deploy/local/setup"] {
            let text = try Self.text(file).lowercased()
            for word in [
                "trusted-host", "pythonhosted", "pypi.", "index-url", "--insecure", "no-check-certificate",
                "verify=false",
            ] {
                #expect(!text.contains(word), "\(file): \(word)")
            }
        }
    }

    /// What nginx's container can be told, `.env` can say, but for what the compose file decides itself.
    @Test func everySettingOfNginxReachesItsContainer() throws {
        let lines = try #require(try Self.composeServices().first { $0.name == "nginx" }).lines
        let head = try Self.text("nginx/entrypoint").split(separator: "\n").prefix { $0.hasPrefix("#") }
        let names = Set(
            head.joined(separator: "\n").matches(of: /(NGINX|GATEWAY|TURN)_[A-Z_]+/).map { String($0.output.0) })
        let fixed: Set = [
            "NGINX_ADDRESS", "NGINX_TLS_PORT", "NGINX_PORT", "NGINX_OPERATOR_PORT", "NGINX_CERTIFICATES", "NGINX_RUN",
            "NGINX_MEMORY_MIB",  // the container's limit says it
        ]
        #expect(names.count > 12)
        for name in names.subtracting(fixed) {
            #expect(lines.contains { $0.hasPrefix("      \(name):") }, "\(name) is not passed on")
        }
    }

    /// `up` starts a container again when its definition has changed, and not when a file in a volume has.
    @Test func whatOnlySecretsIsToldAlsoChangesItsServer() throws {
        let services = Dictionary(uniqueKeysWithValues: try Self.composeServices().map { ($0.name, $0.lines) })
        let secrets = try #require(services["secrets"]?.first { $0.contains("environment:") })
        for (server, name) in [("redis", "REDIS_MAXMEMORY"), ("rabbitmq", "RABBITMQ_HIGH_WATERMARK")] {
            #expect(secrets.contains(name))
            #expect(services[server]?.contains { $0.contains("${\(name)") } == true, "\(server)")
        }
        let setup = services["setup"]?.joined(separator: "\n") ?? ""
        for server in ["redis", "rabbitmq", "postgres-0", "postgres-1"] {
            #expect(setup.contains("\(server): { condition: service_healthy }"))
        }
    }

    /// The lines of each service, by its name.
    static func composeServices() throws -> [(name: String, lines: [String])] {
        var services: [(name: String, lines: [String])] = []
        var isInside = false
        for line in try text("docker-compose.yml").split(separator: "\n").map(String.init) {
            if let first = line.first, first != " ", first != "#" { isInside = line == "services:" }
            guard isInside else { continue }
            if let name = line.wholeMatch(of: #/  ([a-z0-9-]+):/#)?.output.1 {
                services.append((String(name), []))
            } else if !services.isEmpty {
                services[services.count - 1].lines.append(line)
            }
        }
        return services
    }
}
