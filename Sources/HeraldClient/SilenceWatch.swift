import Synchronization

/// Ends work that waits for its peer for too long.
///
/// Only the time spent waiting for the peer counts. A reader that takes its time with an event does not make a living
/// line look dead, though nothing is read from the connection meanwhile.
final class SilenceWatch: Sendable {
    private struct State {
        var limit: Duration
        var waitingSince: ContinuousClock.Instant?
    }

    private let state: Mutex<State>

    private init(limit: Duration) {
        self.state = Mutex(State(limit: limit, waitingSince: nil))
    }

    /// Runs the body, and cancels it with `HeraldError.silent` when it waits for longer than the limit.
    static func run<Value: Sendable>(
        limit: Duration, _ body: @escaping @Sendable (SilenceWatch) async throws -> Value
    ) async throws -> Value {
        let watch = SilenceWatch(limit: limit)
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body(watch) }
            group.addTask {
                try await watch.untilSilent()
                return nil
            }
            defer { group.cancelAll() }
            while let outcome = try await group.next() {
                if let value = outcome { return value }
            }
            throw CancellationError()
        }
    }

    /// Changes the limit, from the next wait on.
    func setLimit(_ limit: Duration) {
        state.withLock { $0.limit = limit }
    }

    /// Marks that the body waits for its peer from now on.
    func startWaiting() {
        state.withLock { $0.waitingSince = .now }
    }

    /// Marks that the peer gave a sign of life.
    func stopWaiting() {
        state.withLock { $0.waitingSince = nil }
    }

    /// Returns by throwing only: `silent` when a wait was too long, or a cancellation.
    private func untilSilent() async throws {
        while true {
            let (limit, since) = state.withLock { ($0.limit, $0.waitingSince) }
            let now = ContinuousClock.now
            if let since, now - since >= limit { throw HeraldError.silent(limit) }
            // Never asleep for more than a second: the limit may have been lowered, or a wait begun, meanwhile.
            let rest = since.map { limit - (now - $0) } ?? limit
            try await Task.sleep(for: min(rest, .seconds(1)))
        }
    }
}
