/// How many threads a step gets, by the number of its rows, learnt from the steps themselves.
///
/// A step of few rows mostly reads weights. On an idle machine a second thread may read more than one core can; beside a busy
/// neighbour each of the step's barriers waits for a preempted thread, and one thread alone is twice as fast. A calibration at load
/// would see only that moment's neighbours, so every step counts: the next smaller or larger number of threads is tried now and then,
/// in a burst of four steps, and kept where it is faster. Bursts get rare (one in 256 steps) while they change nothing, and come at
/// once when steps get slower. The numerics contract makes any choice safe.
struct StepThreads {
    /// Steps of more rows take every thread: their barriers are few for the work between them.
    static let largestLearntRows = 16

    private static let burst = 4
    private static let pauses = 16...256
    /// A step counts at most this many times the mean, so that a single one decides nothing.
    private static let outlier = 3.0
    private static let slower = 1.25, faster = 0.97

    /// 1, 2, 4, ... and all threads.
    private let candidates: [Int]
    private var classes: [RowClass]

    fileprivate struct RowClass {
        /// Indexes of the candidates.
        var current: Int
        var tried: Int?
        /// Mean nanoseconds of a step with the current candidate, and what it was when the others were last tried.
        var mean = 0.0, meanAtTrial = 0.0
        var trialSum = 0.0, trialSteps = 0
        var pause = StepThreads.pauses.lowerBound, untilTrial = StepThreads.pauses.lowerBound
        var triesMoreNext = false
    }

    init(threads: Int) {
        var candidates: [Int] = []
        var count = 1
        while count < threads {
            candidates.append(count)
            count *= 2
        }
        candidates.append(threads)
        self.candidates = candidates
        classes = .init(repeating: RowClass(current: candidates.count - 1), count: 5)
    }

    /// 1, 2, 3...4, 5...8, 9...16 rows.
    private static func classIndex(_ rows: Int) -> Int { Int.bitWidth - (rows - 1).leadingZeroBitCount }

    /// Threads of a step of `rows` rows; the step's time is then told to ``record(rows:nanoseconds:)``.
    func threads(rows: Int) -> Int {
        guard rows <= Self.largestLearntRows, rows > 0, candidates.count > 1 else {
            return candidates[candidates.count - 1]
        }
        let rowClass = classes[Self.classIndex(rows)]
        return candidates[rowClass.tried ?? rowClass.current]
    }

    mutating func record(rows: Int, nanoseconds: Double) {
        guard rows <= Self.largestLearntRows, rows > 0, candidates.count > 1 else { return }
        classes[Self.classIndex(rows)].record(nanoseconds, candidates: candidates.count)
    }
}

extension StepThreads.RowClass {
    fileprivate mutating func record(_ time: Double, candidates: Int) {
        let counted = mean > 0 ? min(time, StepThreads.outlier * mean) : time
        if let tried {
            trialSum += counted
            trialSteps += 1
            if trialSteps == StepThreads.burst { conclude(tried) }
            return
        }
        mean += mean > 0 ? (counted - mean) / 8 : counted
        untilTrial -= 1
        if mean > StepThreads.slower * meanAtTrial, meanAtTrial > 0 {
            pause = StepThreads.pauses.lowerBound
            untilTrial = 0
        }
        guard untilTrial <= 0 else { return }
        tried = triesMoreNext && current + 1 < candidates || current == 0 ? current + 1 : current - 1
        triesMoreNext.toggle()
        trialSum = 0
        trialSteps = 0
    }

    private mutating func conclude(_ candidate: Int) {
        let trial = trialSum / Double(StepThreads.burst)
        if trial < StepThreads.faster * mean {
            current = candidate
            mean = trial
            pause = StepThreads.pauses.lowerBound
        } else {
            pause = min(pause * 2, StepThreads.pauses.upperBound)
        }
        meanAtTrial = mean
        untilTrial = pause
        tried = nil
    }
}
