/// One way to get events: connects once, and feeds what comes until the connection ends.
protocol ReaderTransport: Sendable {
    /// Whether the transport's answers say by themselves where a subscription to the latest events starts.
    var namesItsStart: Bool { get }

    /// Runs one connection. Returns when the server ended it in good order.
    func run(_ feed: ReaderFeed) async throws -> StreamEnd
}

/// What is to follow the end of a connection.
enum StreamEnd: Sendable {
    case reconnect

    /// The server asked not to be called again.
    case stop
}

/// Takes the signals of a subscription's connections and hands on what the reader is to see.
///
/// There is one producer at a time; the actor only makes that safe to state.
actor ReaderFeed {
    private var state: ReaderState
    private let handoff: Handoff<[Handed]>

    /// The delay that the server asked for in its stream.
    private(set) var reconnectionTime: Duration = .zero

    init(_ position: Position, _ handoff: Handoff<[Handed]>) {
        self.state = ReaderState(position: position)
        self.handoff = handoff
    }

    /// Where the next connection is to start.
    var position: Position { state.position }

    /// Takes signals in their order. Waits while the reader has not taken what came before.
    func take(_ signals: [Signal]) async throws {
        let handed = state.take(signals)
        if !handed.isEmpty { try await handoff.send(handed) }
    }

    func setReconnectionTime(_ time: Duration) { reconnectionTime = time }

    func takeProgress() -> Bool { state.takeProgress() }

    nonisolated func finish(_ end: Result<Void, any Error>) { handoff.finish(end) }
}

/// Keeps a subscription running over as many connections as it takes.
struct SubscriptionPump: Sendable {
    private let caller: HTTPCaller
    private let filters: [String]
    private let transport: any ReaderTransport
    private let feed: ReaderFeed

    init(_ subscription: Subscription, into feed: ReaderFeed) {
        self.caller = subscription.caller
        self.filters = subscription.filters
        self.feed = feed
        self.transport =
            switch subscription.transport {
            case .webSocket: WebSocketTransport(caller: caller, filters: filters)
            case .serverSentEvents: SSETransport(caller: caller, filters: filters)
            case .ndjson: NDJSONTransport(caller: caller, filters: filters)
            case .longPoll(let wait): PollTransport(caller: caller, filters: filters, pace: .held(wait))
            case .shortPoll(let interval): PollTransport(caller: caller, filters: filters, pace: .every(interval))
            }
    }

    /// Runs until the subscription ends, and tells the reader how it ended.
    func run() async {
        do {
            try await connectAgainAndAgain()
            feed.finish(.success(()))
        } catch {
            feed.finish(Task.isCancelled || error is CancellationError ? .success(()) : .failure(error))
        }
    }

    private func connectAgainAndAgain() async throws {
        guard !filters.isEmpty else { throw HeraldError.unusable("A subscription needs at least one filter") }
        var backoff = Backoff(caller.configuration.retry)
        while true {
            let failure: HeraldError
            do {
                try await pinStart()
                if case .stop = try await transport.run(feed) { return }
                failure = .cut("\(caller.base.description) ended the stream")
            } catch let error as HeraldError where error.isTransient {
                failure = error
            }
            try Task.checkCancellation()
            if await feed.takeProgress() { backoff.reset() }
            let floor = await max(failure.requestedDelay, feed.reconnectionTime)
            guard let delay = backoff.next(atLeast: floor, chance: .random(in: 0...1)) else {
                throw HeraldError.gaveUp(attempts: backoff.attempts, reason: failure.description)
            }
            try await feed.take([.waiting(delay: delay, reason: failure.description)])
            try await Task.sleep(for: delay)
        }
    }

    /// Turns a start at the latest event into a cursor.
    ///
    /// Without it a stream that is cut before its first event or heartbeat would start at the latest event once more,
    /// and what was published in between would be lost in silence.
    private func pinStart() async throws {
        guard !transport.namesItsStart, await feed.position == .latest else { return }
        let poll = PollTransport(caller: caller, filters: filters, pace: .every(.zero))
        let start = try await poll.cursorOfLatest()
        try await feed.take([.pinned(start)])
    }
}

extension HeraldError {
    /// How long the server asked to wait.
    fileprivate var requestedDelay: Duration {
        if case .problem(let problem) = self, let delay = problem.retryAfter { return delay }
        return .zero
    }
}
