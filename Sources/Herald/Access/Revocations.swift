import HeraldCore
import Synchronization

/// Tokens that must not be accepted though their signature is good: single ones by `jti`, and all that a subject was
/// given up to some second. Any thread.
///
/// Each is kept until no token that it covers can be alive any more. Bounded by number.
final class Revocations: Sendable {
    /// What is revoked.
    enum Target: Sendable, Hashable {
        /// The token of a `jti`.
        case token(String)
        /// All that a subject was given until now.
        case subject(String)
    }

    /// One revocation.
    struct Entry: Sendable, Hashable {
        /// What is revoked.
        let target: Target
        /// A subject's tokens made in this second or before are revoked; of tokens without `iat`, all.
        let issuedUntil: Int64
        /// The second from which on it need not be known any more.
        let keptUntil: Int64
    }

    private struct Table {
        var entries: [Target: Entry] = [:]
        /// No entry lapses before this second.
        var earliest = Int64.max
    }

    private let table = Mutex(Table())
    private let count = Atomic<Int>(0)
    private let limit: Int

    /// Makes an empty list of at most `limit` revocations.
    init(limit: Int) {
        self.limit = limit
    }

    /// Whether a grant is revoked. An API key is not: it is taken out of its file.
    func covers(_ grant: Grant) -> Bool {
        // Mostly nothing is revoked, and nobody waits to find that out.
        guard grant.source == .token, count.load(ordering: .acquiring) > 0 else { return false }
        return table.withLock { Self.covers(grant, in: $0.entries) }
    }

    private static func covers(_ grant: Grant, in entries: [Target: Entry]) -> Bool {
        if let tokenID = grant.tokenID, entries[.token(tokenID)] != nil { return true }
        guard let subject = grant.subject, let entry = entries[.subject(subject)] else { return false }
        return grant.issuedAt.map { $0 <= entry.issuedUntil } ?? true
    }

    /// Whether one more can be added.
    func hasRoom(for target: Target, at now: Int64) -> Bool {
        table.withLock { table in
            if table.entries.count >= limit { sweep(&table, at: now) }
            return table.entries[target] != nil || table.entries.count < limit
        }
    }

    /// Adds one, in place of an earlier one of the same target. False: there are as many as there may be.
    func add(_ entry: Entry, at now: Int64) -> Bool {
        table.withLock { table in
            if table.entries[entry.target] == nil, table.entries.count >= limit { sweep(&table, at: now) }
            guard table.entries[entry.target] != nil || table.entries.count < limit else { return false }
            table.entries[entry.target] = entry
            table.earliest = min(table.earliest, entry.keptUntil)
            count.store(table.entries.count, ordering: .releasing)
            return true
        }
    }

    /// Forgets those that need not be known any more.
    func sweep(at now: Int64) {
        guard count.load(ordering: .acquiring) > 0 else { return }
        table.withLock { table in sweep(&table, at: now) }
    }

    private func sweep(_ table: inout Table, at now: Int64) {
        // Loops wait for the lock: what none has lapsed of is not gone through.
        guard now >= table.earliest else { return }
        table.entries = table.entries.filter { $0.value.keptUntil > now }
        table.earliest = table.entries.values.lazy.map(\.keptUntil).min() ?? .max
        count.store(table.entries.count, ordering: .releasing)
    }

    /// How many are known.
    var entryCount: Int { count.load(ordering: .acquiring) }
}
