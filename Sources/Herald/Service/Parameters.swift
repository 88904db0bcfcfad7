import HeraldCore

/// The parameters of a query: known ones, each at most once.
struct Parameters {
    /// Known to every resource, for clients that cannot send headers; without authentication it is passed over.
    static let token: StaticString = "access_token"

    private let pairs: [QueryPair]

    /// Takes pairs of which all names are known; throws the first that is not.
    init(_ pairs: [QueryPair], known: [String]) throws(Problem) {
        try Self.check(pairs, known: known)
        self.pairs = pairs
    }

    /// Throws the first pair whose name is unknown or comes a second time.
    static func check(_ pairs: [QueryPair], known: [String]) throws(Problem) {
        for (index, pair) in pairs.enumerated() {
            guard known.contains(pair.name) || pair.name == "\(token)" else { throw unknown(pair.name, among: known) }
            if pairs[..<index].contains(where: { $0.name == pair.name }) { throw repeated(pair.name) }
        }
    }

    /// The problem of a parameter that is not known here.
    static func unknown(_ name: String, among known: [String]) -> Problem {
        let expected = (known + ["\(token)"]).joined(separator: ", ")
        return Problem(
            .badParameter, "the parameter \(EscapedText.quoted(name, limit: 40)) is unknown here; known: \(expected)")
    }

    /// The problem of a parameter that comes a second time.
    static func repeated(_ name: String) -> Problem {
        Problem(.badParameter, "the parameter \(EscapedText.quoted(name, limit: 40)) is given twice")
    }

    /// The value of a parameter; nil when it is not given.
    subscript(name: String) -> String? {
        pairs.first { $0.name == name }?.value
    }

    /// The value of a parameter as a whole number within bounds; nil when it is not given.
    func number(_ name: String, in bounds: ClosedRange<Int>, unit: String = "") throws(Problem) -> Int? {
        guard let text = self[name] else { return nil }
        return try text.withBytes { value throws(Problem) in
            try Self.number(value, of: name, in: bounds, unit: unit)
        }
    }

    /// A parameter's value as a whole number within bounds.
    static func number(
        _ value: borrowing Bytes, of name: String, in bounds: ClosedRange<Int>, unit: String
    ) throws(Problem) -> Int {
        if let number = value.decimal, bounds.contains(number) { return number }
        throw Problem(
            .badParameter,
            "\(name) must be a whole number\(unit) from \(bounds.lowerBound) to \(bounds.upperBound), "
                + "not \(EscapedText.quoted(value.text(), limit: 40))")
    }
}
