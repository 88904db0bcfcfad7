/// Where a subscription's readers read, and how.
struct SubscriptionSource: Sendable {
    let caller: HTTPCaller
    let filters: [String]
    let position: Position
    let transport: Transport
}

/// All that a subscription has to tell: events, gaps, resets, resumes, and changes of the connection.
public struct Deliveries: AsyncSequence, Sendable {
    /// What it gives.
    public typealias Element = Delivery

    let source: SubscriptionSource

    /// Makes a reader that starts at the subscription's position.
    public func makeAsyncIterator() -> Iterator {
        Iterator(source: source)
    }

    /// A reader of deliveries.
    public struct Iterator: AsyncIteratorProtocol {
        private let source: SubscriptionSource
        private var reader: Reader?
        private var batch: [Handed] = []
        private var taken = 0

        /// Where the reader stands: give it to a new subscription, over whichever transport, to go on from there.
        ///
        /// It also moves while no event comes, as the server reports how far the order of events has got.
        public private(set) var position: Position

        init(source: SubscriptionSource) {
            self.source = source
            self.position = source.position
        }

        /// Gives the next delivery; `nil` when the server asked not to reconnect, the task was cancelled, or the
        /// reader was closed.
        public nonisolated(nonsending) mutating func next() async throws -> Delivery? {
            let reader = self.reader ?? Reader(source)
            self.reader = reader
            while true {
                while taken < batch.count {
                    let handed = batch[taken]
                    taken += 1
                    position = handed.position
                    if let delivery = handed.delivery { return delivery }
                }
                taken = 0
                batch = []
                guard let next = try await reader.handoff.next() else {
                    // The task was cancelled, or the reader has ended; either way nobody reads its connection any
                    // more.
                    reader.cancel()
                    return nil
                }
                batch = next
            }
        }

        /// Ends the reader and waits until its connection was closed in good order.
        public nonisolated(nonsending) mutating func close() async {
            batch = []
            taken = 0
            await reader?.close()
        }
    }
}

extension Deliveries.Iterator {
    /// Runs a pump for as long as an iterator refers to it.
    private final class Reader: Sendable {
        let handoff = Handoff<[Handed]>()
        private let task: Task<Void, Never>

        init(_ source: SubscriptionSource) {
            let pump = SubscriptionPump(source, into: ReaderFeed(source.position, handoff))
            self.task = Task { await pump.run() }
        }

        deinit { task.cancel() }

        func cancel() { task.cancel() }

        func close() async {
            task.cancel()
            await task.value
        }
    }
}
