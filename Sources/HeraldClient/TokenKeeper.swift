import Synchronization

/// A token, and which of its client's it is.
struct Token: Sendable, CustomStringConvertible, CustomReflectable {
    let text: String
    let number: Int

    /// Not the token: this may get into a log.
    var description: String { "token \(number)" }

    var customMirror: Mirror { Mirror(self, children: []) }
}

/// Keeps a client's token, and asks for another one when that is needed.
///
/// Thread: any. What is shared stands in one mutex, which is not held while the source is asked.
final class TokenKeeper: Sendable {
    private struct State {
        var token: Token?
        var count = 0
    }

    private let source: TokenSource
    private let timeout: Duration
    private let state = Mutex(State())
    private let flight = SingleFlight<Token>()

    init(_ source: TokenSource, timeout: Duration) throws(HeraldError) {
        self.source = source
        self.timeout = timeout
        if case .fixed(let text) = source.kind { try keep(text) }
    }

    /// Whether there may be another token than the one at hand.
    var canRefresh: Bool {
        if case .provided = source.kind { return true }
        return false
    }

    /// The token to show; nil if there is none.
    func current() async throws -> Token? {
        if let token = state.withLock({ $0.token }) { return token }
        return try await ask()
    }

    /// A token that came after the given one; nil if there is no other to be had.
    func fresh(after used: Token?) async throws -> Token? {
        guard canRefresh else { return nil }
        if let token = state.withLock({ $0.token }), token.number > used?.number ?? 0 { return token }
        return try await ask()
    }

    /// Has the source asked before the token is used again.
    func spoil(_ token: Token?) {
        guard canRefresh, let token else { return }
        state.withLock { state in
            if state.token?.number == token.number { state.token = nil }
        }
    }

    private func ask() async throws -> Token? {
        guard case .provided(let provide) = source.kind else { return nil }
        return try await flight.value(within: timeout) {
            do {
                return try self.keep(try await provide())
            } catch let error as HeraldError {
                throw error
            } catch {
                throw HeraldError.noToken("its provider threw \(type(of: error))")
            }
        }
    }

    @discardableResult
    private func keep(_ text: String) throws(HeraldError) -> Token {
        // What a header cannot hold could end it, and begin another.
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw .unusable("The token is empty, or holds characters that no token has")
        }
        return state.withLock { state in
            state.count += 1
            let token = Token(text: text, number: state.count)
            state.token = token
            return token
        }
    }
}

/// Shares one run of an operation among all who ask for its value meanwhile.
///
/// Thread: any. What is shared stands in one mutex; continuations are resumed after it was released.
final class SingleFlight<Value: Sendable>: Sendable {
    private struct State {
        var flights = 0
        var tasks: [Task<Void, Never>] = []
        var callers = 0
        var waiters: [Int: CheckedContinuation<Value, any Error>] = [:]

        /// Ends the flight that there is.
        mutating func land() -> (waiters: [CheckedContinuation<Value, any Error>], tasks: [Task<Void, Never>]) {
            defer {
                flights += 1
                waiters = [:]
                tasks = []
            }
            return (Array(waiters.values), tasks)
        }
    }

    private let state = Mutex(State())

    /// Waits for the operation's value: of a run that is under way, or of a new one. It must come within the time.
    ///
    /// The run is cancelled when nobody waits for it any more.
    func value(within time: Duration, _ operation: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let caller = state.withLock { state in
            state.callers += 1
            return state.callers
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let isCancelled = state.withLock { state in
                    guard !Task.isCancelled else { return true }
                    if state.waiters.isEmpty { state.tasks = fly(state.flights, within: time, operation) }
                    state.waiters[caller] = continuation
                    return false
                }
                if isCancelled { continuation.resume(throwing: CancellationError()) }
            }
        } onCancel: {
            leave(caller)
        }
    }

    private func fly(
        _ flight: Int, within time: Duration, _ operation: @escaping @Sendable () async throws -> Value
    ) -> [Task<Void, Never>] {
        let work = Task {
            let result: Result<Value, any Error>
            do { result = .success(try await operation()) } catch { result = .failure(error) }
            self.land(flight, result)
        }
        let patience = Task {
            guard (try? await Task.sleep(for: time)) != nil else { return }
            self.land(flight, .failure(HeraldError.noToken("its provider took longer than \(time.inSeconds) s")))
        }
        return [work, patience]
    }

    private func land(_ flight: Int, _ result: Result<Value, any Error>) {
        let (waiters, tasks) = state.withLock { state in
            state.flights == flight ? state.land() : ([], [])
        }
        for task in tasks { task.cancel() }
        for waiter in waiters { waiter.resume(with: result) }
    }

    private func leave(_ caller: Int) {
        let (waiter, tasks) = state.withLock { state -> (CheckedContinuation<Value, any Error>?, [Task<Void, Never>]) in
            let waiter = state.waiters.removeValue(forKey: caller)
            guard waiter != nil, state.waiters.isEmpty else { return (waiter, []) }
            return (waiter, state.land().tasks)
        }
        for task in tasks { task.cancel() }
        waiter?.resume(throwing: CancellationError())
    }
}
