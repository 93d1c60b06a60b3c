/// Which known name somebody may have meant.
public enum NearestName {
    /// The known name that is nearest to `name`, if it is `distance` edits away at most.
    /// - Parameter name: a short one: the time grows with its length.
    public static func of(_ name: String, among known: some Sequence<String>, within distance: Int = 2) -> String? {
        let candidates = known.map { (name: $0, distance: editDistance(name, $0)) }
        return candidates.min { $0.distance < $1.distance }.flatMap { $0.distance <= distance ? $0.name : nil }
    }

    /// Levenshtein's distance, over bytes.
    private static func editDistance(_ left: String, _ right: String) -> Int {
        let right = Array(right.utf8)
        var row = Array(0...right.count)
        for (i, a) in left.utf8.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in right.enumerated() {
                let substituted = diagonal + (a == b ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
            }
        }
        return row[right.count]
    }
}
