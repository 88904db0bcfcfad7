import HeraldCore
import Synchronization

/// The readers that are there by a right that can end, to be warned and ended when it does. Any thread.
///
/// Readers that a loop is about to make are entered first, so that whoever revokes a right meets them all.
final class Admissions: Sendable {
    /// How many of what has happened.
    struct Counts: Sendable {
        /// Readers that are there. Gauge.
        var readers = 0
        /// Readers that were told that their token runs out.
        var warned: UInt64 = 0
        /// Readers whose token was renewed.
        var renewed: UInt64 = 0
        /// Readers that were ended as their token had run out.
        var expired: UInt64 = 0
        /// Readers that were ended as their token was revoked.
        var revoked: UInt64 = 0
    }

    private struct Table {
        var leases: [ReaderID: Lease] = [:]
        /// The readers to which something is due, by the second at which it is.
        var dues: [Int64: Set<ReaderID>] = [:]
        /// No second of `dues` is earlier.
        var earliest = Int64.max
        var counts = Counts()
    }

    private let table = Mutex(Table())
    private let warning: Int64
    private let leeway: Int64

    /// Makes the table of a server that warns `warning` seconds before a token's end, and accepts tokens for `leeway`
    /// seconds after it.
    init(warning: Int64, leeway: Int64) {
        self.warning = warning
        self.leeway = leeway
    }

    /// What has happened so far.
    var counts: Counts {
        table.withLock { table in
            var counts = table.counts
            counts.readers = table.leases.count
            return counts
        }
    }

    /// How many readers something is due to.
    var dueCount: Int {
        table.withLock { table in table.dues.values.reduce(0) { $0 + $1.count } }
    }

    /// The reader of an id, if it is there.
    func lease(of id: ReaderID) -> Lease? {
        table.withLock { $0.leases[id] }
    }

    /// Enters a reader that is about to be made.
    func enter(_ lease: Lease, at now: Int64) {
        guard let admission = lease.holder as? Admission else { return }
        table.withLock { table in
            table.leases[admission.id] = lease
            if admission.isStream { schedule(admission, in: &table, at: now) }
        }
    }

    /// Forgets readers that have gone, or never were.
    func forget(_ leases: [Lease]) {
        table.withLock { table in
            for lease in leases {
                guard let admission = lease.holder as? Admission else { continue }
                table.leases[admission.id] = nil
                unschedule(admission, in: &table)
            }
        }
    }

    /// Has a reader go on by another grant, unless `check` of the present one and of what it reads throws.
    func renew(
        _ admission: Admission, by grant: Grant, at now: Int64,
        _ check: (_ old: Grant, _ filters: [FilterName]) throws(Problem) -> Void
    ) throws(Problem) {
        try table.withLock { table throws(Problem) in
            // In one step with the check: what is added to the filters meanwhile is checked by one grant or the other.
            try admission.update { state throws(Problem) in
                guard !state.isEnding else { throw Problem(.notFound, "the reader is about to end") }
                try check(state.grant, state.filters)
                state.grant = grant
                state.step = .warning
            }
            unschedule(admission, in: &table)
            table.counts.renewed += 1
            // It may have gone meanwhile.
            if table.leases[admission.id] != nil, admission.isStream { schedule(admission, in: &table, at: now) }
        }
    }

    /// Warns and ends the readers whose time has come.
    func sweep(at now: Int64) {
        for (lease, step) in due(at: now) {
            guard let admission = lease.holder as? Admission else { continue }
            switch step {
            case .warning: lease.tell("expiring", members: Self.warning(of: admission, at: now))
            case .end: end(lease, Problem(.expired))
            }
        }
    }

    /// Ends the readers whose grant is one of these.
    func revoke(where isRevoked: (Grant) -> Bool) {
        let leases = table.withLock { table in
            let leases = table.leases.values.filter { lease in
                guard let admission = lease.holder as? Admission, isRevoked(admission.grant) else { return false }
                return admission.update { state in
                    defer { state.isEnding = true }
                    return !state.isEnding
                }
            }
            table.counts.revoked += UInt64(leases.count)
            return leases
        }
        for lease in leases { end(lease, .revoked) }
    }

    // MARK: Times

    /// What is due, each once; what comes after a warning is scheduled.
    private func due(at now: Int64) -> [(Lease, Admission.Step)] {
        table.withLock { table in
            guard table.earliest <= now else { return [] }
            var due: [(Lease, Admission.Step)] = []
            for second in table.dues.keys where second <= now {
                for id in table.dues.removeValue(forKey: second) ?? [] {
                    guard let lease = table.leases[id], let admission = lease.holder as? Admission else { continue }
                    if let step = take(admission, in: &table, at: now) { due.append((lease, step)) }
                }
            }
            table.earliest = table.dues.keys.min() ?? .max
            return due
        }
    }

    /// Takes what is due to a reader, and schedules what follows.
    private func take(_ admission: Admission, in table: inout Table, at now: Int64) -> Admission.Step? {
        let step: Admission.Step? = admission.update { state in
            state.due = nil
            guard !state.isEnding else { return nil }
            let end = end(of: state.grant)
            // Whoever is this late is not warned any more.
            if let end, end <= now { state.step = .end }
            state.isEnding = state.step == .end
            return state.step
        }
        switch step {
        case .warning:
            table.counts.warned += 1
            admission.update { $0.step = .end }
            schedule(admission, in: &table, at: now)
        case .end:
            table.counts.expired += 1
        case nil: break
        }
        return step
    }

    private func end(of grant: Grant) -> Int64? {
        grant.expiry.map { $0.addingReportingOverflow(leeway).partialValue }
    }

    private func schedule(_ admission: Admission, in table: inout Table, at now: Int64) {
        let due: Int64? = admission.update { state in
            guard let end = end(of: state.grant) else { return nil }
            // The warning is about the token's own end, however long that is put up with.
            state.due = state.step == .warning ? end - leeway - warning : end
            return state.due
        }
        guard let due else { return }
        table.dues[due, default: []].insert(admission.id)
        table.earliest = min(table.earliest, due)
    }

    private func unschedule(_ admission: Admission, in table: inout Table) {
        let due: Int64? = admission.update { state in
            defer { state.due = nil }
            return state.due
        }
        guard let due else { return }
        table.dues[due]?.remove(admission.id)
        if table.dues[due]?.isEmpty == true { table.dues[due] = nil }
    }

    // MARK: Texts

    /// What a reader is told before its end: how long it has, and where a token that follows is to be sent.
    private static func warning(of admission: Admission, at now: Int64) -> [UInt8] {
        var json = JSONWriter()
        json.open()
        json.member("expires_in", max(0, (admission.grant.expiry ?? now) - now))
        json.member("renew", "\(Router.renewals)\(admission.id)")
        json.close()
        return Array(json.bytes.dropFirst().dropLast())
    }

    private func end(_ lease: Lease, _ problem: Problem) {
        // RFC 6455 §7.4.1: 1008, a policy is violated.
        let end = Lease.End(
            status: problem.status, members: problem.members, challenge: problem.challenge?.rawValue ?? "",
            code: 1008, reason: problem.kind.rawValue)
        do throws(CoreFault) {
            try lease.endReader(end)
        } catch {
            // Nobody may read on for want of memory: it is tried again.
            table.withLock { table in
                guard let admission = lease.holder as? Admission else { return }
                admission.update { state in
                    state.step = .end
                    state.due = 0
                    state.isEnding = false
                }
                table.dues[0, default: []].insert(admission.id)
                table.earliest = 0
            }
        }
    }
}
