import HeraldCore
import Synchronization

/// Who publishes, where publishers are told apart by their rates.
enum PublisherKey: Sendable, Hashable {
    /// Whoever has an address, as addresses are counted; nil: its connection has gone.
    case address(IPAddress?)
    /// Whom a token names.
    case subject(String)
}

/// How much each publisher may still publish: a token bucket for each.
///
/// A bucket is kept as the time at which it will be full again; one that is full is the same as none, and is forgotten.
/// Publishers stand here by a keyed hash, so that what each takes has a bound of its own; that two of a hundred thousand
/// share one happens once in a billion servers. The number of buckets is bounded: beyond it those are forgotten that were
/// used least lately, which then are full. The clock is passed in. Any thread.
final class PublishRates: Sendable {
    /// What becomes of a publisher's events.
    enum Decision: Equatable {
        /// They may be published, and are counted.
        case granted
        /// They would fit after a time; nothing is counted.
        case later(Duration)
        /// They never fit, so many there are.
        case never
    }

    /// The number of publishers that are told apart, by default; each takes some 40 bytes.
    static let standardLimit = 131_072

    /// Buckets in two generations: who is used comes into the younger; the older is forgotten as a whole.
    private struct Shard {
        var young: [Int: Int64] = [:]
        var old: [Int: Int64] = [:]
        var turnedAt: Int64 = 0
    }

    /// A shard, which the fixed number of them lets stand in an array.
    private final class Place: Sendable {
        let shard = Mutex(Shard())
    }

    private let places: [Place]
    private let countPerGeneration: Int
    private let burst: Int
    /// The time in which a bucket fills by one event, and by all that it holds; nanoseconds.
    private let step: Int64
    private let whole: Int64
    private let start: ContinuousClock.Instant

    /// Makes buckets that fill by `rate` events a second and hold `burst` of them; nil: as many as come in a second. There
    /// are none at all for a rate of 0.
    init?(rate: Int, burst: Int?, limit: Int = PublishRates.standardLimit, start: ContinuousClock.Instant = .now) {
        guard rate > 0 else { return nil }
        self.burst = burst ?? rate
        step = (1_000_000_000 + Int64(rate) - 1) / Int64(rate)
        whole = step * Int64(self.burst)
        // Small limits are kept exactly; only large ones are spread so that loops do not wait for each other.
        let shards = limit >= 1024 ? 16 : 1
        places = (0..<shards).map { _ in Place() }
        countPerGeneration = max(limit / shards / 2, 1)
        self.start = start
    }

    /// Takes as many events out of a publisher's bucket, all or none.
    func take(_ count: Int, of key: PublisherKey, at now: ContinuousClock.Instant) -> Decision {
        guard count <= burst else { return .never }
        let hash = key.hashValue
        let now = (now - start).nanoseconds
        let cost = step * Int64(count)
        return places[Int(UInt(bitPattern: hash) % UInt(places.count))].shard.withLock { shard in
            turn(&shard, at: now)
            let full = max(shard.young[hash] ?? shard.old[hash] ?? now, now)
            guard full + cost - now <= whole else { return .later(.nanoseconds(full + cost - now - whole)) }
            shard.young[hash] = full + cost
            return .granted
        }
    }

    /// Forgets the older generation when its buckets are full by now, or when the younger has no room left.
    private func turn(_ shard: inout Shard, at now: Int64) {
        let age = now - shard.turnedAt
        guard age >= whole || shard.young.count >= countPerGeneration else { return }
        // What was not used for the time that fills a bucket is full, whichever generation it is in.
        shard.old = age >= 2 * whole ? [:] : shard.young
        shard.young = [:]
        shard.turnedAt = now
    }

    /// The number of publishers that are remembered.
    var count: Int {
        places.reduce(0) { count, place in
            count + place.shard.withLock { Set($0.young.keys).union($0.old.keys).count }
        }
    }

    /// Takes as many events out of a publisher's bucket, or throws what the publisher is told.
    func admit(_ count: Int, of key: PublisherKey, at now: ContinuousClock.Instant) throws(Problem) {
        switch take(count, of: key, at: now) {
        case .granted:
            return
        case .later(let wait):
            let seconds = wait.roundedUpSeconds
            var problem = Problem(
                .rateLimited,
                "you publish more than you may; nothing was published, and this would fit in \(seconds) s")
            problem.retryAfter = seconds
            throw problem
        case .never:
            var problem = Problem(
                .bodyTooLarge, "the body holds more events than you may publish at once; nothing was published")
            problem.limit = burst
            throw problem
        }
    }
}

extension Duration {
    fileprivate var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }

    /// Whole seconds that are not less than the duration, at least one.
    fileprivate var roundedUpSeconds: Int {
        let (seconds, attoseconds) = components
        return max(Int(seconds) + (attoseconds > 0 ? 1 : 0), 1)
    }
}
