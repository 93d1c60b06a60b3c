import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import TurnProtocol

extension TurnRunner {
    /// Everything before the end.
    mutating func generateWhole() async throws -> Ending {
        if cancelRequested { return .cancelled }
        if try await TurnRunner.isPast(turn.deadline, services) { return .expired }
        if turn.beginsConversation, !delivery.redelivered, plan == nil {
            // Nothing to wait for: a conversation's first turn is its head and has no history.
            do {
                return try await generate(services.planner.plan(turn, history: []))
            } catch let error as PromptPlanner.Refusal {
                return .failed(error.description)
            }
        }
        let prepared = try await untilInterrupted { [services, turn, plan, delivery, logger] in
            try await TurnRunner.waitForHead(of: turn, services, delivery, logger)
            if let plan { return plan }
            return try services.planner.plan(turn, history: try await services.history.history(before: turn))
        }
        switch prepared {
        case .interrupted(let ending): return ending
        case .failed(let error as PromptPlanner.Refusal): return .failed(error.description)
        case .failed(let error): throw error
        case .value(let prepared): return try await generate(prepared)
        }
    }

    /// Waits until all earlier turns of the conversation have ended.
    static func waitForHead(
        of turn: Turn, _ services: TurnServices, _ delivery: Delivery, _ logger: Logger
    ) async throws {
        // Added again, in case Redis has lost what the gateway added.
        var head = try await patience(delivery, logger)() { try await services.order.add(turn) }
        var pause = Duration.milliseconds(10)
        while let first = head, first != turn.id {
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(250))
            head = try await patience(delivery, logger)() {
                // Nobody at the head, not even this turn: Redis has lost the order since.
                if let head = try await services.order.head(of: turn.conversation) { return head }
                return try await services.order.add(turn)
            }
        }
    }

    enum Interruptible<Value: Sendable>: Sendable {
        case value(Value)
        case failed(any Error)
        case interrupted(Ending)
    }

    /// Runs `body`, but not beyond the turn's deadline, its cancellation, or the loss of its lease.
    func untilInterrupted<Value: Sendable>(
        discard: @escaping @Sendable (Value) async -> Void = { _ in },
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Interruptible<Value> {
        let watch = watchInterruptions()
        let result = await withTaskGroup(of: Interruptible<Value>?.self) { group -> Interruptible<Value>? in
            group.addTask {
                do { return .value(try await body()) } catch { return Task.isCancelled ? nil : .failed(error) }
            }
            group.addTask {
                do { return .interrupted(try await watch()) } catch { return Task.isCancelled ? nil : .failed(error) }
            }
            var first: Interruptible<Value>?
            for await case .some(let result) in group {
                if first == nil {
                    first = result
                    group.cancelAll()
                } else if case .value(let late) = result {
                    await discard(late)  // it was granted in the moment of the interruption
                }
            }
            return first
        }
        guard !Task.isCancelled, let result else {
            if case .value(let late) = result { await discard(late) }
            throw CancellationError()
        }
        return result
    }

    func watchInterruptions() -> @Sendable () async throws -> Ending {
        { [services, turn, delivery, lease, transcript] in
            while true {
                try await Task.sleep(for: .milliseconds(250))
                if try await TurnRunner.isPast(turn.deadline, services) { return .expired }
                guard delivery.isLive else { throw Abandoned.fenced }
                guard let result = try? await services.log.append(lease, first: transcript.next, tokens: []) else {
                    continue
                }
                switch result {
                case .appended(let audience): if TurnRunner.endsTurn(audience, turn, services) { return .cancelled }
                case .fenced: throw Abandoned.fenced
                case .gap: break
                }
            }
        }
    }

    static func isPast(_ deadline: Int64, _ services: TurnServices) async throws -> Bool {
        // Without Redis nobody knows its time, and nothing can be ended either: the turn goes on.
        guard let now = try? await services.clock.now() else { return false }
        return now >= deadline
    }

    /// Whether a turn that nobody reads, or that somebody cancelled, is to be given up.
    static func endsTurn(_ audience: TurnLog.Audience, _ turn: Turn, _ services: TurnServices) -> Bool {
        if audience.cancelRequested { return true }
        guard turn.kind != .batch, let absent = audience.absentForMilliseconds else { return false }
        return Duration.milliseconds(absent) > services.detachGrace
    }
}
