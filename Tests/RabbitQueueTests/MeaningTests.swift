import ServiceKit
import Testing

@testable import RabbitQueue

/// The table of what a broker may answer.
@Suite struct MeaningTests {
    @Test(
        arguments: [
            (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", .outage),
            (404, "NOT_FOUND - no queue 'node.n1' in vhost '/'", .refusal),
            (
                404, "NOT_FOUND - queue 'chat_queue' in vhost '/' process is stopped by supervisor", .outage
            ),
            (
                404, "NOT_FOUND - home node 'rabbit@b' of durable queue 'q' in vhost '/' is down or inaccessible",
                .outage
            ),
            (405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'node.n1'", .refusal),
            (403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", .configuration),
            (406, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/'", .configuration),
            (530, "NOT_ALLOWED - vhost none not found", .configuration),
            (506, "RESOURCE_ERROR", .outage), (541, "INTERNAL_ERROR", .outage), (504, "CHANNEL_ERROR", .outage),
            (999, "what nobody has heard of", .outage),
        ] as [(Int, String, RabbitError.Meaning)])
    func aCodeMeansOneThing(code: Int, text: String, meaning: RabbitError.Meaning) {
        #expect(RabbitError.server(code: code, text: text).meaning == meaning)
    }

    @Test func onlyOutagesOpenTheBreaker() {
        let verdicts: [(RabbitError, CircuitBreaker.Verdict)] = [
            (.unavailable, .failure), (.timedOut, .failure), (.connectionLost, .failure),
            (.blocked(wasSent: true), .failure), (.blocked(wasSent: false), .failure),
            (.protocolViolation(""), .failure), (.server(code: 541, text: ""), .failure),
            (.rejected(queue: "q"), .success), (.unroutable(queue: "q"), .success),
            (.server(code: 404, text: "no queue"), .success), (.overloaded, .neither), (.cancelled, .neither),
            (.invalid(field: "", reason: ""), .neither),
        ]
        for (error, verdict) in verdicts { #expect(error.verdict == verdict, "\(error)") }
    }

    @Test func whatMayBeStoredIsSaidSo() {
        #expect(RabbitError.blocked(wasSent: true).outcomeIsUnknown)
        #expect(!RabbitError.blocked(wasSent: false).outcomeIsUnknown)
    }
}
