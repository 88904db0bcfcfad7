import FoundationEssentials
import HeraldCore
import Logging

/// Everything that can be set about a server, with its defaults.
///
/// The bounds named here are enforced where settings are read (`SettingDescriptor`), not by this type.
public struct ServerSettings: Sendable, Equatable {
    // MARK: Listening

    /// The address to serve HTTP on; port 0 lets the system choose. Default `127.0.0.1:8080`.
    public var listen = ListenAddress.loopback(port: 8080)

    /// The number of event loops, each a thread. Default the number of processors, 1 to 1,024.
    public var loops = ServerSettings.processorCount

    /// Whether events are sent by io_uring where the kernel has it. Default true.
    public var ioUring = true

    /// Whether anybody who can reach the server may publish and subscribe. Default false.
    ///
    /// Without it only loopback addresses are listened on while no authentication is configured.
    public var allowAnonymous = false

    /// The path that answers WebSocket messages with themselves, for conformance suites. Default none.
    public var echoPath: String?

    // MARK: Browsers

    /// The origins whose pages may use the API, besides the server's own. Default none, at most 1,000.
    public var allowedOrigins: [AllowedOrigin] = []

    /// Whether such pages may send cookies and client certificates. Default false.
    public var allowCredentials = false

    /// The time for which browsers that have come by HTTPS come by nothing else. Default 0 (not said), 0 to 730 days.
    public var hsts: Duration = .zero

    // MARK: TLS

    /// The address to serve HTTPS on; port 0 lets the system choose. Default none.
    public var tlsListen: ListenAddress?

    /// The PEM files of certificates with their chains; the first serves clients that name no server. Default none.
    public var tlsCertificates: [String] = []

    /// The PEM files of their keys, in the same order. Default none.
    public var tlsKeys: [String] = []

    /// The PEM file of the authorities one of which clients must have a certificate of. Default none.
    public var tlsClientCA: String?

    /// The oldest version of TLS that is spoken. Default 1.2.
    public var tlsMinVersion: TLSVersion = .tls12

    /// The number of handshakes a loop goes on with before its other connections have their turn. Default 4, 1 to 1,000.
    public var tlsHandshakes = 4

    // MARK: Access

    /// The file of the secret that tokens are signed with (HS256, HS384, HS512). Default none.
    public var tokenSecretFile: String?

    /// The files of public keys that tokens are checked with: PEM, or JSON Web Key Sets. Default none.
    public var tokenKeyFiles: [String] = []

    /// The URL of a JSON Web Key Set that tokens are checked with. Default none.
    public var tokenJWKS: String?

    /// The longest time between two fetches of that key set. Default 5 minutes, 10 seconds to 1 day.
    public var tokenJWKSRefresh: Duration = .seconds(300)

    /// What clocks may differ by when a token's dates are checked. Default 0, to 5 minutes.
    public var tokenLeeway: Duration = .zero

    /// Who must have issued a token (`iss`). Default anybody who has the key.
    public var tokenIssuer: String?

    /// For whom a token must be (`aud`). Default anybody.
    public var tokenAudience: String?

    /// The number of checked tokens that are remembered. Default 10,000, 0 (none) to 1,000,000.
    public var tokenCache = 10_000

    /// The YAML file of API keys. Default none.
    public var apiKeyFile: String?

    /// The filters of topics that whoever shows no token may publish to. Default none; `allow-anonymous` is all.
    public var anonymousPublish: [String] = []

    /// The filters that whoever shows no token may subscribe to. Default none; `allow-anonymous` is all.
    public var anonymousSubscribe: [String] = []

    /// The cookie that a browser's token may be in. Default `herald_token`.
    public var tokenCookie = "herald_token"

    /// How long before its token runs out a stream is told. Default 1 minute, 0 to 1 day.
    public var tokenWarning: Duration = .seconds(60)

    /// The number of tokens that are checked at a time; remembered ones are not. Default 1,000, 1 to 1,000,000.
    public var tokenChecks = 1000

    /// The number of revocations. Default 100,000, 0 to 10,000,000.
    public var maxRevocations = 100_000

    /// How long a revocation is kept, which is the longest that a token may live. Default 1 day, 1 minute to 365 days.
    public var revocationKeep: Duration = .seconds(86_400)

    /// The file in which revocations outlive the server. Default none.
    public var revocationFile: String?

    // MARK: Compression

    /// Whether clients that ask for compressed events get them. Default true.
    public var compression = true

    /// The bytes from which on an event is compressed for those who ask for it. Default 256, 0 (all) to 1 GiB.
    public var compressionMin = 256

    // MARK: Retention

    /// The number of events each topic keeps for replay. Default 1,000, 1 to 100,000,000.
    public var retainEvents = 1000

    /// The bytes of events each topic keeps for replay. Default 64 MiB, 1 KiB to 1 TiB.
    public var retainBytes = 64 << 20

    /// The time each topic keeps an event for replay. Default 1 hour, 1 second to 365 days.
    public var retainAge: Duration = .seconds(3600)

    /// The bytes of events kept over all topics. Default 1 GiB, 1 MiB to 16 TiB.
    public var memoryLimit = 1 << 30

    /// The time after which an empty topic that nobody uses is forgotten. Default 5 minutes, 100 ms to 365 days.
    public var topicIdle: Duration = .seconds(300)

    /// Exceptions for topics that match a filter; the first that matches counts. Default none.
    public var rules: [RetentionRule] = []

    // MARK: Limits

    /// The number of topics. Default 100,000, 1 to 100,000,000.
    public var maxTopics = 100_000

    /// The number of different filters over all subscribers. Default 100,000, 1 to 100,000,000.
    public var maxFilters = 100_000

    /// The number of filters of one connection. Default 64, 1 to 10,000.
    public var maxFiltersPerConnection = 64

    /// The number of connections. Default 100,000, 1 to 10,000,000.
    public var maxConnections = 100_000

    /// The bytes of a request's body. Default 1 MiB, 1 byte to 1 GiB.
    public var maxBody = 1 << 20

    /// The bytes of a request's line and headers. Default 16 KiB, 512 bytes to 1 MiB.
    public var maxHead = 16 << 10

    /// The bytes of a WebSocket message from a client. Default 1 MiB, 125 bytes to 1 GiB.
    ///
    /// The lower bound is the longest payload of a control frame (RFC 6455 §5.5).
    public var maxMessage = 1 << 20

    /// The number of streams of an HTTP/2 connection at a time. Default 256, 1 to 10,000.
    public var maxHTTP2Streams = 256

    /// The number of frames that only make work (resets, pings, settings, priorities, empty data) which an HTTP/2 client
    /// may send at once; a tenth of it comes back each second. Default 1,000, 10 to 1,000,000.
    public var http2FrameAllowance = 1000

    /// The number of events in one publish request. Default 1,000, 1 to 100,000.
    public var maxBatch = 1000

    // MARK: Crowds

    /// The addresses of proxies whose word about their clients is taken. Default none.
    public var trustedProxies: [IPRange] = []

    /// The header in which they say whose requests they pass on. Default none.
    public var forwardedHeader: ForwardedHeader = .none

    /// The number of connections and HTTP/2 streams of one address, of IPv6 a /64; behind a trusted proxy of streams and
    /// held polls, by the client's address. Default 0 (no limit), 0 to 10,000,000.
    public var maxConnectionsPerAddress = 0

    /// The number of streams and WebSockets that may begin in a second. Default 0 (no limit), 0 to 1,000,000.
    public var handshakeRate = 0

    /// The number of events that one publisher may publish in a second. Default 0 (no limit), 0 to 10,000,000.
    public var publishRate = 0

    /// The number of events that a publisher who has been quiet may publish at once. Default as many as in a second, 1 to
    /// 10,000,000.
    public var publishBurst: Int?

    /// The longest time that those who are refused are told to wait, each by itself, in whole seconds. Default 5 seconds,
    /// 1 second to 1 hour.
    public var retryAfter: Duration = .seconds(5)

    // MARK: Times

    /// The longest time a long-poll may ask to wait. Default 5 minutes, 1 second to 1 hour.
    public var maxWait: Duration = .seconds(300)

    /// The time a client has to send a request's head, and then its body. Default 10 seconds, 100 ms to 1 hour.
    public var requestTimeout: Duration = .seconds(10)

    /// The time a connection may stay open between requests. Default 75 seconds, 100 ms to 1 day.
    public var idleTimeout: Duration = .seconds(75)

    /// The time a stalled reader is kept while none of its bytes is taken. Default 5 minutes, 100 ms to 1 day.
    public var writeTimeout: Duration = .seconds(300)

    /// The mean time between heartbeats of a stream, each up to 20 % off. Default 25 seconds, 100 ms to 1 hour.
    public var heartbeat: Duration = .seconds(25)

    /// The time an SSE client is told to wait before it reconnects. Default 2 seconds, 0 to 1 hour.
    public var sseRetry: Duration = .seconds(2)

    /// The time that connections get to end after SIGTERM. Default 10 seconds, 0 to 1 hour.
    public var drainTimeout: Duration = .seconds(10)

    // MARK: Publishing

    /// The time in which a repeated `Idempotency-Key` gets the first answer. Default 10 minutes, 1 second to 1 day.
    public var idempotencyWindow: Duration = .seconds(600)

    /// The number of idempotency keys remembered. Default 100,000, 0 (none) to 100,000.
    public var idempotencyKeys = 100_000

    // MARK: Logging

    /// A version of TLS.
    public enum TLSVersion: String, Sendable, Hashable, CaseIterable {
        /// RFC 5246
        case tls12 = "1.2"
        /// RFC 8446
        case tls13 = "1.3"
    }

    /// The form of log lines. Default text.
    public var logFormat: LogFormat = .text

    /// The level from which events are logged. Default info.
    public var logLevel: Logger.Level = .info

    /// Whether clients can show who they are: by tokens, or by API keys.
    public var isAuthenticationConfigured: Bool { areTokensConfigured || apiKeyFile != nil }

    /// Whether clients are asked who they are: there is something to tell them apart by, or something that is not for
    /// everybody.
    public var isAccessControlled: Bool {
        isAuthenticationConfigured || !anonymousPublish.isEmpty || !anonymousSubscribe.isEmpty
    }

    /// Whether there are keys to check tokens with.
    public var areTokensConfigured: Bool { tokenSecretFile != nil || !tokenKeyFiles.isEmpty || tokenJWKS != nil }

    /// Makes settings that all have their defaults.
    public init() {}

    /// The number of processors this process may run on, as a number of loops.
    static var processorCount: Int {
        min(max(ProcessInfo.processInfo.activeProcessorCount, 1), 1024)
    }
}

/// What topics that match a filter do otherwise than the rest; what is nil stays as for the rest.
public struct RetentionRule: Sendable, Hashable {
    /// The topics it is for.
    public var filter: String

    /// The number of events each topic keeps for replay, bounded as ``ServerSettings/retainEvents``.
    public var retainEvents: Int?

    /// The bytes of events each topic keeps for replay, bounded as ``ServerSettings/retainBytes``.
    public var retainBytes: Int?

    /// The time each topic keeps an event for replay, bounded as ``ServerSettings/retainAge``.
    public var retainAge: Duration?

    /// What happens to a reader that the topic's events have overtaken. Default gap.
    public var slowReader: SlowReaderPolicy?

    /// Makes a rule for the topics that match a filter.
    public init(
        filter: String,
        retainEvents: Int? = nil,
        retainBytes: Int? = nil,
        retainAge: Duration? = nil,
        slowReader: SlowReaderPolicy? = nil
    ) {
        self.filter = filter
        self.retainEvents = retainEvents
        self.retainBytes = retainBytes
        self.retainAge = retainAge
        self.slowReader = slowReader
    }
}

/// What happens to a reader that is too slow for its topics.
public enum SlowReaderPolicy: String, Sendable, Hashable, CaseIterable {
    /// It is told what it missed and goes on from the oldest event kept.
    case gap
    /// Its connection is closed.
    case disconnect
    /// It skips to the newest event and is told what it missed.
    case latest
}

/// The form of log lines.
public enum LogFormat: String, Sendable, Hashable, CaseIterable {
    /// One line for people: time, level, message, key=value.
    case text
    /// One JSON object a line.
    case json
}
