import Foundation
import Logging
import Metrics
import ServiceLifecycle

/// What every service's main does: read the settings, start the log, wire, run until a signal, say how it ended.
public enum ServiceMain {
    /// What `switchboard_build_info` says.
    static let version = "0.5.0"

    /// The first SIGTERM or SIGINT asks for a drain, the second ends the process at once: nothing that was accepted
    /// hangs on a drain.
    ///
    /// - Parameters:
    ///   - name: the service's name in every log line.
    ///   - shutdown: how long a drain may take before what is left of it is cancelled.
    ///   - wire: makes the configuration and the services; they start in order and shut down in the reverse.
    public static func run(
        _ name: String, shutdown: (Settings) throws -> Duration = { _ in .seconds(30) },
        wire: (Settings, Logger) async throws -> [any Service]
    ) async -> Never {
        // A peer that closed its socket is an error of that write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let settings: Settings
        let logger: Logger
        let writer = LogWriter()
        do {
            settings = try Settings(environment: ProcessInfo.processInfo.environment)
            logger = try startLog(name, settings, writer)
        } catch {
            fail(name, error)
        }
        MetricsSystem.bootstrap(MetricRegistry.process)
        ProcessMeasures.register(service: name, in: .process)
        raiseDescriptorLimit(logger)
        do {
            let services = try await wire(settings, logger)
            var configuration = ServiceGroupConfiguration(
                services: services.map { .init(service: $0, successTerminationBehavior: .gracefullyShutdownGroup) },
                logger: logger)
            configuration.maximumGracefulShutdownDuration = try shutdown(settings)
            logger.notice("starting", metadata: ["pid": "\(getpid())"])
            let group = ServiceGroup(configuration: configuration)
            let signals = StopSignals(logger: logger, writer: writer) {
                Task { await group.triggerGracefulShutdown() }
            }
            defer { signals.cancel() }
            try await group.run()
            logger.notice("stopped")
            writer.flush()
            leave(0)
        } catch let error as SettingsError {
            fail(name, error)
        } catch {
            logger.critical("stopped by an error", metadata: ["error": "\(error)"])
            writer.flush()
            leave(1)
        }
    }

    /// Takes as many file descriptors as it may: the usual limit of 1,024 is that of a person's shell.
    private static func raiseDescriptorLimit(_ logger: Logger) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max
        else { return }
        limit.rlim_cur = limit.rlim_max
        if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
            logger.warning("the limit of open files stays", metadata: ["errno": "\(errno)"])
        }
    }

    /// Ends the process without exit handlers: OpenSSL's would take down what a thread of libpq may still be using.
    private static func leave(_ status: Int32) -> Never {
        fflush(nil)
        _exit(status)
    }

    private static func startLog(_ name: String, _ settings: Settings, _ writer: LogWriter) throws -> Logger {
        let level = Logger.Level(rawValue: try settings(Settings.logLevel).rawValue) ?? .info
        let isJSON =
            switch try settings(Settings.logFormat) {
            case .json: true
            case .text: false
            case .automatic: isatty(STDERR_FILENO) == 0
            }
        LoggingSystem.bootstrap { label in
            LineLogHandler(label: label, writer: writer, isJSON: isJSON, logLevel: level)
        }
        return Logger(label: name)
    }

    private static func fail(_ name: String, _ error: any Error) -> Never {
        try? FileHandle.standardError.write(contentsOf: Data("\(name): \(error)\n".utf8))
        exit(78)  // EX_CONFIG of sysexits.h
    }
}
