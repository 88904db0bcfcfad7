import Synchronization

/// The time for which a client can be used, and what is to end with it.
///
/// Thread: any. What is shared stands in one mutex; what ends is called after it was released.
final class Lifetime: Sendable {
    private struct State {
        var isOver = false
        var count = 0
        var ends: [Int: @Sendable () -> Void] = [:]
    }

    /// What is thrown to whoever uses the client after its end.
    static let over = HeraldError.unusable("The client was shut down")

    private let state = Mutex(State())

    /// Whether the client has ended.
    var isOver: Bool { state.withLock { $0.isOver } }

    /// Has `end` called when the client ends, at once if it has. Gives the number by which to leave.
    func enter(_ end: @escaping @Sendable () -> Void) -> Int {
        let number: Int? = state.withLock { state in
            state.count += 1
            guard !state.isOver else { return nil }
            state.ends[state.count] = end
            return state.count
        }
        if number == nil { end() }
        return number ?? 0
    }

    /// Forgets what was entered under the number.
    func leave(_ number: Int) {
        state.withLock { _ = $0.ends.removeValue(forKey: number) }
    }

    /// Ends all that was entered.
    func end() {
        let ends = state.withLock { state in
            state.isOver = true
            defer { state.ends = [:] }
            return Array(state.ends.values)
        }
        for end in ends { end() }
    }
}
