import Synchronization

/// A candidate is no good now: it would begin with a gap or a reset.
struct UnfitCandidate: Error {}

/// One connection, or series of polls, as a way into a subscription's feed.
///
/// Thread: that of the transport's task, but for `promote`, which the pump calls.
final class Lane: Sendable {
    private struct State {
        var hasProgress = false
        var requestedDelay: Duration = .zero

        /// What came before the candidate was proven; nil for the reader's own lane.
        var held: [Signal]?
    }

    let number: Int
    private let feed: ReaderFeed
    private let state: Mutex<State>
    private let latch = Latch()
    private let report: @Sendable (TransportLadder.Event) -> Void

    init(
        _ opening: TransportLadder.Opening, into feed: ReaderFeed,
        _ report: @escaping @Sendable (TransportLadder.Event) -> Void
    ) {
        self.number = opening.lane
        self.feed = feed
        self.state = Mutex(State(held: opening.isCandidate ? [] : nil))
        self.report = report
    }

    /// Where the connection is to start.
    var position: Position {
        get async { await feed.position }
    }

    /// Why the lane failed, and what it had been good for.
    func failure(_ error: HeraldError) -> TransportLadder.Failure {
        state.withLock { state in
            var requestedDelay = state.requestedDelay
            if case .problem(let problem) = error, let delay = problem.retryAfter {
                requestedDelay = max(requestedDelay, delay)
            }
            return TransportLadder.Failure(
                error: error, hadProgress: state.hasProgress, requestedDelay: requestedDelay)
        }
    }

    /// Keeps how long the server asks to wait before the next connection.
    func setReconnectionTime(_ time: Duration) {
        state.withLock { $0.requestedDelay = time }
    }

    /// Says that the lane begins to connect.
    func dial() { report(.dialing(lane: number)) }

    /// Tells the reader something about the connection. Waits while it has not taken what came before.
    func tell(_ connection: ConnectionState) async throws {
        try await feed.take([.connection(connection)], from: number)
    }

    /// Takes signals in their order. Waits while the reader has not taken what came before; a candidate waits also
    /// until it has been promoted.
    func take(_ signals: [Signal], isProgress: Bool = true) async throws {
        guard let signals = try await passed(signals) else { return }
        if isProgress, signals.contains(where: \.isProgress) { state.withLock { $0.hasProgress = true } }
        try await feed.take(signals, from: number)
    }

    /// Lets a candidate be the reader's lane.
    func promote() { latch.open() }

    /// Gives what may go on to the feed; nil while a candidate has not proven itself.
    private func passed(_ signals: [Signal]) async throws -> [Signal]? {
        guard let held = state.withLock({ $0.held }) else {
            if signals.contains(where: \.isConnection) { report(.proven(lane: number)) }
            return signals
        }
        let all = held + signals
        state.withLock { $0.held = all }
        guard !all.contains(where: \.isLoss) else { throw UnfitCandidate() }
        // Whoever gives an id is told what became of it before the first event; without one there is nothing to wait
        // for.
        var isAnswered = all.contains { $0 == .resumed || $0.isProgress }
        if case .after = await position {} else { isAnswered = true }
        guard isAnswered, all.contains(where: \.isConnection) else { return nil }
        report(.proven(lane: number))
        try await latch.wait()
        state.withLock { $0.held = nil }
        // That nothing is missing goes without saying: the reader was never cut off.
        return all.filter { $0 != .resumed }
    }
}

extension Signal {
    /// Whether it shows a working subscription, not just a connection.
    var isProgress: Bool {
        switch self {
        case .event, .moved: true
        default: false
        }
    }

    /// Whether it says that the server's bytes come through.
    fileprivate var isConnection: Bool {
        if case .connection(.connected) = self { return true }
        return false
    }

    fileprivate var isLoss: Bool {
        switch self {
        case .gap, .reset: true
        default: false
        }
    }
}
