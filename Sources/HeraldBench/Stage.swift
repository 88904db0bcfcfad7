import NIOCore

/// The readers and the publisher of one measurement.
///
/// Thread: the loop's.
final class Stage {
    let ledger: Ledger
    private let context: ReaderContext
    private let readers: [any Reader]
    private let publisher: Publisher

    /// Makes readers and a publisher without connections.
    init(_ plan: BenchPlan, _ transport: BenchTransport, _ ledger: Ledger, topic: String, _ connector: Connector) {
        let context = ReaderContext(connector: connector, ledger: ledger, plan: plan, topic: topic)
        self.ledger = ledger
        self.context = context
        self.readers = (0..<plan.readers).map { context.reader($0, transport) }
        self.publisher = Publisher(context)
    }

    /// Opens some of the readers. Done when the server has taken them in.
    func openReaders(_ numbers: Range<Int>, after cursor: String) -> EventLoopFuture<Void> {
        EventLoopFuture.andAllSucceed(readers[numbers].map { $0.open(after: cursor) }, on: context.connector.loop)
    }

    /// Opens the publisher's connections.
    func openPublisher() -> EventLoopFuture<Void> { publisher.connect() }

    /// Begins to publish; gives the time from which the schedule counts.
    func start() -> NIODeadline {
        // A little later, so that the first event is not late before it is due.
        let start = NIODeadline.now() + .milliseconds(20)
        ledger.start = start
        publisher.start()
        return start
    }

    /// Closes all connections. Done when they are closed.
    func close() -> EventLoopFuture<Void> {
        ledger.close()
        return EventLoopFuture.andAllComplete(
            readers.map { $0.close() } + [publisher.close()], on: context.connector.loop)
    }
}
