import NIOCore

/// What the readers of a measurement have asked for and got, up to a moment.
struct Counts: Sendable, Equatable {
    /// Requests for events, other than those that begin a stream.
    var requests = 0

    /// Answers with at least one event.
    var fullAnswers = 0

    /// Answers of status 200 without an event.
    var emptyAnswers = 0

    /// Answers of status 304.
    var unchangedAnswers = 0

    /// Connections that were opened anew because the server had closed them between two requests.
    var reconnections = 0

    /// Events that a reader got for the first time.
    var deliveries = 0

    /// Bytes that were read from the sockets.
    var bytesReceived = 0

    /// Bytes that were written to the sockets.
    var bytesSent = 0

    /// What was counted between two moments.
    static func - (later: Counts, earlier: Counts) -> Counts {
        Counts(
            requests: later.requests - earlier.requests, fullAnswers: later.fullAnswers - earlier.fullAnswers,
            emptyAnswers: later.emptyAnswers - earlier.emptyAnswers,
            unchangedAnswers: later.unchangedAnswers - earlier.unchangedAnswers,
            reconnections: later.reconnections - earlier.reconnections,
            deliveries: later.deliveries - earlier.deliveries,
            bytesReceived: later.bytesReceived - earlier.bytesReceived,
            bytesSent: later.bytesSent - earlier.bytesSent)
    }
}

/// What a measurement counts: the readers, the wire and the publisher write it down as things happen.
///
/// Thread: the loop's of the measurement alone.
final class Ledger {
    let schedule: Schedule
    let readers: Int

    /// When the warm-up began; nothing is due before it is set.
    var start: NIODeadline?

    var counts = Counts()
    private(set) var latencies = LatencyHistogram()
    private(set) var repeated = 0

    /// Events whose publication was answered.
    private(set) var published = 0

    /// The longest time by which an event was sent later than it was due.
    private(set) var latenessMax: TimeAmount = .zero

    private var receipts: Receipts
    private let onFailure: (any Error) -> Void
    private var isClosed = false

    /// Makes an empty ledger. The first failure is told to the closure, and no other.
    init(schedule: Schedule, readers: Int, onFailure: @escaping (any Error) -> Void) {
        self.schedule = schedule
        self.readers = readers
        self.receipts = Receipts(readers: readers, events: schedule.count)
        self.onFailure = onFailure
    }

    /// When an event is due; nil before the warm-up has begun.
    func due(_ event: Int) -> NIODeadline? { start.map { $0 + schedule.due(event) } }

    /// Notes that a reader has got an event.
    func receive(_ event: Int, by reader: Int, at time: NIODeadline) {
        guard event < schedule.count, let due = due(event) else {
            fail(BenchFault("a reader got event \(event), which was not published"))
            return
        }
        guard receipts.note(event, by: reader) else {
            repeated += 1
            return
        }
        counts.deliveries += 1
        if event >= schedule.firstMeasured { latencies.add(UInt64(max((time - due).nanoseconds, 0))) }
    }

    /// Notes that an event is sent to the server now.
    func send(_ event: Int, at time: NIODeadline) {
        if let due = due(event) { latenessMax = max(latenessMax, time - due) }
    }

    /// Notes that the publication of an event was answered.
    func acknowledge() { published += 1 }

    /// The events that readers did not get, each counted for every reader that lacks it.
    var lost: Int { readers * published - counts.deliveries }

    /// Whether every reader has every event, and the publisher every answer.
    var isComplete: Bool { published == schedule.count && lost == 0 }

    /// Ends the measurement, because it cannot be what it is to be any more.
    func fail(_ error: any Error) {
        guard !isClosed else { return }
        isClosed = true
        onFailure(error)
    }

    /// Takes no failure any more: what ends now is meant to.
    func close() { isClosed = true }
}

/// Why a measurement or the whole run came to nothing.
public struct BenchFault: Error, Sendable, Equatable, CustomStringConvertible {
    /// What happened, without a full stop.
    public let description: String

    /// Makes a fault.
    public init(_ description: String) { self.description = description }
}
