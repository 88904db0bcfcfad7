/// A subscription: the deliveries of all events that match its filters.
///
/// Each iteration is a reader of its own, with its own connection and cursor; it begins when its first element is
/// asked for, and ends when the iterator is released, its task is cancelled, or `close()` is called on it.
public struct Subscription: AsyncSequence, Sendable {
    /// What a subscription gives.
    public typealias Element = Delivery

    let caller: HTTPCaller
    let filters: [String]
    let position: Position
    let transport: Transport

    /// Makes a reader that starts at the subscription's position.
    public func makeAsyncIterator() -> Iterator {
        Iterator(subscription: self)
    }

    /// A reader of a subscription.
    public struct Iterator: AsyncIteratorProtocol {
        private let subscription: Subscription
        private var reader: Reader?
        private var batch: [Handed] = []
        private var taken = 0

        /// Where the reader stands: give it to a new subscription, over whichever transport, to go on from there.
        ///
        /// It also moves while no event comes, as the server reports how far the order of events has got.
        public private(set) var position: Position

        init(subscription: Subscription) {
            self.subscription = subscription
            self.position = subscription.position
        }

        /// Gives the next delivery; `nil` when the server asked not to reconnect, or the reader was closed.
        public mutating func next() async throws -> Delivery? {
            let reader = self.reader ?? Reader(subscription)
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
                guard let next = try await reader.handoff.next() else { return nil }
                batch = next
            }
        }

        /// Ends the reader and waits until its connection was closed in good order.
        public mutating func close() async {
            batch = []
            taken = 0
            await reader?.close()
        }
    }
}

extension Subscription.Iterator {
    /// Runs a pump for as long as an iterator refers to it.
    private final class Reader: Sendable {
        let handoff = Handoff<[Handed]>()
        private let task: Task<Void, Never>

        init(_ subscription: Subscription) {
            let pump = SubscriptionPump(subscription, into: ReaderFeed(subscription.position, handoff))
            self.task = Task { await pump.run() }
        }

        deinit { task.cancel() }

        func close() async {
            task.cancel()
            await task.value
        }
    }
}
