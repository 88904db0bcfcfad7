import Synchronization

/// Remembers what tokens were worth, by their digests, so that a token costs a signature once and not at each request.
///
/// Grants and faults lie in tables of their own: a flood of bad tokens cannot push out good ones. An entry made under
/// one generation of keys means nothing under another. Any thread.
struct TokenCache: Sendable {
    /// What is remembered of a token.
    enum Outcome: Sendable {
        /// It is good, as far as it is a matter of keys; its dates are checked at each use.
        case grant(Grant)
        /// It is bad, and is not looked at again before that second.
        case fault(TokenFault, until: Int64)
    }

    private let shards: [Shard]

    /// Makes a cache of so many entries of either kind, evenly shared out; 0 remembers nothing.
    init(entryCountMax: Int) {
        let count = min(entryCountMax, 16)
        shards = (0..<count).map { index in
            Shard(capacity: entryCountMax / count + (index < entryCountMax % count ? 1 : 0))
        }
    }

    /// What is remembered of a token under a generation of keys.
    func find(_ digest: TokenDigest, generation: UInt64) -> Outcome? {
        shard(of: digest)?.find(digest, generation)
    }

    /// Remembers a token's outcome; in a full table one that was not used lately makes room.
    func insert(_ outcome: Outcome, for digest: TokenDigest, generation: UInt64) {
        shard(of: digest)?.insert(outcome, digest, generation)
    }

    /// Forgets everything.
    func removeAll() {
        for shard in shards { shard.removeAll() }
    }

    /// The number of entries.
    var count: Int { shards.reduce(0) { $0 + $1.count } }

    private func shard(of digest: TokenDigest) -> Shard? {
        shards.isEmpty ? nil : shards[digest.spread % shards.count]
    }

    /// A part of the cache with a lock of its own.
    private final class Shard: Sendable {
        private let tables: Mutex<(grants: Table, faults: Table)>

        init(capacity: Int) {
            tables = Mutex((Table(capacity: capacity), Table(capacity: capacity)))
        }

        var count: Int { tables.withLock { $0.grants.count + $0.faults.count } }

        func find(_ digest: TokenDigest, _ generation: UInt64) -> Outcome? {
            tables.withLock { tables in
                tables.grants.find(digest, generation) ?? tables.faults.find(digest, generation)
            }
        }

        func insert(_ outcome: Outcome, _ digest: TokenDigest, _ generation: UInt64) {
            tables.withLock { tables in
                switch outcome {
                case .grant: tables.grants.insert(outcome, digest, generation)
                case .fault: tables.faults.insert(outcome, digest, generation)
                }
            }
        }

        func removeAll() {
            tables.withLock { tables in
                tables.grants.removeAll()
                tables.faults.removeAll()
            }
        }
    }

    /// A table of a fixed number of entries. When it is full a hand goes round, and the first entry that was not used
    /// since it last came by makes room.
    private struct Table {
        struct Entry {
            var digest: TokenDigest
            var outcome: Outcome
            var generation: UInt64
            var wasUsed = false
        }

        private let capacity: Int
        private var entries: [Entry] = []
        private var places: [TokenDigest: Int] = [:]
        private var hand = 0

        init(capacity: Int) {
            self.capacity = capacity
        }

        var count: Int { entries.count }

        mutating func find(_ digest: TokenDigest, _ generation: UInt64) -> Outcome? {
            guard let place = places[digest], entries[place].generation == generation else { return nil }
            entries[place].wasUsed = true
            return entries[place].outcome
        }

        mutating func insert(_ outcome: Outcome, _ digest: TokenDigest, _ generation: UInt64) {
            let entry = Entry(digest: digest, outcome: outcome, generation: generation)
            if let place = places[digest] {
                entries[place] = entry
            } else if entries.count < capacity {
                places[digest] = entries.count
                entries.append(entry)
            } else {
                while entries[hand].wasUsed {
                    entries[hand].wasUsed = false
                    hand = (hand + 1) % capacity
                }
                places[entries[hand].digest] = nil
                places[digest] = hand
                entries[hand] = entry
                hand = (hand + 1) % capacity
            }
        }

        mutating func removeAll() {
            self = Table(capacity: capacity)
        }
    }
}
