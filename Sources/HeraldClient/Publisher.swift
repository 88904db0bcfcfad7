import AsyncHTTPClient
import Synchronization

/// Publishes the events of many tasks in few requests.
///
///     let publisher = client.publisher()
///     let receipt = try await publisher.publish(Publication(topic: "orders/42", payload: .text("shipped")))
///
/// Each caller waits for its own receipt. Events are gathered into batches, bounded by `PublisherLimits`. A batch
/// goes with an idempotency key of its own: when its answer is lost, or the server asks for time, the same is tried
/// again under the same key, and nothing is published twice. That holds as long as the server remembers the key: it
/// does so for 10 minutes and 100,000 keys unless configured, not over a restart, and not for another server behind
/// the same name.
///
/// An event that the server refuses fails alone, and the others of its batch are sent again without it. A caller that
/// is cancelled leaves at once; its event is not published if its batch had not left, and may be otherwise.
public final class Publisher: Sendable {
    private typealias Waiter = CheckedContinuation<Receipt, any Error>

    /// Who has given an event: not yet waiting for its receipt, waiting, or told before it waited.
    private enum Caller {
        case coming
        case waiting(Waiter)
        case answered(Result<Receipt, any Error>)

        var waiter: Waiter? {
            if case .waiting(let waiter) = self { waiter } else { nil }
        }
    }

    private struct State {
        var queue: PublishQueue
        var callers: [Int: Caller] = [:]
        var timer: Task<Void, Never>?
        var alarm: ContinuousClock.Instant?
    }

    private let caller: HTTPCaller
    private let limits: PublisherLimits
    private let state: Mutex<State>

    init(_ caller: HTTPCaller, _ limits: PublisherLimits) {
        self.caller = caller
        self.limits = limits
        self.state = Mutex(State(queue: PublishQueue(limits)))
    }

    /// Publishes an event, together with those that others publish now.
    ///
    /// Calls from one actor keep their order. Throws what was wrong with this event, `HeraldError.tooMany` where too
    /// many wait, or `HeraldError.unanswered` where nobody knows if it was published.
    @discardableResult
    public nonisolated(nonsending) func publish(_ event: Publication) async throws -> Receipt {
        let line = event.line() + [0x0A]
        // Before anything is awaited: that may take the task off its actor, and others of it would overtake.
        let number = try enter(line)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (waiter: Waiter) in wait(for: number, waiter) }
        } onCancel: {
            leave(number)
        }
    }

    /// How many callers wait for a receipt.
    var waiterCount: Int { state.withLock { $0.callers.count } }

    private func enter(_ line: [UInt8]) throws -> Int {
        try Task.checkCancellation()
        let number = try state.withLock { state in
            let number = try state.queue.add(line, at: .now)
            state.callers[number] = .coming
            return number
        }
        goOn()
        return number
    }

    private func wait(for number: Int, _ waiter: Waiter) {
        let result: Result<Receipt, any Error>? = state.withLock { state in
            switch state.callers[number] {
            case .coming:
                state.callers[number] = .waiting(waiter)
                return nil
            case .answered(let result):
                state.callers[number] = nil
                return result
            case .waiting, nil: return .failure(CancellationError())
            }
        }
        if let result { waiter.resume(with: result) }
    }

    private func leave(_ number: Int) {
        let waiter: Waiter? = state.withLock { state in
            if case .answered = state.callers[number] { return nil }
            state.queue.remove(number)
            return state.callers.removeValue(forKey: number)?.waiter
        }
        waiter?.resume(throwing: CancellationError())
    }

    /// Sends what is due, and sees to it that this is called again when more is.
    private func goOn() {
        while true {
            let step = state.withLock { state in
                let step = state.queue.next(at: .now)
                if case .wait(let due) = step { setAlarm(due, &state) }
                return step
            }
            guard case .send(let batch) = step else { return }
            Task {
                await deliver(batch)
                state.withLock { $0.queue.finish() }
                goOn()
            }
        }
    }

    private func setAlarm(_ due: ContinuousClock.Instant, _ state: inout State) {
        guard state.alarm != due else { return }
        state.timer?.cancel()
        state.alarm = due
        state.timer = Task {
            guard (try? await Task.sleep(until: due, clock: .continuous)) != nil else { return }
            self.state.withLock { state in
                if state.alarm == due { (state.alarm, state.timer) = (nil, nil) }
            }
            goOn()
        }
    }

    // MARK: One batch

    /// Publishes a batch, in parts if need be, and tells each caller what became of its event.
    private func deliver(_ batch: [PublishQueue.Entry]) async {
        var parts = [batch]
        while let part = parts.popLast() {
            // Whoever has left meanwhile is not published for.
            let part = state.withLock { state in part.filter { state.callers[$0.number] != nil } }
            guard !part.isEmpty else { continue }
            switch await send(part) {
            case .published(let receipts):
                for (entry, receipt) in zip(part, receipts) { answer(entry, .success(receipt)) }
            case .wrong(let place, let error):
                answer(part[place], .failure(error))
                parts.append(Array(part[..<place] + part[(place + 1)...]))
            case .tooLarge:
                parts.append(Array(part[(part.count / 2)...]))
                parts.append(Array(part[..<(part.count / 2)]))
            case .again(_, let error), .failed(let error):
                for entry in part { answer(entry, .failure(error)) }
            }
        }
    }

    private func answer(_ entry: PublishQueue.Entry, _ result: Result<Receipt, HeraldError>) {
        let result = result.mapError { $0 as any Error }
        let waiter: Waiter? = state.withLock { state in
            if case .coming = state.callers[entry.number] {
                state.callers[entry.number] = .answered(result)
                return nil
            }
            return state.callers.removeValue(forKey: entry.number)?.waiter
        }
        waiter?.resume(with: result)
    }

    /// Sends events until it is known what became of them, or it has taken too long.
    private func send(_ part: [PublishQueue.Entry]) async -> BatchOutcome {
        let request = caller.batch(part.flatMap(\.line), key: Self.key())
        let began = ContinuousClock.now
        var backoff = Backoff(caller.configuration.retry)
        var isUncertain = false
        while true {
            let outcome = BatchOutcome(await attempt(request), count: part.count, isUncertain: isUncertain)
            guard case .again(let floor, let error) = outcome else { return outcome }
            if error.leavesOpen { isUncertain = true }
            let failure: HeraldError = isUncertain ? .unanswered(error.description) : error
            guard let delay = backoff.next(atLeast: floor, chance: .random(in: 0...1)),
                ContinuousClock.now + delay - began <= limits.retryTimeMax,
                (try? await Task.sleep(for: delay)) != nil
            else { return .failed(failure) }
        }
    }

    private func attempt(_ request: HTTPClientRequest) async -> Result<CollectedAnswer, HeraldError> {
        do {
            return .success(try await caller.collect(request))
        } catch let error as HeraldError {
            return .failure(error)
        } catch {
            return .failure(.cut("The client was shut down"))
        }
    }

    /// A key that no other batch has: 128 bits by chance.
    private static func key() -> String {
        let halves = (0..<2).map { _ in String(UInt64.random(in: .min ... .max), radix: 16) }
        return halves.map { String(repeating: "0", count: 16 - $0.count) + $0 }.joined()
    }
}
