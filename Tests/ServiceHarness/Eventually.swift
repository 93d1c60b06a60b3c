/// Asks until the answer is yes; an error counts as no.
public func eventually(
    _ what: String, within limit: Duration = .seconds(20), or explanation: () -> String = { "" },
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if (try? await condition()) == true { return }
        try await Task.sleep(for: .milliseconds(20))
    }
    throw HarnessError("not in time: \(what)\n\(explanation())")
}
