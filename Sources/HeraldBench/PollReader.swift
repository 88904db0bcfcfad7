import NIOCore
import NIOHTTP1

/// Reads by requests, one after the other on one connection; held by the server or not.
///
/// A short poll comes when its interval has passed since the one before was due, whatever that one took; the readers of
/// a measurement are spread evenly over the interval, as clients that do not know each other are. As long as nothing
/// comes it is the same request again with the ETag of the last answer, so that the server may answer 304. An answer
/// that had no room for another event is followed by the next request at once. A long-poll is asked anew as soon as the
/// one before is answered.
final class PollReader: Reader {
    /// The most events that a server gives in one answer.
    private static let eventsMax = 1000

    /// The most bytes of events that a server gives in one answer.
    private static let bytesMax = 1 << 20

    /// The pause after an empty answer that came much too soon: something on the way does not hold requests, and must
    /// not be asked in a tight loop.
    private static let unheldPause = TimeAmount.seconds(1)

    private let context: ReaderContext
    private let index: Int
    private let isHeld: Bool
    private let caller: Caller
    private var reception: Reception
    private var cursor = ""
    private var tag: String?
    private var due = NIODeadline.now()
    private var isClosed = false

    init(_ context: ReaderContext, _ index: Int, isHeld: Bool) {
        self.context = context
        self.index = index
        self.isHeld = isHeld
        self.caller = Caller(context.connector, context.ledger)
        self.reception = Reception(context.ledger, reader: index)
    }

    func open(after cursor: String) -> EventLoopFuture<Void> {
        self.cursor = cursor
        return caller.connect().assumeIsolated().map {
            guard !self.isHeld else { return self.ask() }
            // Counted from a moment that all readers have in common, whenever each of them was opened.
            let share = Double(self.index) / Double(self.context.plan.readers)
            let first = NIODeadline.uptimeNanoseconds(UInt64(Double(self.interval.nanoseconds) * share))
            self.ask(at: Self.turn(after: first, self.interval, now: .now()))
        }.nonisolated()
    }

    func close() -> EventLoopFuture<Void> {
        isClosed = true
        return caller.close()
    }

    private var interval: TimeAmount { TimeAmount(context.plan.interval) }

    private func ask(at time: NIODeadline) {
        due = time
        context.connector.loop.assumeIsolated().scheduleTask(deadline: time) { self.ask() }
    }

    private func ask() {
        guard !isClosed else { return }
        let asked = NIODeadline.now()
        context.ledger.counts.requests += 1
        caller.call(request) { result in
            guard !self.isClosed else { return }
            switch result {
            case .success(let answer): self.take(answer, asked: asked)
            case .failure(let error): self.context.ledger.fail(error)
            }
        }
    }

    private var request: HTTPRequestHead {
        var query = [("after", cursor), ("max", "\(Self.eventsMax)")]
        if isHeld { query.append(("wait", "\(context.plan.wait.components.seconds)")) }
        var head = context.head(query)
        if let tag { head.headers.add(name: "If-None-Match", value: tag) }
        return head
    }

    private func take(_ answer: Answer, asked: NIODeadline) {
        var (events, isFull) = (0, false)
        switch answer.head.status {
        case .ok:
            guard let cursor = answer.head.headers.first(name: "Herald-Cursor") else {
                context.ledger.fail(BenchFault("the answer to a poll has no Herald-Cursor"))
                return
            }
            events = reception.take(answer.body, at: answer.time)
            let bytesWithAnother = answer.body.readableBytes + context.plan.eventBytes
            isFull = events >= Self.eventsMax || (events > 0 && bytesWithAnother > Self.bytesMax)
            note(events, next: cursor, tag: answer.head.headers.first(name: "ETag"))
        case .notModified:
            context.ledger.counts.unchangedAnswers += 1
        default:
            context.ledger.fail(answer.refusal)
            return
        }
        if isHeld, events == 0, (answer.time - asked) * 2 < TimeAmount(context.plan.wait) {
            ask(at: .now() + Self.unheldPause)
        } else if isHeld || isFull {
            ask()
        } else {
            ask(at: Self.turn(after: due, interval, now: .now()))
        }
    }

    private func note(_ events: Int, next: String, tag: String?) {
        if events > 0 {
            context.ledger.counts.fullAnswers += 1
        } else {
            context.ledger.counts.emptyAnswers += 1
        }
        // A held request has no ETag to be kept for. Of the others an empty answer's is good for the same request only.
        guard events == 0, !isHeld else {
            cursor = next
            self.tag = nil
            return
        }
        self.tag = tag
    }

    /// When the next short poll is due.
    ///
    /// Who was held up for longer than an interval does not make up for the polls that it missed, and does not begin a
    /// rhythm of its own: readers that were held up together would poll together from then on.
    static func turn(after due: NIODeadline, _ interval: TimeAmount, now: NIODeadline) -> NIODeadline {
        let missed = max((now - due).nanoseconds, 0) / interval.nanoseconds
        return due + .nanoseconds((missed + 1) * interval.nanoseconds)
    }
}
