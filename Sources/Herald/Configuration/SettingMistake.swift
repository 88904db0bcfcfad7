/// Where a setting's value comes from.
public enum SettingOrigin: Sendable, Hashable, CustomStringConvertible {
    /// Nowhere: it is the default.
    case standard
    /// A configuration file, and the line if it is known.
    case file(path: String, line: Int?)
    /// An environment variable.
    case environment(name: String)
    /// A flag, without its dashes.
    case flag(name: String)

    /// The origin in words, on one line.
    public var description: String {
        switch self {
        case .standard: "default"
        case .file(let path, nil): EscapedText.inline(path)
        case .file(let path, let line?): "\(EscapedText.inline(path)):\(line)"
        case .environment(let name): "environment \(EscapedText.inline(name))"
        case .flag(let name): "--\(name)"
        }
    }
}

/// Something wrong in a configuration.
public struct SettingMistake: Error, Hashable, CustomStringConvertible {
    /// The setting's key, or the unknown key as it was written.
    public let key: String

    /// Where the value comes from.
    public let origin: SettingOrigin

    /// What is wrong, and what is accepted.
    public let reason: String

    /// The mistake on one line: `retain-events (environment HERALD_RETAIN_EVENTS): "x" is not accepted; expected ...`.
    public var description: String {
        "\(EscapedText.inline(key)) (\(origin)): \(reason)"
    }

    /// The reason for a value that can't be read or is out of bounds.
    static func refusal(of text: String, accepted: String) -> String {
        "\(EscapedText.quoted(text, limit: 100)) is not accepted; expected \(accepted)"
    }
}

/// A configuration that can't be used, with everything that is wrong in it.
public struct SettingsRefused: Error, CustomStringConvertible {
    /// Everything that is wrong, in the order of the settings; never empty.
    public let mistakes: [SettingMistake]

    /// What is only suspicious.
    public let warnings: [String]

    /// Whether every mistake is the configuration file's.
    public var isOnlyTheFile: Bool {
        mistakes.allSatisfy { mistake in
            if case .file = mistake.origin { true } else { false }
        }
    }

    /// The mistakes, one a line.
    public var description: String {
        mistakes.map(\.description).joined(separator: "\n")
    }
}

/// Settings as they were read.
public struct LoadedSettings: Sendable {
    /// The settings.
    public internal(set) var settings: ServerSettings

    /// Where each value that is not the default comes from, by key.
    public internal(set) var origins: [String: SettingOrigin]

    /// What is suspicious but does no harm, one line each.
    public internal(set) var warnings: [String]

    /// Where the value of a setting comes from.
    public func origin(of key: String) -> SettingOrigin {
        origins[key] ?? .standard
    }
}
