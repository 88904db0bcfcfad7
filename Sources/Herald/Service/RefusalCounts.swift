import Synchronization

/// Counts of publishes that were refused, by the kind of problem.
///
/// A lock is enough: a refusal has already cost a text to say why.
final class RefusalCounts: Sendable {
    private let counts = Mutex<[Problem.Kind: UInt64]>([:])

    /// Counts one.
    func count(_ kind: Problem.Kind) {
        counts.withLock { $0[kind, default: 0] += 1 }
    }

    /// All counts so far.
    var snapshot: [Problem.Kind: UInt64] {
        counts.withLock { $0 }
    }
}
