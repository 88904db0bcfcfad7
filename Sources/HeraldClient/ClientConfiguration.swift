/// Settings of a client.
public struct ClientConfiguration: Sendable {
    /// Bounds on what the client keeps in memory.
    public struct Limits: Sendable, Equatable {
        /// The largest message of a stream, in bytes: one event with all that surrounds it.
        public var messageBytesMax = 4 << 20

        /// The longest line of an event stream, in bytes.
        public var lineBytesMax = 4 << 20

        /// The largest answer to a poll or another request, in bytes.
        public var answerBytesMax = 16 << 20

        /// The most events asked for in one poll.
        public var pollEventsMax = 100

        /// The most connections open at a time. Each live subscription but a WebSocket occupies one.
        public var connectionsMax = 1_024

        /// Makes the default limits.
        public init() {}
    }

    /// Bounds on what the client keeps in memory.
    public var limits = Limits()

    /// How subscriptions try again.
    public var retry = RetryPolicy()

    /// When `Transport.automatic` takes another transport.
    public var fallback = FallbackPolicy()

    /// How long connecting may take.
    ///
    /// Less than `fallback.proofTimeout`, so that a network that is down is not taken for a transport that does not
    /// get through.
    public var connectTimeout: Duration = .seconds(4)

    /// How long a request may take, from sending it to the end of its answer. Long-polls have their `wait` on top.
    public var requestTimeout: Duration = .seconds(15)

    /// How long a stream may be silent before its line counts as dead.
    ///
    /// A WebSocket server says how often it sends heartbeats; there, two and a half heartbeats are the limit when
    /// that is less.
    public var silenceMax: Duration = .seconds(75)

    /// How long a WebSocket's closing handshake may take.
    public var closeTimeout: Duration = .seconds(1)

    /// The token, or API key, that says who this client is.
    public var token = TokenSource.none

    /// How long `TokenSource.provided` may take to give a token.
    public var tokenTimeout: Duration = .seconds(15)

    /// Header fields sent with every request. A token does not belong here, but in `token`.
    public var headers: [(name: String, value: String)] = []

    /// A PEM file of the authorities whose certificates a server's may be of; nil for those that the system trusts.
    public var trustedAuthorityFile: String?

    /// Makes the default configuration.
    public init() {}
}
