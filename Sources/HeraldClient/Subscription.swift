/// A subscription: the events that match its filters, one after the other.
///
///     for try await event in client.subscribe("orders/*", after: .earliest) {
///         print(event.topic)
///     }
///
/// Within a topic their sequences ascend, none comes twice, and none is missing unless the subscription's
/// `LossPolicy` has been followed. It reconnects and resumes by itself, and ends with an error only when trying again
/// cannot help.
///
/// Each iteration is a reader of its own, with its own connection and cursor; it begins when its first element is
/// asked for, and ends when the iterator is released, its task is cancelled, or `close()` is called on it. While its
/// reader takes its time, nothing more is read from the connection than fits into a bounded buffer, and the server
/// waits.
public struct Subscription: AsyncSequence, Sendable {
    /// What a subscription gives.
    public typealias Element = Event

    let source: SubscriptionSource
    let policy: LossPolicy

    /// The same with all that happens around the events: gaps, resets, resumes, and changes of the connection.
    ///
    /// The subscription's `LossPolicy` does not count here: each loss is a delivery.
    public var deliveries: Deliveries { Deliveries(source: source) }

    /// Makes a reader that starts at the subscription's position.
    public func makeAsyncIterator() -> Iterator {
        Iterator(deliveries: deliveries.makeAsyncIterator(), policy: policy)
    }

    /// A reader of events.
    public struct Iterator: AsyncIteratorProtocol {
        private var deliveries: Deliveries.Iterator
        private let policy: LossPolicy

        init(deliveries: Deliveries.Iterator, policy: LossPolicy) {
            self.deliveries = deliveries
            self.policy = policy
        }

        /// Where the reader stands: give it to a new subscription, over whichever transport, to go on from there.
        ///
        /// It also moves while no event comes, as the server reports how far the order of events has got.
        public var position: Position { deliveries.position }

        /// Gives the next event; `nil` when the server asked not to reconnect, the task was cancelled, or the reader
        /// was closed.
        public nonisolated(nonsending) mutating func next() async throws -> Event? {
            while let delivery = try await deliveries.next() {
                switch delivery {
                case .event(let event): return event
                case .gap(let gap), .reset(let gap): try await meet(gap)
                case .resumed, .state: continue
                }
            }
            return nil
        }

        /// Ends the reader and waits until its connection was closed in good order.
        public nonisolated(nonsending) mutating func close() async { await deliveries.close() }

        private nonisolated(nonsending) mutating func meet(_ gap: Gap) async throws {
            do {
                switch policy.kind {
                case .fail: throw HeraldError.lost(gap)
                case .ignore: return
                case .call(let body): try await body(gap)
                }
            } catch {
                await deliveries.close()
                throw error
            }
        }
    }
}

/// What a plain loop over a subscription's events does when events may be missing.
public struct LossPolicy: Sendable {
    enum Kind: Sendable {
        case fail
        case ignore
        case call(@Sendable (Gap) async throws -> Void)
    }

    let kind: Kind

    /// The loop ends with `HeraldError.lost`. This is the default: who has not thought of a loss must not miss it.
    ///
    /// Read your state anew from its source then, and subscribe again after the gap's `to`.
    public static let fail = LossPolicy(kind: .fail)

    /// The loop goes on with the next event, and says nothing.
    public static let ignore = LossPolicy(kind: .ignore)

    /// The closure is called with the gap, whose reason is `epoch` after a reset; then the loop goes on.
    ///
    /// No event is handed out before it returns. What it throws ends the loop.
    public static func call(_ body: @escaping @Sendable (Gap) async throws -> Void) -> LossPolicy {
        LossPolicy(kind: .call(body))
    }
}
