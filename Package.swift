// swift-tools-version: 6.1
import PackageDescription

// C kernels are useless without optimisation, in debug builds too: the engine's tests run the real model.
// -ffp-contract=off is part of the numerics contract (docs/numerics.md): a product and a sum fuse only where we say fma.
let kernelFlags: [CSetting] = [
    .unsafeFlags(["-O3", "-ffp-contract=off", "-fno-math-errno", "-std=c17", "-Wall", "-Wextra", "-Werror"])
]

let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny")
]

/// What everything that runs for a while uses.
let lifecycle: [Target.Dependency] = [
    .product(name: "Logging", package: "swift-log"),
    .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
]

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, path: "Shared/\(name)", swiftSettings: swiftSettings)
}

func service(_ name: String, _ folder: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name,
        dependencies: dependencies + lifecycle + [
            "ChatCore", "ServiceKit", .product(name: "ArgumentParser", package: "swift-argument-parser"),
        ],
        path: "Services/\(folder)",
        swiftSettings: swiftSettings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, path: "Tests/\(name)", exclude: exclude, swiftSettings: swiftSettings)
}

func systemLibrary(_ name: String, package: String? = nil, apt: String) -> Target {
    .systemLibrary(name: name, path: "Shared/\(name)", pkgConfig: package, providers: [.apt([apt])])
}

let package = Package(
    name: "switchboard",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "gateway", targets: ["gateway"]),
        .executable(name: "orchestrator", targets: ["orchestrator"]),
        .executable(name: "queue-worker", targets: ["queue-worker"]),
        .executable(name: "inference-node", targets: ["inference-node"]),
        .executable(name: "switchboard", targets: ["switchboard"]),
        .library(name: "LlamaEngine", targets: ["LlamaEngine"]),
    ],
    dependencies: [
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        service(
            "gateway", "Gateway",
            [
                "PostgresStore", "RedisStore", "RabbitQueue", "TraceKit", "TurnProtocol", "OperatorPort", "CZlib",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                .product(name: "DequeModule", package: "swift-collections"),
            ]),
        service(
            "orchestrator", "Orchestrator",
            [
                "PostgresStore", "RedisStore", "RabbitQueue", "TraceKit", "TurnProtocol", "ModelFile",
                "OperatorPort", .product(name: "DequeModule", package: "swift-collections"),
            ]),
        service(
            "queue-worker", "QueueWorker",
            ["PostgresStore", "RedisStore", "RabbitQueue", "TraceKit", "TurnProtocol", "OperatorPort"]),
        service(
            "inference-node", "InferenceNode",
            ["RedisStore", "RabbitQueue", "TraceKit", "TurnProtocol", "ModelFile", "LlamaEngine", "OperatorPort"]),
        service(
            "switchboard", "Switchboard",
            [
                "PostgresStore", "RedisStore", "RabbitQueue", "TurnProtocol", "ChatClient",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ]),

        library("ChatCore", []),
        library(
            "ServiceKit",
            [
                "ChatCore", .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Metrics", package: "swift-metrics"),
            ] + lifecycle),
        library(
            "OperatorPort",
            [
                "ServiceKit", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
            ] + lifecycle),
        library("PostgresStore", ["ChatCore", "ServiceKit", "CLibpq"] + lifecycle),
        library("RedisStore", ["ChatCore", "ServiceKit", "CHiredis", "CZlib"] + lifecycle),
        library("RabbitQueue", ["ChatCore", "ServiceKit", "CRabbitMQ"] + lifecycle),
        library("TurnProtocol", ["ChatCore", "ServiceKit", "RedisStore", "RabbitQueue"] + lifecycle),
        library(
            "TraceKit",
            [
                "ChatCore", "ServiceKit", .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Metrics", package: "swift-metrics"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ] + lifecycle),
        library(
            "ChatClient",
            [
                "ServiceKit", .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        library("ModelFile", []),
        library("LlamaEngine", ["ModelFile", "CKernels", "COpenBLAS"]),
        .target(
            name: "CKernels", path: "Shared/CKernels", cSettings: kernelFlags,
            linkerSettings: [.linkedLibrary("pthread")]),

        systemLibrary("CLibpq", package: "libpq", apt: "libpq-dev"),
        systemLibrary("CHiredis", apt: "libhiredis-dev"),
        systemLibrary("CRabbitMQ", package: "librabbitmq", apt: "librabbitmq-dev"),
        systemLibrary("COpenBLAS", package: "openblas", apt: "libopenblas-dev"),
        systemLibrary("CZlib", package: "zlib", apt: "zlib1g-dev"),

        // Random cases that can be repeated.
        .target(name: "SeededRandom", path: "Tests/SeededRandom", swiftSettings: swiftSettings),
        // A pool for long computation that has no room.
        .target(
            name: "FullWorkPool", dependencies: ["ServiceKit"] + lifecycle, path: "Tests/FullWorkPool",
            swiftSettings: swiftSettings),
        // Real RabbitMQ, Redis and PostgreSQL on free ports, for the tests of whoever needs them.
        .target(name: "TestServers", path: "Tests/TestServers", swiftSettings: swiftSettings),
        // Our executables as processes, and clients of their gateways.
        .target(
            name: "ServiceHarness",
            dependencies: [
                "TestServers", .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Tests/ServiceHarness", swiftSettings: swiftSettings),
        // `make drill`: a whole cluster under faults.
        .target(
            name: "DrillKit",
            dependencies: [
                "ChatClient", "ChatCore", "PostgresStore", "RedisStore", "RabbitQueue", "SeededRandom",
                "ServiceHarness",
                "TestServers", .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
            ] + lifecycle,
            path: "Tests/Drill/Kit", swiftSettings: swiftSettings),
        .executableTarget(
            name: "drill",
            dependencies: [
                "DrillKit", "ServiceHarness", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/Drill/Command", swiftSettings: swiftSettings),
        tests(
            "DrillTests",
            [
                "ChatClient", "ChatCore", "DrillKit", "SeededRandom", "ServiceHarness", "gateway", "orchestrator",
                "queue-worker",
                "inference-node",
                "switchboard",
            ]),
        tests("TestServersTests", ["TestServers"]),
        tests(
            "NginxTests",
            [
                "ServiceHarness", "TestServers", .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        tests("ChatCoreTests", ["ChatCore"]),
        tests("ServiceKitTests", ["ServiceKit", "SeededRandom"]),
        tests("PostgresStoreTests", ["PostgresStore", "FullWorkPool", "SeededRandom", "TestServers"] + lifecycle),
        tests("RedisStoreTests", ["RedisStore", "FullWorkPool", "SeededRandom", "TestServers"] + lifecycle),
        tests("RabbitQueueTests", ["RabbitQueue", "SeededRandom", "TestServers"] + lifecycle),
        tests("ChatClientTests", ["ChatClient"]),
        tests(
            "TraceKitTests",
            [
                "TraceKit", "ChatCore", "ServiceKit", "ServiceHarness",
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ] + lifecycle),
        tests(
            "TurnProtocolTests",
            ["TurnProtocol", "FullWorkPool", "RedisStore", "RabbitQueue", "TestServers"] + lifecycle),
        tests(
            "SwitchboardTests",
            [
                "switchboard", "ChatClient", "PostgresStore", "ServiceHarness", "ServiceKit",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        tests(
            "GatewayTests",
            [
                "gateway", "ChatCore", "FullWorkPool", "OperatorPort", "PostgresStore", "RabbitQueue", "RedisStore",
                "SeededRandom", "ServiceKit", "TestServers", "TurnProtocol",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
            ]
                + lifecycle),
        tests(
            "OrchestratorTests",
            [
                "orchestrator", "ChatCore", "FullWorkPool", "ModelFile", "RabbitQueue", "RedisStore", "SeededRandom",
                "ServiceKit", "TurnProtocol", "TestServers",
            ] + lifecycle),
        tests(
            "QueueWorkerTests",
            [
                "queue-worker", "ChatCore", "FullWorkPool", "PostgresStore", "RabbitQueue", "RedisStore", "ServiceKit",
                "TestServers",
            ] + lifecycle),
        tests("InferenceNodeTests", ["inference-node", "ChatCore", "LlamaEngine", "ServiceHarness"]),
        tests("ModelFileTests", ["ModelFile", "SeededRandom"], exclude: ["Fixtures"]),
        tests("LlamaEngineTests", ["LlamaEngine", "ModelFile", "CKernels", "SeededRandom"], exclude: ["Fixtures"]),
        // What deploy/ holds, read by the programs that it is for. The executables as for IntegrationTests.
        tests(
            "DeployTests",
            [
                "gateway", "orchestrator", "queue-worker", "inference-node", "switchboard", "ServiceHarness",
                "ServiceKit", "TestServers",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
            ]),
        // The executables are dependencies so that they are built; the tests run them as processes.
        tests(
            "IntegrationTests",
            [
                "gateway", "orchestrator", "queue-worker", "inference-node", "switchboard", "ChatCore", "PostgresStore",
                "RedisStore", "RabbitQueue", "ChatClient", "ServiceHarness", "TestServers",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
            ] + lifecycle),
    ],
    swiftLanguageModes: [.v6]
)
