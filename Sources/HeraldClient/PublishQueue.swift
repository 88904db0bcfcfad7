/// Bounds of a publisher.
public struct PublisherLimits: Sendable, Equatable {
    /// The most events of one batch. A server takes 1,000 unless configured.
    public var eventsMax = 500

    /// The most bytes of one batch; an event that is larger by itself is a batch of its own. A server takes 1 MiB
    /// unless configured.
    public var bytesMax = 512 << 10

    /// How long an event waits for others to come. With 0 it goes at once, with what has gathered while the batches
    /// before were under way.
    public var delay: Duration = .milliseconds(5)

    /// The most batches that may be under way at a time. With one, events are published in the order in which they
    /// were given; with more, a batch may overtake another.
    public var batchesMax = 1

    /// The most events that may wait for their batch. Further ones are refused with `HeraldError.tooMany`.
    public var waitingMax = 10_000

    /// The most bytes that these may have. Further ones are refused with `HeraldError.tooMany`.
    public var waitingBytesMax = 64 << 20

    /// How long a batch is tried again, after which it fails.
    ///
    /// It must be shorter than the time for which the server remembers idempotency keys (10 minutes unless
    /// configured), as a batch that is tried later might be published twice.
    public var retryTimeMax: Duration = .seconds(60)

    /// Makes the default limits.
    public init() {}
}

// What a publisher's batches are made of, and when. No I/O and no clock: the time is passed in.
//
// Invariant: events leave in the order in which they came, each once, unless they were withdrawn before.

/// The events that wait for their batch.
struct PublishQueue: Sendable {
    /// An event, as a line with its line break.
    struct Entry: Sendable, Equatable {
        var number: Int
        var line: [UInt8]
    }

    /// What is to be done next.
    enum Step: Sendable, Equatable {
        /// To send these in one request, and to say so by `finish` when that has been answered.
        case send([Entry])

        /// To ask again then, if nothing else has come up before.
        case wait(until: ContinuousClock.Instant)

        /// To ask again when an event has come, or a batch has been answered.
        case rest
    }

    private let limits: PublisherLimits
    private var waiting: [Int: (line: [UInt8], since: ContinuousClock.Instant)] = [:]
    private var order: [Int] = []
    private var taken = 0
    private var waitingBytes = 0
    private var underWay = 0
    private var count = 0

    init(_ limits: PublisherLimits) { self.limits = limits }

    /// Takes an event, and gives its number.
    mutating func add(_ line: [UInt8], at now: ContinuousClock.Instant) throws(HeraldError) -> Int {
        guard waiting.count < limits.waitingMax else {
            throw .tooMany(what: "events that wait to be published", limit: limits.waitingMax)
        }
        guard waitingBytes + line.count <= limits.waitingBytesMax else {
            throw .tooMany(what: "bytes that wait to be published", limit: limits.waitingBytesMax)
        }
        count += 1
        waiting[count] = (line, now)
        order.append(count)
        waitingBytes += line.count
        return count
    }

    /// Withdraws an event; does nothing if it has left.
    mutating func remove(_ number: Int) {
        guard let entry = waiting.removeValue(forKey: number) else { return }
        waitingBytes -= entry.line.count
        if waiting.isEmpty { forgetOrder() }
    }

    /// Says that a batch has been answered.
    mutating func finish() { underWay -= 1 }

    /// Says what is to be done, and does what that means for the events.
    mutating func next(at now: ContinuousClock.Instant) -> Step {
        passOverRemoved()
        guard underWay < max(limits.batchesMax, 1), taken < order.count, let first = waiting[order[taken]] else {
            return .rest
        }
        let due = first.since + limits.delay
        guard due <= now || isFull else { return .wait(until: due) }
        underWay += 1
        return .send(takeBatch())
    }

    /// Whether what waits is enough for a batch.
    private var isFull: Bool { waiting.count >= limits.eventsMax || waitingBytes >= limits.bytesMax }

    private mutating func takeBatch() -> [Entry] {
        var batch: [Entry] = []
        var bytes = 0
        while taken < order.count, batch.count < max(limits.eventsMax, 1) {
            let number = order[taken]
            if let entry = waiting[number] {
                guard batch.isEmpty || bytes + entry.line.count <= limits.bytesMax else { break }
                batch.append(Entry(number: number, line: entry.line))
                bytes += entry.line.count
                waiting[number] = nil
            }
            taken += 1
        }
        waitingBytes -= bytes
        if waiting.isEmpty { forgetOrder() } else { passOverRemoved() }
        return batch
    }

    private mutating func passOverRemoved() {
        while taken < order.count, waiting[order[taken]] == nil { taken += 1 }
        guard taken > 1_024, taken * 2 > order.count else { return }
        order.removeFirst(taken)
        taken = 0
    }

    private mutating func forgetOrder() {
        order.removeAll(keepingCapacity: order.capacity <= 4_096)
        taken = 0
    }
}
