import Foundation
import NIOCore
import NIOPosix
import NIOSSL

/// Runs a plan on a thread of its own.
struct LoadRunner: Sendable {
    let plan: LoadPlan
    /// Told every second.
    var report: @Sendable (LoadProgress) -> Void = { _ in }

    /// - Throws: `LoadError` when a gateway's name leads nowhere or there are not enough descriptors.
    func run() async throws -> LoadReport {
        try LoadRunner.allowDescriptors(plan.connections + LoadPlan.spareDescriptors)
        let addresses = try await resolve()
        let security = plan.gateways.contains(where: \.isSecure) ? try security() : nil
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do {
            let started = ContinuousClock.now
            let record = try await run(addresses, security, on: group.next())
            let time = ContinuousClock.now - started
            try await group.shutdownGracefully()
            return LoadReport(plan: plan, record: record, time: time)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
    }

    private func run(
        _ addresses: [SocketAddress], _ security: NIOSSLContext?, on loop: any EventLoop
    ) async throws -> LoadRecord {
        let finished = loop.makePromise(of: LoadRecord.self)
        let run = NIOLoopBoundBox<LoadRun?>.makeEmptyBox(eventLoop: loop)
        // Two runs at one cluster are two sets of users.
        let name = String(UInt32.random(in: .min ... .max), radix: 36)
        let (plan, report) = (plan, report)
        loop.execute {
            let new = LoadRun(
                plan, addresses: addresses, security: security, name: name, loop: loop, finished: finished,
                report: report)
            run.value = new
            new.begin()
        }
        let interrupt = Interrupt { loop.execute { run.value?.end() } }
        defer { interrupt.cancel() }
        return try await finished.futureResult.get()
    }

    /// Each gateway's name once: a look-up for each of ten thousand connections would measure the look-ups.
    private func resolve() async throws -> [SocketAddress] {
        let gateways = plan.gateways
        return try await NIOThreadPool.singleton.runIfActive {
            try gateways.map { gateway in
                do {
                    if let literal = gateway.literal {
                        return try SocketAddress(ipAddress: literal, port: gateway.port)
                    }
                    return try SocketAddress.makeAddressResolvingHost(gateway.host, port: gateway.port)
                } catch {
                    throw LoadError.invalid(option: "--gateway", "\(gateway.authority) leads nowhere")
                }
            }
        }
    }

    private func security() throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        if let file = plan.trustedCertificates {
            do { configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file)) } catch {
                throw LoadError.invalid(option: "--ca-file", "has no certificates: \(error)")
            }
        }
        return try NIOSSLContext(configuration: configuration)
    }

    /// Lets this process open so many descriptors, as far as the system allows.
    private static func allowDescriptors(_ count: Int) throws(LoadError) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        guard limit.rlim_cur < count else { return }
        guard limit.rlim_max >= count else {
            throw .invalid(
                option: "--streams",
                "needs \(count) open files, and this process may have \(limit.rlim_max) (ulimit -Hn)")
        }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

/// The first Ctrl-C or SIGTERM ends the run with its report, the second the process.
private final class Interrupt {
    private let sources: [any DispatchSourceSignal]

    init(_ stop: @escaping @Sendable () -> Void) {
        let queue = DispatchQueue(label: "signals")
        sources = [SIGINT, SIGTERM].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                signal(number, SIG_DFL)
                stop()
            }
            source.resume()
            return source
        }
    }

    func cancel() {
        sources.forEach { $0.cancel() }
        for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
    }
}
