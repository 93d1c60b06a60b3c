/// Turns the time of a step into prefill rows, by measured rates.
///
/// Two moving averages: the time of a step's decodes and the time of one prefill row. Only the cut of prompts into chunks depends on
/// them, and the tokens do not depend on the cut.
struct StepBudget {
    /// Seconds of a step's decode rows together.
    private(set) var decodeSeconds: Double?
    /// Seconds of one prefill row.
    private(set) var prefillRowSeconds: Double
    /// Seconds of one step.
    private(set) var stepSeconds: Double?
    /// Tokens that came out of a second of steps with decodes only.
    private(set) var decodeTokensPerSecond: Double?
    private var measuredPrefill = false
    /// Rows of the largest step of prompts alone so far.
    private var mostRows = 0.0

    private let target: Double
    private let minimumRows: Int
    private let aloneTarget: Double
    private let maximumRows: Int
    /// Weight of the newest measurement.
    private static let gain = 0.2
    /// Prefill rows from which on a step's time is mostly that of its rows.
    private static let tellingRows = 64.0

    init(_ configuration: SchedulerConfiguration) {
        target = configuration.stepSeconds
        minimumRows = configuration.minimumPrefillRows
        aloneTarget = max(configuration.stepSeconds, configuration.aloneSeconds)
        maximumRows = configuration.maxStepRows
        prefillRowSeconds = configuration.expectedRowSeconds
    }

    var prefillRowsPerSecond: Double? { measuredPrefill ? 1 / prefillRowSeconds : nil }

    /// Prefill rows for a step with this many decode rows: what the target leaves, at least the minimum, at most the rows left.
    /// Before a row's time is known, no more than beside decodes: the guess may be wrong, and who comes next waits for it.
    func prefillRows(besideDecodes decodes: Int) -> Int {
        let left = decodes > 0 ? target - (decodeSeconds ?? 0) : measuredPrefill ? aloneTarget : target
        let affordable = (left / prefillRowSeconds).rounded(.down)
        let rows = affordable < Double(maximumRows) ? max(minimumRows, Int(max(0, affordable))) : maximumRows
        return max(0, min(rows, maximumRows - decodes))
    }

    /// Draft rows for a step with this many plain decode rows: what the target leaves, half of it when prompts wait.
    func draftRows(besideDecodes decodes: Int, leavingPrefills: Bool) -> Int {
        let left = target - (decodeSeconds ?? 0)
        let affordable = min(Double(maximumRows), max(0, left / prefillRowSeconds))
        let rows = min(Int(affordable), maximumRows - decodes)
        return max(0, leavingPrefills ? min(rows / 2, rows - minimumRows) : rows)
    }

    /// Takes in what a step took. What it differs from the expectation is shared between decodes and prefill as their
    /// expected times are, so that both are corrected even when every step brings both.
    mutating func record(decodeRows: Int, prefillRows: Int, seconds: Double) {
        guard seconds.isFinite, seconds > 0, decodeRows + prefillRows > 0 else { return }
        stepSeconds = average(stepSeconds, seconds)
        if prefillRows == 0 {
            decodeSeconds = average(decodeSeconds, seconds)
            return
        }
        let rows = Double(prefillRows)
        measuredPrefill = true
        // A small step's time is mostly that of reading the weights: one that is half as large again says it better than all
        // before it.
        if decodeRows == 0, mostRows < Self.tellingRows, rows >= mostRows * 1.5 {
            prefillRowSeconds = seconds / rows
            mostRows = rows
            return
        }
        let prefill = prefillRowSeconds * rows
        let decode = decodeRows > 0 ? decodeSeconds ?? max(0, seconds - prefill) : 0
        let expected = prefill + decode
        let error = seconds - expected
        if decodeRows > 0 { decodeSeconds = decode + Self.gain * error * decode / expected }
        // A small chunk says more about the step's fixed costs than about a row.
        let trust = Self.gain * min(1, rows / Self.tellingRows)
        prefillRowSeconds = max(1e-7, prefillRowSeconds + trust * error * (prefill / expected) / rows)
    }

    /// Takes in how many tokens came out of a step with decodes only. Rows of drafts that were wrong brought none.
    mutating func recordDecoded(tokens: Int, seconds: Double) {
        guard seconds.isFinite, seconds > 0, tokens >= 0 else { return }
        decodeTokensPerSecond = average(decodeTokensPerSecond, Double(tokens) / seconds)
    }

    private func average(_ old: Double?, _ new: Double) -> Double {
        guard let old else { return new }
        return old + Self.gain * (new - old)
    }
}
