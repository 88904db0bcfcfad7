/// Finds what a misspelt name probably meant.
enum Suggestion {
    /// ` (did you mean NAME?)`, or nothing if no name is near.
    static func hint(for name: String, among names: [String]) -> String {
        nearest(to: name, among: names).map { " (did you mean \($0)?)" } ?? ""
    }

    /// The name with the fewest edits, if a third of its letters or fewer had to change.
    static func nearest(to name: String, among names: [String]) -> String? {
        // No name is that long; the work grows with the product of both lengths.
        guard name.utf8.count <= 64 else { return nil }
        let ranked = names.map { (name: $0, edits: edits(from: name, to: $0)) }
        guard let best = ranked.min(by: { $0.edits < $1.edits }), best.edits * 3 <= best.name.utf8.count else {
            return nil
        }
        return best.name
    }

    /// The Levenshtein distance in bytes.
    private static func edits(from first: String, to second: String) -> Int {
        let target = Array(second.utf8)
        var row = Array(0...target.count)
        for (index, letter) in first.utf8.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in target.indices {
                let replaced = diagonal + (letter == target[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, row[column] + 1, diagonal + 1)
            }
        }
        return row[target.count]
    }
}
