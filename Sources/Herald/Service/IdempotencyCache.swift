import Synchronization

/// What a repeated request must agree with: its key, and what it asks for.
struct IdempotencyKey: Sendable, Hashable {
    /// Whose key it is; nil: nobody's by name.
    var owner: String?
    /// The key as the client gave it.
    let text: String
    /// A hash of all that the request publishes.
    let fingerprint: Int

    /// What tells it from other keys. A key is printable, so that what stands before the last NUL is its owner.
    fileprivate var name: String { owner.map { "\($0)\u{0}\(text)" } ?? text }
}

/// Answers to publishes that came with an idempotency key, kept for a while, so that a retry publishes nothing twice.
///
/// Bounded by time, by number and by bytes; what is oldest goes first. The clock is passed in. Any thread.
final class IdempotencyCache: Sendable {
    /// What a key was first answered.
    enum Answer: Equatable {
        /// The request was not known: this is its answer.
        case first([UInt8])
        /// The answer to the same request before.
        case repeated([UInt8])
        /// The key was used for another request.
        case conflict
    }

    /// The bytes that all answers together may take; those of 100,000 single events are some 15 MB.
    static let standardByteLimit = 64 << 20

    fileprivate struct Entry {
        let fingerprint: Int
        let body: [UInt8]
        let expiry: ContinuousClock.Instant
    }

    fileprivate struct Shard {
        var entries: [String: Entry] = [:]
        /// The keys in the order in which they expire, those before `oldest` being gone.
        var order: [String] = []
        var oldest = 0
        var bytes = 0
    }

    /// A shard, which the fixed number of them lets stand in an array.
    private final class Place: Sendable {
        let shard = Mutex(Shard())
    }

    private let places: [Place]
    private let window: Duration
    private let countPerShard: Int
    private let bytesPerShard: Int

    /// Makes a cache; a `limit` of 0 remembers nothing.
    init(window: Duration, limit: Int, byteLimit: Int = IdempotencyCache.standardByteLimit) {
        // Small limits are kept exactly; only large ones are spread so that loops do not wait for each other.
        let shards = limit >= 1024 ? 16 : 1
        places = (0..<shards).map { _ in Place() }
        self.window = window
        countPerShard = limit / shards
        bytesPerShard = byteLimit / shards
    }

    /// The answer to a request: that of the first with its key, or what `publish` gives now, which is then kept.
    ///
    /// Requests of the same key wait for each other. What `publish` throws is thrown, and uses up no key.
    func answer(
        to key: IdempotencyKey, at now: ContinuousClock.Instant, publish: () throws(Problem) -> [UInt8]
    ) throws(Problem) -> Answer {
        guard countPerShard > 0 else { return .first(try publish()) }
        let name = key.name
        let place = places[Int(UInt(bitPattern: name.hashValue) % UInt(places.count))]
        let result = place.shard.withLock { shard -> Result<Answer, Problem> in
            shard.expire(before: now)
            if let entry = shard.entries[name] {
                return .success(entry.fingerprint == key.fingerprint ? .repeated(entry.body) : .conflict)
            }
            do throws(Problem) {
                let body = try publish()
                shard.add(
                    name, Entry(fingerprint: key.fingerprint, body: body, expiry: now + window),
                    countLimit: countPerShard, byteLimit: bytesPerShard)
                return .success(.first(body))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// The number of keys that are remembered, those that have expired since the last request included.
    var count: Int {
        places.reduce(0) { count, place in count + place.shard.withLock { $0.entries.count } }
    }
}

extension IdempotencyCache.Shard {
    /// What an entry takes besides its texts, roughly.
    private static let overhead = 128

    fileprivate mutating func add(_ key: String, _ entry: IdempotencyCache.Entry, countLimit: Int, byteLimit: Int) {
        bytes += Self.cost(key, entry)
        entries[key] = entry
        order.append(key)
        while entries.count > countLimit || bytes > byteLimit, oldest < order.count {
            removeOldest()
        }
    }

    fileprivate mutating func expire(before now: ContinuousClock.Instant) {
        while oldest < order.count, let entry = entries[order[oldest]], entry.expiry <= now {
            removeOldest()
        }
    }

    private mutating func removeOldest() {
        let key = order[oldest]
        oldest += 1
        if let entry = entries.removeValue(forKey: key) { bytes -= Self.cost(key, entry) }
        if oldest > 64, oldest * 2 > order.count {
            order.removeFirst(oldest)
            oldest = 0
        }
    }

    private static func cost(_ key: String, _ entry: IdempotencyCache.Entry) -> Int {
        overhead + 2 * key.utf8.count + entry.body.count
    }
}
