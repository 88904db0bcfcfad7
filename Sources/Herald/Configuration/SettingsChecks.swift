import FoundationEssentials

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
        let addresses = [("listen", settings.listen), ("tls-listen", settings.tlsListen)]
        for case (let key, let address?) in addresses where refused.isDisjoint(with: [key, "allow-anonymous"]) {
            if let reason = openness(of: address) {
                mistakes.append(SettingMistake(key: key, origin: loaded.origin(of: key), reason: reason))
            }
        }
        if refused.isDisjoint(with: ["tls-listen", "tls-certificate", "tls-key"]), let reason = unusableTLS {
            mistakes.append(SettingMistake(key: "tls-listen", origin: loaded.origin(of: "tls-listen"), reason: reason))
        }
        if refused.isDisjoint(with: ["allowed-origins", "allow-credentials"]) {
            mistakes += unusableOrigins.map { key, reason in
                SettingMistake(key: key, origin: loaded.origin(of: key), reason: reason)
            }
        }
        if refused.isDisjoint(with: ["trusted-proxies", "forwarded-header"]), let (key, reason) = unusableProxies {
            mistakes.append(SettingMistake(key: key, origin: loaded.origin(of: key), reason: reason))
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
        warn("publish-burst", settings.publishRate == 0, "means nothing without publish-rate")
        warn(
            "max-connections-per-address", settings.maxConnectionsPerAddress > settings.maxConnections,
            "can't be reached, as max-connections is \(settings.maxConnections)")
        for key in ["tls-certificate", "tls-key", "tls-client-ca", "tls-min-version", "tls-handshakes", "hsts"] {
            warn(key, settings.tlsListen == nil, "means nothing without tls-listen")
        }
        warn("token-jwks-refresh", settings.tokenJWKS == nil, "means nothing without token-jwks")
        warn(
            "allow-anonymous", settings.allowAnonymous && settings.isAuthenticationConfigured,
            "lets whoever shows no token publish and subscribe all the same")
        warn(
            "token-jwks", settings.tokenJWKS.map(Self.isFetchedInTheOpen) ?? false,
            "is fetched without TLS: whoever stands between can put keys of their own there")
        for key in ["anonymous-publish", "anonymous-subscribe"] {
            warn(key, settings.allowAnonymous, "adds nothing, as allow-anonymous is set")
        }
        for key in [
            "token-cookie", "token-warning", "token-checks", "max-revocations", "revocation-keep", "revocation-file",
        ] {
            warn(
                key, !settings.isAuthenticationConfigured,
                "means nothing without token-secret-file, token-key-file, token-jwks or api-key-file")
        }
        for key in ["token-leeway", "token-issuer", "token-audience", "token-cache"] {
            warn(
                key, !settings.areTokensConfigured,
                "means nothing without token-secret-file, token-key-file or token-jwks")
        }
        warn("allow-credentials", settings.allowedOrigins.isEmpty, "means nothing without allowed-origins")
        for (index, rule) in settings.rules.enumerated() {
            warn(
                "rules", (rule.retainBytes ?? 0) > settings.memoryLimit,
                "rule \(index + 1): retain-bytes can't be reached, as memory-limit is \(limit)")
        }
        return warnings
    }

    /// Whether a URL is fetched over a network without TLS.
    private static func isFetchedInTheOpen(_ url: String) -> Bool {
        guard let parts = URL(string: url), parts.scheme?.lowercased() == "http" else { return false }
        return !["localhost", "127.0.0.1", "[::1]", "::1"].contains(parts.host() ?? "")
    }

    /// Whoever reaches an address beyond loopback could publish and read everything.
    private func openness(of address: ListenAddress) -> String? {
        guard !address.isLoopback, !settings.allowAnonymous, !settings.isAccessControlled else {
            return nil
        }
        return "\(address) can be reached by other machines, and no authentication is configured; "
            + "expected a loopback address, tokens (token-secret-file, token-key-file, token-jwks), api-key-file, "
            + "or allow-anonymous"
    }

    /// A certificate without its key is of no use, nor are both without an address.
    private var unusableTLS: String? {
        guard settings.tlsListen != nil else { return nil }
        let (certificates, keys) = (settings.tlsCertificates.count, settings.tlsKeys.count)
        return switch (certificates, keys) {
        case (0, _): "needs tls-certificate and tls-key"
        case _ where certificates != keys:
            "needs a tls-key for each tls-certificate; there are \(certificates) certificates and \(keys) keys"
        default: nil
        }
    }

    /// What browsers would not accept, and what is too much.
    private var unusableOrigins: [(key: String, reason: String)] {
        var reasons: [(key: String, reason: String)] = []
        if settings.allowCredentials, settings.allowedOrigins.contains(.any) {
            let reason =
                "is not possible with * in allowed-origins: any page could act as its visitor; "
                + "expected a list of origins"
            reasons.append(("allow-credentials", reason))
        }
        if settings.allowedOrigins.count > AllowedOrigin.countMax {
            let count = settings.allowedOrigins.count
            reasons.append(("allowed-origins", "names \(count); expected at most \(AllowedOrigin.countMax)"))
        }
        return reasons
    }

    /// A header that nobody is trusted with, or proxies that say nothing: either is half of a thought.
    private var unusableProxies: (key: String, reason: String)? {
        switch (settings.trustedProxies.isEmpty, settings.forwardedHeader) {
        case (true, .forwarded), (true, .xForwardedFor):
            ("forwarded-header", "needs trusted-proxies: anybody could write the header")
        case (false, .none):
            ("trusted-proxies", "needs forwarded-header: the header in which the proxies name their clients")
        case (true, .none), (false, .forwarded), (false, .xForwardedFor): nil
        }
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
