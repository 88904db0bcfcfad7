// A rule has one compact form, `orders/** retain-events=10 slow-reader=latest`, for flags, the environment and lists
// in the file. A mapping in the file is brought into it first (`SettingsFile`), so that there is one reader.

extension RetentionRule {
    static let eventsKey = "retain-events"
    static let bytesKey = "retain-bytes"
    static let ageKey = "retain-age"
    /// The key under which a mapping names the rule's filter.
    static let filterKey = "filter"

    static let eventsKind: SettingKind<Int> = .count(1...100_000_000)
    static let bytesKind: SettingKind<Int> = .bytes(1 << 10...1 << 40)
    static let ageKind: SettingKind<Duration> = .duration(.seconds(1)...(.seconds(86_400 * 365)))

    /// One `KEY=VALUE` of a rule.
    private struct Part: Sendable {
        let key: String
        let accepted: String
        let read: @Sendable (String, inout RetentionRule) -> Bool
        let write: @Sendable (RetentionRule) -> String?

        init<Value>(
            _ key: String,
            _ property: WritableKeyPath<RetentionRule, Value?> & Sendable,
            _ kind: SettingKind<Value>
        ) {
            self.key = key
            accepted = kind.accepted
            read = { text, rule in
                guard let value = kind.read(text) else { return false }
                rule[keyPath: property] = value
                return true
            }
            write = { rule in rule[keyPath: property].flatMap(kind.write) }
        }
    }

    private static let parts: [Part] = [
        Part(eventsKey, \.retainEvents, eventsKind),
        Part(bytesKey, \.retainBytes, bytesKind),
        Part(ageKey, \.retainAge, ageKind),
        Part("slow-reader", \.slowReader, .choice),
    ]

    /// The keys that may follow the filter.
    static var keys: String {
        parts.map(\.key).joined(separator: ", ")
    }

    /// What is accepted as a rule.
    static var accepted: String {
        "a filter followed by KEY=VALUE pairs of \(keys), such as \"orders/** retain-events=10\""
    }

    /// The rule in the form that ``read(_:checkFilter:)`` reads.
    var compactText: String {
        let values = Self.parts.compactMap { part in part.write(self).map { "\(part.key)=\($0)" } }
        return ([filter] + values).joined(separator: " ")
    }

    /// Reads a rule in its compact form: the rule, or all that is wrong with it.
    static func read(
        _ text: String, checkFilter: SettingDescriptor.FilterCheck
    ) -> (rule: RetentionRule?, refusals: [String]) {
        let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard let filter = words.first else {
            return (nil, ["is empty; expected \(accepted)"])
        }
        var rule = RetentionRule(filter: filter)
        var refusals: [String] = []
        if let reason = checkFilter(filter) {
            refusals.append("\(EscapedText.quoted(filter, limit: 100)) is not a filter: \(reason)")
        }
        var seen: Set<String> = []
        for word in words.dropFirst() {
            refusals += read(word: word, into: &rule, seen: &seen)
        }
        return (refusals.isEmpty ? rule : nil, refusals)
    }

    private static func read(word: String, into rule: inout RetentionRule, seen: inout Set<String>) -> [String] {
        let halves = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard halves.count == 2 else {
            return ["\(EscapedText.quoted(word, limit: 100)) is no KEY=VALUE pair; expected keys: \(keys)"]
        }
        let (key, value) = (halves[0], halves[1])
        guard let part = parts.first(where: { $0.key == key }) else {
            let hint = Suggestion.hint(for: key, among: parts.map(\.key))
            return ["\(EscapedText.quoted(key, limit: 100)) is no key of a rule\(hint); expected one of \(keys)"]
        }
        guard seen.insert(key).inserted else {
            return ["\(key) is given twice"]
        }
        guard part.read(value, &rule) else {
            return ["\(key): " + SettingMistake.refusal(of: value, accepted: part.accepted)]
        }
        return []
    }
}
