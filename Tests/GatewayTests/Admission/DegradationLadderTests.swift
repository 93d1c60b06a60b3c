import ChatCore
import Testing

@testable import gateway

@Suite struct DegradationLadderTests {
    private let whole = DegradationLadder(
        answers: .underLoad, contextTokens: 512, maxTokens: 64, lighterModel: "small", start: 0.5)
    private let request = DegradationLadder.Request(
        model: "large", namesModel: false, maxTokens: 256, continuesConversation: true)

    private func grant(
        _ pressure: Double, by ladder: DegradationLadder? = nil,
        _ change: (inout DegradationLadder.Request) -> Void = { _ in }
    ) -> DegradationLadder.Grant {
        var request = request
        change(&request)
        return (ladder ?? whole).grant(request, at: pressure) { $0 == "small" }
    }

    @Test func stepsFollowOneAfterTheOther() {
        #expect(grant(0.49) == .init(model: "large", maxTokens: 256, degradation: nil, mayReuseAnswer: false))
        #expect(grant(0.5) == .init(model: "large", maxTokens: 256, degradation: nil, mayReuseAnswer: true))
        #expect(grant(0.63).degradation == .init(contextTokens: 512))
        #expect(grant(0.75).maxTokens == 64)
        #expect(grant(0.75).degradation == .init(contextTokens: 512, requestedMaxTokens: 256))
        #expect(grant(0.9).model == "small")
        #expect(
            grant(0.9).degradation
                == .init(contextTokens: 512, requestedMaxTokens: 256, requestedModel: "large"))
        for number in 0..<4 {
            #expect(whole.steps(at: 0.5 + Double(number) * 0.125).count == number + 1)
            #expect(whole.steps(at: 0.5 + Double(number) * 0.125 - 0.01).count == number)
        }
    }

    @Test func whatHasNoEffectIsNotClaimed() {
        #expect(grant(1) { $0.continuesConversation = false }.degradation?.contextTokens == nil)
        #expect(grant(1) { $0.maxTokens = 64 }.degradation?.requestedMaxTokens == nil)
        #expect(grant(1) { $0.maxTokens = 10 }.maxTokens == 10)
        let named = grant(1) { $0.namesModel = true }
        #expect(named.model == "large" && named.degradation?.requestedModel == nil)
        let nobody = whole.grant(request, at: 1) { _ in false }
        #expect(nobody.model == "large" && nobody.degradation?.requestedModel == nil)
    }

    @Test func everyStepIsOffUnlessConfigured() {
        let none = DegradationLadder(answers: .off, contextTokens: nil, maxTokens: nil, lighterModel: nil, start: 0.5)
        #expect(grant(100, by: none) == .init(model: "large", maxTokens: 256, degradation: nil, mayReuseAnswer: false))
        let tokens = DegradationLadder(answers: .off, contextTokens: nil, maxTokens: 8, lighterModel: nil, start: 0.5)
        #expect(grant(0.5, by: tokens).maxTokens == 8 && grant(0.4, by: tokens).maxTokens == 256)
        let always = DegradationLadder(
            answers: .always, contextTokens: nil, maxTokens: nil, lighterModel: nil, start: 0.5)
        #expect(grant(0, by: always).mayReuseAnswer)
    }
}
