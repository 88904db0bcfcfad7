import HeraldCore

/// The parameters of a query: known ones, each at most once unless it may be repeated.
struct Parameters {
    /// Known to every resource, for clients that cannot send headers; without authentication it is passed over.
    private static let token = "access_token"

    private let pairs: [QueryPair]

    /// Takes pairs of which all names are known; throws the first that is not.
    init(_ pairs: [QueryPair], known: [String], repeatable: [String] = []) throws(Problem) {
        try Self.check(pairs, known: known, repeatable: repeatable)
        self.pairs = pairs
    }

    /// Throws the first pair whose name is unknown or comes a second time.
    static func check(_ pairs: [QueryPair], known: [String], repeatable: [String] = []) throws(Problem) {
        var seen: Set<String> = []
        for pair in pairs {
            let shown = EscapedText.quoted(pair.name, limit: 40)
            guard known.contains(pair.name) || repeatable.contains(pair.name) || pair.name == token else {
                let expected = (known + repeatable + [token]).joined(separator: ", ")
                throw Problem(.badParameter, "the parameter \(shown) is unknown here; known: \(expected)")
            }
            guard seen.insert(pair.name).inserted || repeatable.contains(pair.name) else {
                throw Problem(.badParameter, "the parameter \(shown) is given twice")
            }
        }
    }

    /// The value of a parameter; nil when it is not given.
    subscript(name: String) -> String? {
        pairs.first { $0.name == name }?.value
    }

    /// All values of a parameter, in their order.
    func values(_ name: String) -> [String] {
        pairs.filter { $0.name == name }.map(\.value)
    }

    /// The value of a parameter as a whole number within bounds; nil when it is not given.
    func number(_ name: String, in bounds: ClosedRange<Int>, unit: String = "") throws(Problem) -> Int? {
        guard let text = self[name] else { return nil }
        if let number = Quantities.count(text), bounds.contains(number) { return number }
        throw Problem(
            .badParameter,
            "\(name) must be a whole number\(unit) from \(bounds.lowerBound) to \(bounds.upperBound), "
                + "not \(EscapedText.quoted(text, limit: 40))")
    }
}
