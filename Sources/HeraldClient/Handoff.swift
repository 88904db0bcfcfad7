import Synchronization

/// Hands values from one producer to one consumer, one at a time.
///
/// The producer waits until the value before was taken: that is what bounds a subscription's memory, and what makes a
/// slow reader felt by the server through the connection instead of growing a queue here.
///
/// Thread: any. What is shared stands in one mutex; continuations are resumed after it was released.
final class Handoff<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var end: Result<Void, any Error>?
        var producer: CheckedContinuation<Void, Never>?
        var consumer: CheckedContinuation<Value?, any Error>?
    }

    private let state = Mutex(State())

    /// Waits until there is room and puts the value there. Throws `CancellationError` once the hand-off has ended.
    func send(_ value: Value) async throws {
        while true {
            try Task.checkCancellation()
            if try offer(value) { return }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let resumesAtOnce = state.withLock { state in
                        guard state.value != nil, state.end == nil, !Task.isCancelled else { return true }
                        state.producer = continuation
                        return false
                    }
                    if resumesAtOnce { continuation.resume() }
                }
            } onCancel: {
                state.withLock { $0.producer.take() }?.resume()
            }
        }
    }

    /// Waits for the next value; `nil` at the end. Throws what the hand-off was ended with.
    func next() async throws -> Value? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (outcome, producer) = state.withLock { state -> (Result<Value?, any Error>?, _) in
                    if let value = state.value.take() { return (.success(value), state.producer.take()) }
                    if let end = state.end { return (end.map { nil }, nil) }
                    if Task.isCancelled { return (.success(nil), nil) }
                    state.consumer = continuation
                    return (nil, nil)
                }
                producer?.resume()
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            state.withLock { $0.consumer.take() }?.resume(returning: nil)
        }
    }

    /// Ends the hand-off. A value not yet taken can still be; the first end is the one that counts.
    func finish(_ end: Result<Void, any Error>) {
        let (producer, consumer, hasValue) = state.withLock { state in
            if state.end == nil { state.end = end }
            return (state.producer.take(), state.consumer.take(), state.value != nil)
        }
        producer?.resume()
        // A waiting consumer and a value that waits exclude each other.
        assert(consumer == nil || !hasValue)
        consumer?.resume(with: end.map { nil })
    }

    /// Puts the value down if there is room.
    private func offer(_ value: Value) throws -> Bool {
        let (isTaken, consumer) = try state.withLock { state -> (Bool, CheckedContinuation<Value?, any Error>?) in
            guard state.end == nil else { throw CancellationError() }
            if let consumer = state.consumer.take() { return (true, consumer) }
            guard state.value == nil else { return (false, nil) }
            state.value = value
            return (true, nil)
        }
        consumer?.resume(returning: value)
        return isTaken
    }
}
