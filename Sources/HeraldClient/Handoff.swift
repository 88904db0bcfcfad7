import Synchronization

/// Hands values from producers to one consumer, one at a time.
///
/// A producer waits until the value before was taken: that is what bounds a subscription's memory, and what makes a
/// slow reader felt by the server through the connection instead of growing a queue here.
///
/// Thread: any. What is shared stands in one mutex; continuations are resumed after it was released.
final class Handoff<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var end: Result<Void, any Error>?
        var consumer: CheckedContinuation<Value?, any Error>?
        var producers: [Int: CheckedContinuation<Void, Never>] = [:]
        var producerCount = 0

        mutating func takeProducers() -> [CheckedContinuation<Void, Never>] {
            defer { producers = [:] }
            return Array(producers.values)
        }
    }

    private let state = Mutex(State())

    /// Whether a value can be put down. Throws `CancellationError` once the hand-off has ended.
    func hasRoom() throws -> Bool {
        try state.withLock { state in
            guard state.end == nil else { throw CancellationError() }
            return state.value == nil
        }
    }

    /// Waits until there is room, or none is needed any more. Throws `CancellationError` if the task is cancelled.
    func waitForRoom() async throws {
        let number = state.withLock { state in
            state.producerCount += 1
            return state.producerCount
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let resumesAtOnce = state.withLock { state in
                    guard state.value != nil, state.end == nil, !Task.isCancelled else { return true }
                    state.producers[number] = continuation
                    return false
                }
                if resumesAtOnce { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.producers.removeValue(forKey: number) }?.resume()
        }
        try Task.checkCancellation()
    }

    /// Puts a value down. There must be room: only one producer at a time may come from `hasRoom` to here.
    ///
    /// Throws `CancellationError` once the hand-off has ended.
    func put(_ value: Value) throws {
        let consumer = try state.withLock { state -> CheckedContinuation<Value?, any Error>? in
            guard state.end == nil else { throw CancellationError() }
            precondition(state.value == nil, "a value was put where there was no room")
            if let consumer = state.consumer.take() { return consumer }
            state.value = value
            return nil
        }
        consumer?.resume(returning: value)
    }

    /// Waits for the next value; `nil` at the end. Throws what the hand-off was ended with.
    func next() async throws -> Value? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (outcome, producers) = state.withLock { state -> (Result<Value?, any Error>?, _) in
                    if let value = state.value.take() { return (.success(value), state.takeProducers()) }
                    if let end = state.end {
                        // What went wrong is told once; after it comes the end, as of any sequence.
                        state.end = .success(())
                        return (end.map { nil }, [])
                    }
                    if Task.isCancelled { return (.success(nil), []) }
                    state.consumer = continuation
                    return (nil, [])
                }
                for producer in producers { producer.resume() }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            state.withLock { $0.consumer.take() }?.resume(returning: nil)
        }
    }

    /// Ends the hand-off. A value not yet taken can still be; the first end is the one that counts.
    func finish(_ end: Result<Void, any Error>) {
        let (producers, consumer, hasValue) = state.withLock { state in
            let consumer = state.consumer.take()
            if state.end == nil { state.end = consumer == nil ? end : .success(()) }
            return (state.takeProducers(), consumer, state.value != nil)
        }
        for producer in producers { producer.resume() }
        // A waiting consumer and a value that waits exclude each other.
        assert(consumer == nil || !hasValue)
        consumer?.resume(with: end.map { nil })
    }
}
