import AsyncHTTPClient
import NIOCore

/// Reads events by repeated requests, held by the server or not.
struct PollTransport: ReaderTransport {
    /// When the next request follows an answer that was not full.
    enum Pace: Sendable, Equatable {
        /// At once: the server holds each request for this long.
        case held(Duration)

        /// After this interval.
        case every(Duration)
    }

    let caller: HTTPCaller
    let filters: [String]
    let pace: Pace

    /// Whether the first request is not held, to show that answers come at all.
    var beginsUnheld = false

    let namesItsStart = false

    var kind: TransportKind { isHeld ? .longPoll : .shortPoll }

    /// Pause after an empty answer that came at once though it should have been held: something between here and the
    /// server does not hold requests, and must not be asked in a tight loop.
    private static let unheldPause: Duration = .seconds(1)

    /// A server adds no event past 1 MiB. What is larger than this may lack one that had no room.
    private static let unfilledBytesMax = 1 << 19

    func run(_ lane: Lane) async throws -> StreamEnd {
        var isConnected = false
        var eventsMax = caller.configuration.limits.pollEventsMax
        var tag: (position: Position, value: String)?
        while true {
            let position = await lane.position
            let known = tag.flatMap { $0.position == position ? $0.value : nil }
            let isTrial = beginsUnheld && !isConnected
            let began = ContinuousClock.now
            let answer: CollectedAnswer
            do {
                let request = request(from: position, eventsMax, known, isHeld: isHeld && !isTrial)
                answer = try await ask(request, within: isTrial ? nil : deadline, isFirst: !isConnected)
            } catch HeraldError.tooLarge where eventsMax > 1 {
                // Fewer events at a time may fit; a single one that does not never will.
                eventsMax /= 2
                continue
            }
            guard answer.status == 200 || answer.status == 304 else { throw HeraldError.problem(Problem(answer)) }
            var signals: [Signal] = isConnected ? [] : [.connection(.connected(over: kind))]
            isConnected = true
            guard answer.status == 200 else {
                if !signals.isEmpty { try await lane.take(signals) }
                try await pause(since: began)
                continue
            }
            let poll = try PollAnswer(json: answer.body)
            signals += try Self.signals(of: poll)
            // What came without being held says nothing of how requests fare that are.
            try await lane.take(signals, isProgress: !isTrial)
            tag = answer.headers.first(name: "ETag").map { (.after(poll.next), $0) }
            // A full answer means that more may be waiting; a held request needs no pause after any event.
            let isFull = poll.events.count >= eventsMax || answer.body.count > Self.unfilledBytesMax
            if !isTrial, isHeld ? poll.events.isEmpty : !isFull { try await pause(since: began) }
        }
    }

    /// Sends a request. Whose token the first one shows is not accepted connects again, with another; later ones go on.
    private func ask(
        _ request: HTTPClientRequest, within time: Duration?, isFirst: Bool
    ) async throws -> CollectedAnswer {
        guard isFirst else { return try await caller.collect(request, within: time) }
        return try await caller.showingToken { token in
            let answer = try await caller.collect(request, with: token, within: time)
            guard answer.status != 401 else { throw HeraldError.problem(Problem(answer)) }
            return answer
        }
    }

    /// Asks where the latest event stands, without reading any.
    func cursorOfLatest() async throws -> Cursor {
        let answer = try await caller.success(request(from: .latest, 1, nil, isHeld: false))
        return try PollAnswer(json: answer.body).next
    }

    /// The signals that an answer amounts to: first what became of the resume, then the events, then where they end.
    static func signals(of answer: PollAnswer) throws(HeraldError) -> [Signal] {
        let outcome = try answer.outcome.map { message throws(HeraldError) in try Signal.signals(of: message) }
        return (outcome ?? []) + answer.events.map { .event($0) } + [.moved(answer.next)]
    }

    private var isHeld: Bool {
        if case .held = pace { return true }
        return false
    }

    private var deadline: Duration {
        if case .held(let wait) = pace { return wait + caller.configuration.requestTimeout }
        return caller.configuration.requestTimeout
    }

    private func request(
        from position: Position, _ eventsMax: Int, _ tag: String?, isHeld: Bool
    ) -> HTTPClientRequest {
        var query = filters.map { ("topic", $0) }
        query.append(("after", position.description))
        query.append(("max", "\(eventsMax)"))
        if isHeld, case .held(let wait) = pace { query.append(("wait", "\(max(wait.components.seconds, 1))")) }
        var request = caller.request(.GET, "/v1/events", query: query)
        request.headers.add(name: "Accept", value: "application/json")
        if let tag { request.headers.add(name: "If-None-Match", value: tag) }
        return request
    }

    private func pause(since began: ContinuousClock.Instant) async throws {
        switch pace {
        case .every(let interval):
            try await Task.sleep(for: interval)
        case .held:
            if ContinuousClock.now - began < Self.unheldPause { try await Task.sleep(for: Self.unheldPause) }
        }
    }
}
