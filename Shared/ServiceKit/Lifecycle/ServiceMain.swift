import Foundation
import Logging
import Metrics
import ServiceLifecycle

/// What every service's main does: read the settings, start the log, wire, run until a signal, say how it ended.
public enum ServiceMain {
    /// - Parameters:
    ///   - name: the service's name in every log line.
    ///   - wire: makes the configuration and the services; they start in order and shut down in the reverse.
    public static func run(
        _ name: String, wire: (Settings, Logger) async throws -> [any Service]
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
        do {
            let services = try await wire(settings, logger)
            var configuration = ServiceGroupConfiguration(
                services: services.map { .init(service: $0, successTerminationBehavior: .gracefullyShutdownGroup) },
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
            configuration.maximumGracefulShutdownDuration = .seconds(30)
            logger.notice("starting", metadata: ["pid": "\(getpid())"])
            try await ServiceGroup(configuration: configuration).run()
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
        FileHandle.standardError.write(Data("\(name): \(error)\n".utf8))
        exit(78)  // EX_CONFIG of sysexits.h
    }
}
