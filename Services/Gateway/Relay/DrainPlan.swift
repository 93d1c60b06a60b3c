/// When a draining gateway sends its readers away, and when each of them is to come back elsewhere.
///
/// In slices, so that the other gateways, Redis and the load balancer meet a trickle of reconnects and no wave; with a
/// pause of its own for each client, so that a slice does not come back as one.
struct DrainPlan: Sendable {
    struct Departure: Sendable, Equatable {
        let reader: UInt64
        let pause: Duration
    }

    static let interval: Duration = .milliseconds(100)
    static let maximumSlices = 20
    /// Short: it is a hole in the client's stream.
    static let longestPause: Duration = .milliseconds(500)

    let slices: [[Departure]]

    /// - Parameter readers: in the order in which they are to go.
    init(_ readers: [UInt64], using random: inout some RandomNumberGenerator) {
        let size = max(1, (readers.count + DrainPlan.maximumSlices - 1) / DrainPlan.maximumSlices)
        slices = stride(from: 0, to: readers.count, by: size).map { start in
            readers[start..<min(start + size, readers.count)].map { reader in
                let longest = DrainPlan.longestPause / .milliseconds(1)
                return Departure(
                    reader: reader, pause: .milliseconds(Int64(Double.random(in: 0...longest, using: &random))))
            }
        }
    }
}
