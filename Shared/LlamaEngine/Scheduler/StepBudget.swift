/// Turns the time of a step into prefill rows, by measured rates.
///
/// Three moving averages: the time of a step's decodes, of one draft row beside them, and of one prefill row. Only the number of
/// drafts and the cut of prompts into chunks depend on them, and the tokens depend on neither.
struct StepBudget {
    /// Seconds of a step's decode rows together, drafts not included.
    private(set) var decodeSeconds: Double?
    /// Seconds that one draft row adds to a step; nil before the first draft.
    private(set) var measuredDraftRowSeconds: Double?
    /// Seconds of one prefill row.
    private(set) var prefillRowSeconds: Double
    /// Seconds of one step.
    private(set) var stepSeconds: Double?
    /// Tokens and seconds of one step without prompts.
    private var decoded: (tokens: Double, seconds: Double)?
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

    /// Tokens that came out of a second of steps without prompts. Averages of tokens and of seconds are divided, not rates averaged:
    /// a step with drafts takes longer than a plain one, and counts for as long as it took.
    var decodeTokensPerSecond: Double? { decoded.map { $0.tokens / $0.seconds } }

    /// Before it is measured, a draft is taken for a prefill row: it is computed like one.
    private var draftRowSeconds: Double { measuredDraftRowSeconds ?? prefillRowSeconds }

    /// Prefill rows for a step with this many plain decode rows and drafts: what the target leaves, at least the minimum, at most the
    /// rows left. Before a row's time is known, no more than beside decodes: the guess may be wrong, and who comes next waits for it.
    func prefillRows(besideDecodes decodes: Int, drafts: Int = 0) -> Int {
        let besides = (decodeSeconds ?? 0) + draftRowSeconds * Double(drafts)
        let left = decodes > 0 ? target - besides : measuredPrefill ? aloneTarget : target
        let affordable = (left / prefillRowSeconds).rounded(.down)
        let rows = affordable < Double(maximumRows) ? max(minimumRows, Int(max(0, affordable))) : maximumRows
        return max(0, min(rows, maximumRows - decodes - drafts))
    }

    /// Draft rows for a step with this many plain decode rows: what the target leaves, half of it when prompts wait.
    func draftRows(besideDecodes decodes: Int, leavingPrefills: Bool) -> Int {
        let left = target - (decodeSeconds ?? 0)
        let affordable = min(Double(maximumRows), max(0, left / draftRowSeconds))
        let rows = min(Int(affordable), maximumRows - decodes)
        return max(0, leavingPrefills ? min(rows / 2, rows - minimumRows) : rows)
    }

    /// Takes in what a step took. What it differs from the expectation is shared between decodes, drafts and prefill as their
    /// expected times are, so that all are corrected even when every step brings all of them.
    ///
    /// - Parameter decodeRows: the sequences' own rows, without `draftRows`.
    mutating func record(decodeRows: Int, draftRows: Int = 0, prefillRows: Int, seconds: Double) {
        guard seconds.isFinite, seconds > 0, decodeRows + draftRows + prefillRows > 0 else { return }
        stepSeconds = average(stepSeconds, seconds)
        if prefillRows == 0, draftRows == 0 {
            decodeSeconds = average(decodeSeconds, seconds)
            return
        }
        let rows = Double(prefillRows), drafts = Double(draftRows)
        if prefillRows > 0 { measuredPrefill = true }
        // A small step's time is mostly that of reading the weights: one that is half as large again says it better than all
        // before it.
        if decodeRows == 0, draftRows == 0, mostRows < Self.tellingRows, rows >= mostRows * 1.5 {
            prefillRowSeconds = seconds / rows
            mostRows = rows
            return
        }
        let prefill = prefillRowSeconds * rows, draft = draftRowSeconds * drafts
        // Of the first decodes beside others nothing is known. They take at least their share of the rows: a time of 0 would have
        // no part in any later error.
        let share = seconds * Double(decodeRows) / (Double(decodeRows) + drafts + rows)
        let decode = decodeRows > 0 ? decodeSeconds ?? max(share, seconds - prefill - draft) : 0
        let expected = prefill + draft + decode
        let error = seconds - expected
        if decodeRows > 0 { decodeSeconds = decode + Self.gain * error * decode / expected }
        if draftRows > 0 {
            measuredDraftRowSeconds = max(1e-7, (draft + Self.gain * error * draft / expected) / drafts)
        }
        guard prefillRows > 0 else { return }
        // A small chunk says more about the step's fixed costs than about a row.
        let trust = Self.gain * min(1, rows / Self.tellingRows)
        prefillRowSeconds = max(1e-7, prefillRowSeconds + trust * error * (prefill / expected) / rows)
    }

    /// Takes in how many tokens came out of a step without prompts. Rows of drafts that were wrong brought none.
    mutating func recordDecoded(tokens: Int, seconds: Double) {
        guard seconds.isFinite, seconds > 0, tokens >= 0 else { return }
        decoded = (average(decoded?.tokens, Double(tokens)), average(decoded?.seconds, seconds))
    }

    private func average(_ old: Double?, _ new: Double) -> Double {
        guard let old else { return new }
        return old + Self.gain * (new - old)
    }
}
