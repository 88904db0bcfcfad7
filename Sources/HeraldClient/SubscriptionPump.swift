/// One way to get events: connects once, and feeds what comes until the connection ends.
protocol ReaderTransport: Sendable {
    var kind: TransportKind { get }

    /// Whether the transport's answers say by themselves where a subscription to the latest events starts.
    var namesItsStart: Bool { get }

    /// Runs one connection. Returns when the server ended it in good order.
    func run(_ lane: Lane) async throws -> StreamEnd
}

/// What is to follow the end of a connection.
enum StreamEnd: Sendable {
    case reconnect

    /// The server asked not to be called again.
    case stop
}

/// Does what a subscription's ladder decides: keeps it running over as many connections as it takes.
struct SubscriptionPump: Sendable {
    private let caller: HTTPCaller
    private let filters: [String]
    private let rungs: [any ReaderTransport]
    private let feed: ReaderFeed

    init(_ source: SubscriptionSource, into feed: ReaderFeed) {
        self.caller = source.caller
        self.filters = source.filters
        self.rungs = source.transport.ladder(source.filters, source.caller)
        self.feed = feed
    }

    /// Runs until the subscription ends, and tells the reader how it ended.
    func run() async {
        let end: HeraldError?
        if filters.isEmpty {
            end = .unusable("A subscription needs at least one filter")
        } else {
            end = await drive()
        }
        feed.finish(end.map { .failure($0) } ?? .success(()))
    }

    private func drive() async -> HeraldError? {
        let (events, inbox) = AsyncStream.makeStream(of: TransportLadder.Event.self)
        var ladder = TransportLadder(
            rungs.map(\.kind), caller.configuration, canRefreshToken: caller.tokens.canRefresh)
        var lanes: [Int: (lane: Lane, task: Task<Void, Never>)] = [:]
        var timers: [TransportLadder.Timer: Task<Void, Never>] = [:]
        let membership = caller.lifetime.enter { inbox.finish() }
        inbox.yield(.began)
        var end: HeraldError?
        // Ends without a decision when the reader's task is cancelled, or the client was shut down.
        reading: for await event in events {
            if case .ended(let lane, _) = event { lanes[lane] = nil }
            for action in ladder.take(event, at: .now, chance: .random(in: 0...1)) {
                switch action {
                case .open(let opening):
                    let lane = Lane(opening, into: feed) { inbox.yield($0) }
                    if !opening.isCandidate { await feed.activate(lane.number) }
                    lanes[opening.lane] = (lane, Task { await run(opening, lane, inbox) })
                case .promote(let lane):
                    await feed.activate(lane)
                    lanes[lane]?.lane.promote()
                case .abandon(let lane):
                    lanes[lane]?.task.cancel()
                case .start(let timer, let delay):
                    timers.updateValue(Self.timer(timer, after: delay, inbox), forKey: timer)?.cancel()
                case .stop(let timer):
                    timers.removeValue(forKey: timer)?.cancel()
                case .finish(let error):
                    end = error
                    break reading
                }
            }
        }
        if end == nil, !Task.isCancelled, caller.lifetime.isOver { end = Lifetime.over }
        caller.lifetime.leave(membership)
        for timer in timers.values { timer.cancel() }
        for (_, task) in lanes.values { task.cancel() }
        for (_, task) in lanes.values { await task.value }
        return end
    }

    private static func timer(
        _ timer: TransportLadder.Timer, after delay: Duration,
        _ inbox: AsyncStream<TransportLadder.Event>.Continuation
    ) -> Task<Void, Never> {
        Task {
            guard (try? await Task.sleep(for: delay)) != nil else { return }
            inbox.yield(.elapsed(timer))
        }
    }

    /// Runs a lane to its end.
    private func run(
        _ opening: TransportLadder.Opening, _ lane: Lane, _ inbox: AsyncStream<TransportLadder.Event>.Continuation
    ) async {
        let ending: TransportLadder.Ending
        do {
            if let state = opening.telling { try await lane.tell(state) }
            try await Task.sleep(for: opening.delay)
            // What it takes to get a token, and a start, is not held against the transport.
            _ = try await caller.tokens.current()
            let transport = rungs[opening.rung]
            if !transport.namesItsStart { try await pinStart(lane) }
            lane.dial()
            switch try await transport.run(lane) {
            case .stop: ending = .stopped
            case .reconnect: ending = .failed(lane.failure(.cut("\(caller.base.description) ended the stream")))
            }
        } catch let error as HeraldError {
            ending = .failed(lane.failure(error))
        } catch is UnfitCandidate {
            ending = .unfit
        } catch {
            // A cancellation: nobody waits for this lane any more.
            ending = .stopped
        }
        inbox.yield(.ended(lane: lane.number, ending))
    }

    /// Turns a start at the latest event into a cursor.
    ///
    /// Without it a stream that is cut before its first event or heartbeat would start at the latest event once more,
    /// and what was published in between would be lost in silence.
    private func pinStart(_ lane: Lane) async throws {
        guard await lane.position == .latest else { return }
        let poll = PollTransport(caller: caller, filters: filters, pace: .every(.zero))
        let start = try await poll.cursorOfLatest()
        try await lane.take([.pinned(start)])
    }
}
