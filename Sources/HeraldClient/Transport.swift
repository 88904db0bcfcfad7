/// How a subscription gets its events.
public enum Transport: Sendable, Equatable {
    /// The best that works here: a WebSocket, else Server-Sent Events, else long-polls, else short-polls.
    ///
    /// A transport works if bytes of the server come through it in time. What refuses it, cuts it, or takes it and
    /// holds its bytes back, as some proxies do, makes the subscription fall to the next one. Later it climbs back,
    /// without losing or repeating an event. `ClientConfiguration.fallback` has the times.
    case automatic

    /// A WebSocket.
    case webSocket

    /// Server-Sent Events.
    case serverSentEvents

    /// A stream of events, each a line of JSON.
    case ndjson

    /// Requests that the server holds until there are events, or until `wait` has passed.
    case longPoll(wait: Duration = .seconds(30))

    /// Requests that are answered at once, repeated after `interval` when there was nothing more to get.
    case shortPoll(interval: Duration = .seconds(5))
}

/// The transports by name, as a subscription tells which one it uses.
public enum TransportKind: Sendable, Hashable, CaseIterable {
    /// A WebSocket.
    case webSocket

    /// Server-Sent Events.
    case serverSentEvents

    /// A stream of JSON lines.
    case ndjson

    /// Requests that the server holds.
    case longPoll

    /// Requests that are answered at once.
    case shortPoll
}

extension TransportKind: CustomStringConvertible {
    /// The transport's name for people.
    public var description: String {
        switch self {
        case .webSocket: "WebSocket"
        case .serverSentEvents: "Server-Sent Events"
        case .ndjson: "NDJSON"
        case .longPoll: "long-poll"
        case .shortPoll: "short-poll"
        }
    }
}

/// When `Transport.automatic` takes another transport.
public struct FallbackPolicy: Sendable, Equatable {
    /// How long a transport has to prove that bytes of the server come through, from connecting on.
    public var proofTimeout: Duration = .seconds(5)

    /// How often in a row a transport that has worked before may fail before the next one is tried, at least once.
    ///
    /// One that has never worked is not tried again before the next one. Where nothing can be connected to, no
    /// failure counts: another transport would do no better.
    public var failuresMax = 2

    /// How long after a fall the better transports are tried again; at least 10 ms. Doubles each time that is in vain.
    public var climbDelay: Duration = .seconds(60)

    /// What the time to the next climb is bounded by.
    public var climbDelayMax: Duration = .seconds(3_600)

    /// How long the server may hold a long-poll.
    public var longPollWait: Duration = .seconds(30)

    /// The time between short-polls.
    public var shortPollInterval: Duration = .seconds(5)

    /// Makes the default policy.
    public init() {}
}

extension Transport {
    /// The transports to choose from, the best first.
    func ladder(_ filters: [String], _ caller: HTTPCaller) -> [any ReaderTransport] {
        switch self {
        case .webSocket: [WebSocketTransport(caller: caller, filters: filters)]
        case .serverSentEvents: [SSETransport(caller: caller, filters: filters)]
        case .ndjson: [NDJSONTransport(caller: caller, filters: filters)]
        case .longPoll(let wait): [PollTransport(caller: caller, filters: filters, pace: .held(wait))]
        case .shortPoll(let interval): [PollTransport(caller: caller, filters: filters, pace: .every(interval))]
        case .automatic: Self.all(filters, caller)
        }
    }

    private static func all(_ filters: [String], _ caller: HTTPCaller) -> [any ReaderTransport] {
        let policy = caller.configuration.fallback
        return [
            WebSocketTransport(caller: caller, filters: filters),
            SSETransport(caller: caller, filters: filters),
            // Its first answer is to prove that answers come, so it must not be held.
            PollTransport(caller: caller, filters: filters, pace: .held(policy.longPollWait), beginsUnheld: true),
            PollTransport(caller: caller, filters: filters, pace: .every(policy.shortPollInterval)),
        ]
    }
}
