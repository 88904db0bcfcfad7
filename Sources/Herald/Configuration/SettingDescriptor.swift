import HeraldCore
import Logging

/// One setting: its names, its help, and how it is read and written.
///
/// ``all`` is the only list of settings there is. Reading, printing, the checks for unknown names and the help of
/// `herald serve` all go by it.
public struct SettingDescriptor: Sendable {
    /// What a setting's value consists of.
    public enum Shape: Sendable, Equatable {
        /// One text.
        case text
        /// True or false; the flag takes no value.
        case truth
        /// Any number of texts; the flag may be repeated, and commas separate them in the environment.
        case list
        /// The same, of which one may stand alone in the file.
        case texts

        /// Whether there may be several.
        var isPlural: Bool { self == .list || self == .texts }
    }

    /// What a filter's grammar has against a text: the reason, or nil.
    public typealias FilterCheck = @Sendable (String) -> String?

    /// The key in the configuration file, e.g. `retain-events`.
    public let key: String

    /// The flag without its dashes; the key but for lists, whose flag gives one item.
    public let flag: String

    /// What the setting's value consists of.
    public let shape: Shape

    /// What the setting does, in one sentence without a full stop.
    public let summary: String

    /// What is accepted, to stand after "expected".
    public let accepted: String

    /// The word that stands for a value in the help.
    public let placeholder: String

    /// The default, as the help names it.
    public let defaultText: String

    /// Sets the value from its texts; answers what is wrong with them, nothing if they were accepted.
    let read: @Sendable ([String], inout ServerSettings, FilterCheck) -> [String]

    /// The texts that `read` makes the present value of; nil if it is not set.
    let write: @Sendable (ServerSettings) -> [String]?

    /// The environment variable, e.g. `HERALD_RETAIN_EVENTS`.
    public var environmentName: String {
        Self.environmentPrefix + key.uppercased().replacing("-", with: "_")
    }

    /// What all environment variables of settings begin with.
    static let environmentPrefix = "HERALD_"

    /// The setting of a key; nil if there is none.
    public static func named(_ key: String) -> SettingDescriptor? {
        byKey[key]
    }

    private static let byKey = Dictionary(all.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })

    /// A setting of one value, kept in one property.
    private static func one<Value>(
        _ key: String,
        _ property: WritableKeyPath<ServerSettings, Value> & Sendable,
        _ kind: SettingKind<Value>,
        _ summary: String,
        defaultText: String? = nil
    ) -> SettingDescriptor {
        SettingDescriptor(
            key: key, flag: key, shape: Value.self == Bool.self ? .truth : .text, summary: summary,
            accepted: kind.accepted, placeholder: kind.placeholder,
            defaultText: defaultText ?? kind.write(ServerSettings()[keyPath: property]) ?? "none",
            read: { texts, settings, _ in
                guard let text = texts.first, texts.count == 1, let value = kind.read(text) else {
                    return texts.map { SettingMistake.refusal(of: $0, accepted: kind.accepted) }
                }
                settings[keyPath: property] = value
                return []
            },
            write: { settings in kind.write(settings[keyPath: property]).map { [$0] } })
    }

    /// A setting of any number of filters.
    private static func filters(
        _ key: String, _ property: WritableKeyPath<ServerSettings, [String]> & Sendable, _ summary: String
    ) -> SettingDescriptor {
        let accepted = "a filter, such as news/**"
        return SettingDescriptor(
            key: key, flag: key, shape: .texts, summary: summary, accepted: accepted, placeholder: "filter",
            defaultText: "none",
            read: { texts, settings, checkFilter in
                settings[keyPath: property] = texts.filter { checkFilter($0) == nil }
                return texts.compactMap { text in
                    checkFilter(text).map { "\(EscapedText.quoted(text, limit: 60)) is no filter: \($0)" }
                }
            },
            write: { settings in settings[keyPath: property] })
    }

    /// A setting of any number of files.
    private static func files(
        _ key: String, _ property: WritableKeyPath<ServerSettings, [String]> & Sendable, _ summary: String
    ) -> SettingDescriptor {
        many(key, property, .file, summary)
    }

    /// A setting of any number of values.
    private static func many<Value>(
        _ key: String, _ property: WritableKeyPath<ServerSettings, [Value]> & Sendable, _ kind: SettingKind<Value>,
        _ summary: String
    ) -> SettingDescriptor {
        SettingDescriptor(
            key: key, flag: key, shape: .texts, summary: summary, accepted: kind.accepted,
            placeholder: kind.placeholder, defaultText: "none",
            read: { texts, settings, _ in
                settings[keyPath: property] = texts.compactMap(kind.read)
                return texts.filter { kind.read($0) == nil }
                    .map { SettingMistake.refusal(of: $0, accepted: kind.accepted) }
            },
            write: { settings in settings[keyPath: property].compactMap(kind.write) })
    }

    /// What is accepted as a range of addresses.
    private static let acceptedRange = "an IP address or a range of them, such as 10.0.0.0/8 or 2001:db8::/32"

    /// The ranges of addresses that proxies have.
    private static let trustedProxies = SettingDescriptor(
        key: "trusted-proxies", flag: "trusted-proxy", shape: .texts,
        summary: "Address or range of a proxy whose word about its clients is taken; needs forwarded-header",
        accepted: acceptedRange, placeholder: "range", defaultText: "none",
        read: { texts, settings, _ in
            settings.trustedProxies = texts.compactMap { IPRange($0) }
            return texts.filter { IPRange($0) == nil }
                .map { SettingMistake.refusal(of: $0, accepted: acceptedRange) }
        },
        write: { settings in settings.trustedProxies.map(\.description) })

    /// The retention rules, which can be mappings in the file.
    private static let rules = SettingDescriptor(
        key: "rules", flag: "rule", shape: .list,
        summary: "Exceptions by topic, \"FILTER KEY=VALUE ...\"; keys: \(RetentionRule.keys); the first match counts",
        accepted: RetentionRule.accepted, placeholder: "rule", defaultText: "none",
        read: { texts, settings, checkFilter in
            var refusals: [String] = []
            settings.rules = texts.compactMap { text in
                let (rule, reasons) = RetentionRule.read(text, checkFilter: checkFilter)
                refusals += reasons.map { "rule \(EscapedText.quoted(text, limit: 60)): \($0)" }
                return rule
            }
            return refusals
        },
        write: { settings in settings.rules.map(\.compactText) })
}

// MARK: - The table

extension SettingDescriptor {
    /// All settings, in the order in which they are explained and printed.
    public static let all: [SettingDescriptor] =
        listening + browsers + tls + access + compression + retention + limits + crowds + times + publishing + logging

    private static let day: Duration = .seconds(86_400)

    private static let listening: [SettingDescriptor] = [
        one("listen", \.listen, .address, "Address to serve HTTP on; port 0 lets the system choose"),
        one(
            "loops", \.loops, .count(1...1024), "Number of event loops, each a thread",
            defaultText: "the number of processors"),
        one(
            "io-uring", \.ioUring, .truth,
            "Send to many readers by one system call, where the kernel has io_uring and lets us use it"),
        one(
            "allow-anonymous", \.allowAnonymous, .truth,
            "Let anybody who reaches the server publish and subscribe; needed to listen beyond loopback"),
        one(
            "echo-path", \.echoPath, SettingKind.unusedPath.optional,
            "Path that echoes WebSocket messages, for conformance suites"),
    ]

    private static let browsers: [SettingDescriptor] = [
        many(
            "allowed-origins", \.allowedOrigins, .origin,
            "Origin whose pages may use the API, besides the server's own; * for all pages"),
        one(
            "allow-credentials", \.allowCredentials, .truth,
            "Let pages of allowed-origins send cookies and client certificates"),
        one(
            "hsts", \.hsts, .duration(.zero...day * 730),
            "Time for which browsers that have come by HTTPS come by nothing else; 0s says nothing"),
    ]

    private static let tls: [SettingDescriptor] = [
        one(
            "tls-listen", \.tlsListen, SettingKind.address.optional,
            "Address to serve HTTPS on, beside listen; needs tls-certificate and tls-key"),
        files(
            "tls-certificate", \.tlsCertificates,
            "PEM file of a certificate and its chain; of several the client's server name decides, else the first"),
        files("tls-key", \.tlsKeys, "PEM file of a certificate's key, in the same order"),
        one(
            "tls-client-ca", \.tlsClientCA, SettingKind.file.optional,
            "PEM file of authorities; clients must show a certificate of one of them"),
        one("tls-min-version", \.tlsMinVersion, .choice, "Oldest version of TLS that is spoken"),
        one(
            "tls-handshakes", \.tlsHandshakes, .count(1...1000),
            "Number of handshakes a loop goes on with before other connections have their turn"),
    ]

    private static let access: [SettingDescriptor] = [
        one(
            "token-secret-file", \.tokenSecretFile, SettingKind.file.optional,
            "File of the secret that tokens are signed with, at least 32 bytes (HS256; with 48 HS384, with 64 HS512)"),
        files(
            "token-key-file", \.tokenKeyFiles,
            "File of public keys that tokens are checked with: PEM keys, certificates, or a JSON Web Key Set"),
        one(
            "token-jwks", \.tokenJWKS, SettingKind.url.optional,
            "URL of a JSON Web Key Set that tokens are checked with"),
        one(
            "token-jwks-refresh", \.tokenJWKSRefresh, .duration(.seconds(10)...day),
            "Longest time between two fetches of the key set"),
        one(
            "token-leeway", \.tokenLeeway, .duration(.zero...day / 288),
            "What clocks may differ by when a token's dates are checked"),
        one("token-issuer", \.tokenIssuer, SettingKind.words.optional, "Who must have issued a token (iss)"),
        one("token-audience", \.tokenAudience, SettingKind.words.optional, "For whom a token must be (aud)"),
        one(
            "token-cache", \.tokenCache, .count(0...1_000_000),
            "Number of checked tokens that are remembered; 0 remembers none"),
        one("api-key-file", \.apiKeyFile, SettingKind.file.optional, "YAML file of API keys, by their SHA-256"),
        filters(
            "anonymous-publish", \.anonymousPublish,
            "Filter of topics that whoever shows no token may publish to; allow-anonymous is all"),
        filters(
            "anonymous-subscribe", \.anonymousSubscribe,
            "Filter that whoever shows no token may subscribe to; allow-anonymous is all"),
        one("token-cookie", \.tokenCookie, .cookieName, "Cookie that a browser's token may be in"),
        one(
            "token-warning", \.tokenWarning, .duration(.zero...day),
            "How long before its token runs out a stream is told"),
        one(
            "token-checks", \.tokenChecks, .count(1...1_000_000),
            "Number of tokens that are checked at a time; one more is answered 503"),
        one("max-revocations", \.maxRevocations, .count(0...10_000_000), "Number of revocations"),
        one(
            "revocation-keep", \.revocationKeep, .duration(.seconds(60)...day * 365),
            "How long a revocation is kept; must be as long as the longest life of a token"),
        one(
            "revocation-file", \.revocationFile, SettingKind.file.optional,
            "File in which revocations outlive the server"),
    ]

    private static let compression: [SettingDescriptor] = [
        one(
            "compression", \.compression, .truth,
            "Compress events for clients that ask for it, by permessage-deflate on WebSockets, else by gzip"),
        one(
            "compression-min", \.compressionMin, .bytes(0...1 << 30),
            "Bytes from which on an event or a poll's answer is compressed"),
    ]

    private static let retention: [SettingDescriptor] = [
        one(
            RetentionRule.eventsKey, \.retainEvents, RetentionRule.eventsKind,
            "Number of events each topic keeps for replay"),
        one(
            RetentionRule.bytesKey, \.retainBytes, RetentionRule.bytesKind,
            "Bytes of events each topic keeps for replay"),
        one(RetentionRule.ageKey, \.retainAge, RetentionRule.ageKind, "Time each topic keeps an event for replay"),
        one("memory-limit", \.memoryLimit, .bytes(1 << 20...16 << 40), "Bytes of events kept over all topics"),
        one(
            "topic-idle", \.topicIdle, .duration(.milliseconds(100)...day * 365),
            "Time after which an empty, unused topic is forgotten"),
        rules,
    ]

    private static let limits: [SettingDescriptor] = [
        one("max-topics", \.maxTopics, .count(1...100_000_000), "Number of topics"),
        one("max-filters", \.maxFilters, .count(1...100_000_000), "Number of different filters of all subscribers"),
        one(
            "max-filters-per-connection", \.maxFiltersPerConnection, .count(1...10_000),
            "Number of filters of one connection"),
        one("max-connections", \.maxConnections, .count(1...10_000_000), "Number of connections"),
        one("max-body", \.maxBody, .bytes(1...1 << 30), "Bytes of a request's body"),
        one("max-head", \.maxHead, .bytes(512...1 << 20), "Bytes of a request's line and headers"),
        one("max-message", \.maxMessage, .bytes(125...1 << 30), "Bytes of a WebSocket message from a client"),
        one(
            "max-http2-streams", \.maxHTTP2Streams, .count(1...10_000),
            "Number of streams of an HTTP/2 connection at a time; each counts as a connection, too"),
        one(
            "http2-frame-allowance", \.http2FrameAllowance, .count(10...1_000_000),
            "Number of frames that only make work which an HTTP/2 client may send at once; a tenth comes back each second"
        ),
        one("max-batch", \.maxBatch, .count(1...100_000), "Number of events in one publish request"),
    ]

    private static let crowds: [SettingDescriptor] = [
        trustedProxies,
        one(
            "forwarded-header", \.forwardedHeader, .choice,
            "Header in which trusted proxies say whose requests they pass on; needs trusted-proxies"),
        one(
            "max-connections-per-address", \.maxConnectionsPerAddress, .count(0...10_000_000),
            "Number of connections of one address, behind a trusted proxy of streams and held polls; 0 is no limit"),
        one(
            "handshake-rate", \.handshakeRate, .count(0...1_000_000),
            "Number of streams and WebSockets that may begin in a second; 0 is no limit"),
        one(
            "publish-rate", \.publishRate, .count(0...10_000_000),
            "Number of events that one publisher may publish in a second; 0 is no limit"),
        one(
            "publish-burst", \.publishBurst, SettingKind.count(1...10_000_000).optional,
            "Number of events that a publisher who has been quiet may publish at once", defaultText: "publish-rate"),
        one(
            "retry-after", \.retryAfter, .duration(.seconds(1)...day / 24),
            "Longest time, in whole seconds, that those who are refused are told to wait"),
    ]

    private static let times: [SettingDescriptor] = [
        one("max-wait", \.maxWait, .duration(.seconds(1)...day / 24), "Longest time a long-poll may ask to wait"),
        one(
            "request-timeout", \.requestTimeout, .duration(.milliseconds(100)...day / 24),
            "Time a client has to send a request's head, and then its body"),
        one(
            "idle-timeout", \.idleTimeout, .duration(.milliseconds(100)...day),
            "Time a connection may stay open between requests"),
        one(
            "write-timeout", \.writeTimeout, .duration(.milliseconds(100)...day),
            "Time a stalled reader is kept while none of its bytes is taken"),
        one(
            "heartbeat", \.heartbeat, .duration(.milliseconds(100)...day / 24),
            "Mean time between heartbeats of a stream"),
        one(
            "sse-retry", \.sseRetry, .duration(.zero...day / 24),
            "Time an SSE client is told to wait before it reconnects"),
        one(
            "drain-timeout", \.drainTimeout, .duration(.zero...day / 24),
            "Time that connections get to end after SIGTERM"),
    ]

    private static let publishing: [SettingDescriptor] = [
        one(
            "idempotency-window", \.idempotencyWindow, .duration(.seconds(1)...day),
            "Time in which a repeated Idempotency-Key gets the first answer"),
        one(
            "idempotency-keys", \.idempotencyKeys, .count(0...100_000),
            "Number of idempotency keys remembered; 0 remembers none"),
    ]

    private static let logging: [SettingDescriptor] = [
        one("log-format", \.logFormat, .choice, "Form of log lines"),
        one("log-level", \.logLevel, .choice, "Level from which events are logged"),
    ]
}
