import Synchronization
import Testing

@testable import HeraldClient

/// A feed without connections: the test is the lanes, the pump and the reader.
@Suite(.timeLimit(.minutes(1))) struct ReaderFeedTests {
    private let handoff = Handoff<[Handed]>()
    private let feed: ReaderFeed
    private let start = Cursor(epoch: 0x5f3a9c1e, sequence: 0)

    init() { feed = ReaderFeed(.after(start), handoff) }

    private func events(_ sequences: ClosedRange<Int>) throws -> [Signal] {
        try sequences.map { .event(try Event(json: Array(eventJSON($0).utf8))) }
    }

    private func next() async throws -> [String] {
        try await handoff.next()?.compactMap { $0.delivery.map(brief) } ?? []
    }

    private func lane(_ number: Int, isCandidate: Bool = false, _ report: Reports = Reports()) -> Lane {
        Lane(.init(lane: number, rung: 0, isCandidate: isCandidate), into: feed) { report.add($0) }
    }

    /// What lanes have said to their pump.
    private final class Reports: Sendable {
        private let events = Mutex<[TransportLadder.Event]>([])

        var all: [TransportLadder.Event] { events.withLock { $0 } }

        func add(_ event: TransportLadder.Event) { events.withLock { $0.append(event) } }
    }

    private let connected = Signal.connection(.connected(over: .webSocket))
    private let gap = Gap(
        topic: "**", from: Cursor(epoch: 0x5f3a9c1e, sequence: 1), to: Cursor(epoch: 0x5f3a9c1e, sequence: 9),
        reason: .evicted)

    @Test func `what a lane could not hand on before it ended was not read`() async throws {
        await feed.activate(1)
        try await feed.take(try events(1...2), from: 1)
        let waiting = try events(3...4)
        let stuck = Task { try await feed.take(waiting, from: 1) }
        stuck.cancel()
        await #expect(throws: CancellationError.self) { try await stuck.value }
        #expect(await feed.position == .after(Cursor(epoch: 0x5f3a9c1e, sequence: 2)))
        await feed.activate(2)
        #expect(try await next() == ["1", "2"])
        try await feed.take(try events(2...5), from: 2)
        #expect(try await next() == ["3", "4", "5"])
    }

    @Test func `a lane that waits when another takes its place hands on nothing more`() async throws {
        await feed.activate(1)
        try await feed.take(try events(1...1), from: 1)
        let waiting = try events(2...9)
        let late = Task { try await feed.take(waiting, from: 1) }
        await feed.activate(2)
        let other = Task { try await feed.take(waiting, from: 2) }
        #expect(try await next() == ["1"])
        try await other.value
        #expect(try await next() == (2...9).map { "\($0)" })
        await #expect(throws: CancellationError.self) { try await late.value }
    }

    @Test func `a candidate says that it is proven and waits, and takes over where the reader stands`() async throws {
        await feed.activate(1)
        let reports = Reports()
        let candidate = lane(2, isCandidate: true, reports)
        try await candidate.take([connected])
        #expect(reports.all.isEmpty, "nobody knows yet how it begins")
        let first = try events(1...4)
        let taking = Task { try await candidate.take([.resumed] + first) }
        while reports.all.isEmpty { await Task.yield() }
        #expect(reports.all == [.proven(lane: 2)])
        // The lane that runs goes on meanwhile.
        try await feed.take(try events(1...3), from: 1)
        #expect(try await next() == ["1", "2", "3"])
        await feed.activate(2)
        candidate.promote()
        try await taking.value
        #expect(try await next() == ["connected", "4"])
        let rest = try events(4...4)
        await #expect(throws: CancellationError.self) { try await feed.take(rest, from: 1) }
    }

    @Test func `a candidate that is not wanted any more has handed on nothing`() async throws {
        await feed.activate(1)
        let reports = Reports()
        let candidate = lane(2, isCandidate: true, reports)
        let first = try events(1...4)
        let taking = Task { try await candidate.take([connected, .resumed] + first) }
        while reports.all.isEmpty { await Task.yield() }
        taking.cancel()
        await #expect(throws: CancellationError.self) { try await taking.value }
        #expect(await feed.position == .after(start))
    }

    @Test func `a candidate that begins with a gap or a reset is unfit`() async throws {
        await feed.activate(1)
        for loss in [Signal.gap(gap), .reset(gap)] {
            let candidate = lane(2, isCandidate: true)
            try await candidate.take([connected])
            await #expect(throws: UnfitCandidate.self) { try await candidate.take([loss]) }
        }
    }

    @Test func `progress is an event or a heartbeat, not a connection alone`() async throws {
        await feed.activate(1)
        let lane = lane(1)
        try await lane.take([connected])
        #expect(!lane.failure(.cut("x")).hadProgress)
        #expect(try await next() == ["connected"])
        try await lane.take([.moved(start)], isProgress: false)
        #expect(!lane.failure(.cut("x")).hadProgress)
        try await lane.take([.moved(start)])
        #expect(lane.failure(.cut("x")).hadProgress)
    }

    @Test func `the longer of the times that the server asks for counts`() {
        let lane = lane(1)
        lane.setReconnectionTime(.seconds(3))
        #expect(lane.failure(.cut("x")).requestedDelay == .seconds(3))
        var problem = Problem(type: "/problems/draining", title: "x", status: 503)
        problem.retryAfter = .seconds(7)
        #expect(lane.failure(.problem(problem)).requestedDelay == .seconds(7))
    }
}
