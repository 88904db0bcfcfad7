/// What can be wrong between settings that are all right by themselves.
///
/// Contradictions are mistakes. A bound that another one keeps from ever being reached is a warning, and only where
/// somebody has set it: lowering the memory limit of a small server must not complain about defaults.
struct SettingsChecks {
    /// The key under which a file that can't be read is reported.
    static let fileKey = "config"

    private let loaded: LoadedSettings
    private var settings: ServerSettings { loaded.settings }

    init(_ loaded: LoadedSettings) {
        self.loaded = loaded
    }

    /// What keeps the server from starting, but for what only follows from the keys that were refused already.
    func mistakes(besides refused: Set<String>) -> [SettingMistake] {
        guard !refused.contains(Self.fileKey) else { return [] }
        var mistakes: [SettingMistake] = []
        if refused.isDisjoint(with: ["listen", "allow-anonymous"]), let reason = openListener {
            mistakes.append(SettingMistake(key: "listen", origin: loaded.origin(of: "listen"), reason: reason))
        }
        if !refused.contains("rules") {
            let origin = loaded.origin(of: "rules")
            mistakes += unreachableRules.map { SettingMistake(key: "rules", origin: origin, reason: $0) }
        }
        return mistakes
    }

    /// What is suspicious but harmless.
    var warnings: [String] {
        let limit = Quantities.text(bytes: settings.memoryLimit)
        var warnings: [String] = []
        func warn(_ key: String, _ isUnreachable: Bool, _ reason: String) {
            if isUnreachable, loaded.origin(of: key) != .standard {
                warnings.append("\(key) (\(loaded.origin(of: key))): \(reason)")
            }
        }
        warn(
            "retain-bytes", settings.retainBytes > settings.memoryLimit,
            "can't be reached, as memory-limit is \(limit)")
        warn(
            "max-body", settings.maxBody > settings.memoryLimit,
            "an event of that size can't be kept, as memory-limit is \(limit)")
        warn(
            "max-filters-per-connection", settings.maxFiltersPerConnection > settings.maxFilters,
            "can't be reached, as max-filters is \(settings.maxFilters)")
        for (index, rule) in settings.rules.enumerated() {
            warn(
                "rules", (rule.retainBytes ?? 0) > settings.memoryLimit,
                "rule \(index + 1): retain-bytes can't be reached, as memory-limit is \(limit)")
        }
        return warnings
    }

    /// Whoever reaches an address beyond loopback could publish and read everything.
    private var openListener: String? {
        guard !settings.listen.isLoopback, !settings.allowAnonymous, !settings.isAuthenticationConfigured else {
            return nil
        }
        return "\(settings.listen) can be reached by other machines, and no authentication is configured; "
            + "expected a loopback address, or allow-anonymous"
    }

    /// Rules that an earlier one leaves nothing to.
    private var unreachableRules: [String] {
        settings.rules.enumerated().compactMap { index, rule in
            let earlier = settings.rules[..<index].firstIndex { $0.filter == rule.filter || $0.filter == "**" }
            return earlier.map { earlier in
                "rule \(index + 1): \(EscapedText.quoted(rule.filter)) never counts, "
                    + "as rule \(earlier + 1), \(EscapedText.quoted(settings.rules[earlier].filter)), matches first"
            }
        }
    }
}
