import Configuration
import Yams

/// A configuration file, as swift-configuration reads it.
///
/// Its own `YAMLSnapshot` is not used: it can't tell which keys there are, so that a misspelt key would go unnoticed,
/// knows no lines, and refuses lists of mappings.
struct SettingsFile: FileConfigSnapshot {
    /// A value of the top mapping.
    enum Value: Sendable, Equatable {
        case text(String)
        case list([String])
        /// Something else, or a list of which only some items can be used.
        case unusable(SettingUnusable)
    }

    /// A key of the top mapping with its value.
    struct Entry: Sendable {
        let key: String
        let line: Int?
        let value: Value
    }

    /// Nothing can be set about reading.
    struct ParsingOptions: FileParsingOptions {
        static var `default`: ParsingOptions { ParsingOptions() }
    }

    /// Why a file can't be read at all.
    struct Unreadable: Error {
        let line: Int?
        let reason: String
    }

    let providerName: String
    /// The file's keys in the order of the file.
    let entries: [Entry]

    var description: String { "\(providerName)[\(entries.count) values]" }
    var debugDescription: String { "\(providerName)[\(entries.map(\.key).joined(separator: ", "))]" }

    init(data: RawSpan, providerName: String, parsingOptions: ParsingOptions) throws {
        let text = unsafe data.withUnsafeBytes { bytes in unsafe String(validating: bytes, as: UTF8.self) }
        guard let text else { throw Unreadable(line: nil, reason: "is not UTF-8 text") }
        try self.init(text: text, providerName: providerName)
    }

    init(text: String, providerName: String) throws(Unreadable) {
        self.providerName = providerName
        let root: Node?
        do {
            root = try Parser(yaml: text).singleRoot()
        } catch {
            throw Unreadable(error)
        }
        guard let root, !root.isNothing else {
            entries = []
            return
        }
        guard case .mapping(let mapping) = root else {
            throw Unreadable(line: root.mark?.line, reason: "is no mapping of keys to values")
        }
        entries = mapping.map { key, value in
            Entry(key: key.scalar?.string ?? "?", line: key.mark?.line, value: Self.value(of: value))
        }
    }

    func value(forKey key: AbsoluteConfigKey, type: ConfigType) throws -> LookupResult {
        let name = key.components.joined(separator: ".")
        let content: ConfigContent?
        switch (entries.first { $0.key == name }?.value, type) {
        case (nil, _): content = nil
        case (.text(let text), .string): content = .string(text)
        case (.list(let texts), .stringArray): content = .stringArray(texts)
        case (.unusable(let error), _): throw error
        case (.text, _): throw SettingUnusable("is no list")
        case (.list, _): throw SettingUnusable("is a list")
        }
        return LookupResult(encodedKey: name, value: content.map { ConfigValue($0, isSecret: false) })
    }

    private static func value(of node: Node) -> Value {
        switch node {
        case .scalar(let scalar):
            return node.isNothing ? .unusable(SettingUnusable("has no value")) : .text(scalar.string)
        case .mapping:
            return .unusable(SettingUnusable("is a mapping"))
        case .alias:
            return .unusable(SettingUnusable("is an alias"))
        case .sequence(let items):
            let read = items.enumerated().map { index, item in self.item(item, number: index + 1) }
            let problems = read.flatMap(\.problems)
            let usable = read.filter(\.problems.isEmpty).map(\.text)
            return problems.isEmpty ? .list(usable) : .unusable(SettingUnusable(reasons: problems, usable: usable))
        }
    }

    /// One item of a list: a text, or a mapping with a filter that is brought into the compact form of a rule.
    private static func item(_ node: Node, number: Int) -> (text: String, problems: [String]) {
        let place = "item \(number)" + (node.mark.map { " (line \($0.line))" } ?? "")
        if case .scalar(let scalar) = node, !node.isNothing {
            return (scalar.string, [])
        }
        guard case .mapping(let mapping) = node else {
            return ("", ["\(place) is neither a text nor a mapping"])
        }
        var words: [String] = []
        var problems: [String] = []
        for (key, value) in mapping {
            guard let name = key.scalar?.string, let text = value.scalar?.string, !value.isNothing else {
                problems.append("\(place): every key needs one value")
                continue
            }
            // The compact form separates by spaces: a value with one would come apart into others.
            if name.isEmpty || text.isEmpty || (name + text).contains(where: \.isWhitespace) || name.contains("=") {
                let pair = EscapedText.quoted("\(name): \(text)", limit: 100)
                problems.append("\(place): \(pair) is empty or has spaces")
            } else if name == RetentionRule.filterKey {
                words.insert(text, at: 0)
            } else {
                words.append("\(name)=\(text)")
            }
        }
        if !mapping.contains(where: { $0.key.scalar?.string == RetentionRule.filterKey }) {
            problems.append("\(place) has no \(RetentionRule.filterKey)")
        }
        return (words.joined(separator: " "), problems)
    }
}

/// A key whose value has the wrong shape.
struct SettingUnusable: Error, Equatable {
    /// What is wrong.
    let reasons: [String]
    /// Items of a list that are all right, to be read nevertheless for the mistakes in them.
    var usable: [String] = []
}

extension SettingUnusable {
    init(_ reason: String) {
        self.init(reasons: [reason])
    }
}

extension SettingsFile.Unreadable {
    /// Takes line and problem from the YAML parser's error, whose own text runs over several lines.
    init(_ error: any Error) {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            self.init(line: mark.line, reason: "is not YAML: \(EscapedText.inline(problem))")
        case .reader(let problem, let offset, _, let text):
            let line = offset.map { text.prefix($0).count(where: \.isNewline) + 1 }
            self.init(line: line, reason: "is not YAML: \(EscapedText.inline(problem))")
        case .duplicatedKeysInMapping(let duplicates, let context):
            let keys = duplicates.sorted().map { EscapedText.quoted($0) }.joined(separator: ", ")
            self.init(line: context.mark.line, reason: "has a key twice: \(keys)")
        default:
            self.init(line: nil, reason: "is not YAML: \(EscapedText.inline(String(describing: error)))")
        }
    }
}

extension Node {
    /// Whether it is YAML's null: nothing at all, `~` or `null` without quotes.
    fileprivate var isNothing: Bool {
        guard case .scalar(let scalar) = self, scalar.style == .plain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }
}
