import NIOCore
import NIOHTTP1

/// Publishes the events of a measurement, each in a request of its own when it is due.
///
/// It does not wait for the answers: a slow server or a long way makes events late by the time that no connection was
/// free for them, and that time counts as theirs, because they were due before.
///
/// Thread: the loop's.
final class Publisher {
    /// The most connections. With as many, 100 events a second can be under way for 160 ms each.
    static let connectionsMax = 16

    private let context: ReaderContext
    private var idle: [Caller]
    private let callers: [Caller]
    private var waiting = 0..<0
    private var isClosed = false

    init(_ context: ReaderContext) {
        self.context = context
        let count = min(Self.connectionsMax, max(1, Int(context.ledger.schedule.rate.rounded(.up))))
        self.callers = (0..<count).map { _ in Caller(context.connector, nil) }
        self.idle = callers
    }

    /// Opens the connections.
    func connect() -> EventLoopFuture<Void> {
        EventLoopFuture.andAllSucceed(callers.map { $0.connect() }, on: context.connector.loop)
    }

    /// Publishes from now on until the schedule's end.
    func start() {
        scheduleNext()
    }

    func close() -> EventLoopFuture<Void> {
        isClosed = true
        return EventLoopFuture.andAllComplete(callers.map { $0.close() }, on: context.connector.loop)
    }

    /// Waits until the first event that does not wait yet is due, then has it wait for a connection.
    private func scheduleNext() {
        let ledger = context.ledger
        guard !isClosed, waiting.upperBound < ledger.schedule.count, let due = ledger.due(waiting.upperBound) else {
            return
        }
        context.connector.loop.assumeIsolated().scheduleTask(deadline: due) {
            guard !self.isClosed else { return }
            // Those that have become due meanwhile go out, too: a timer may come late.
            let now = NIODeadline.now()
            while self.waiting.upperBound < ledger.schedule.count, let due = ledger.due(self.waiting.upperBound),
                due <= now
            {
                self.waiting = self.waiting.lowerBound..<(self.waiting.upperBound + 1)
            }
            self.sendWaiting()
            self.scheduleNext()
        }
    }

    private func sendWaiting() {
        while !isClosed, let event = waiting.first, let caller = idle.popLast() {
            waiting = (event + 1)..<waiting.upperBound
            publish(event, by: caller)
        }
    }

    private func publish(_ event: Int, by caller: Caller) {
        let data = Stamp.data(event: event, size: context.plan.size)
        var head = context.connector.head(.POST, "/v1/events/" + context.topic)
        head.headers.add(name: "Content-Type", value: "text/plain")
        head.headers.add(name: "Content-Length", value: "\(data.readableBytes)")
        context.ledger.send(event, at: .now())
        caller.call(head, body: data) { result in
            switch result {
            case .success(let answer) where answer.head.status == .created:
                self.context.ledger.acknowledge()
                self.idle.append(caller)
                self.sendWaiting()
            case .success(let answer):
                self.context.ledger.fail(answer.refusal)
            case .failure(let error):
                self.context.ledger.fail(error)
            }
        }
    }
}
