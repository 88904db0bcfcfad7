#if canImport(Darwin)
import Darwin
#elseif canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif
import NIOCore

/// One measurement: one transport at one rate.
struct TransportRun: Sendable {
    /// Readers that are opened at a time: the server's queue of connections that wait has an end.
    private static let waveSize = 64

    /// How long a reader may lack what was published last, on top of an interval of short polls.
    private static let patience: Duration = .seconds(10)

    let plan: BenchPlan
    let transport: BenchTransport
    let rate: Double
    let topic: String
    let connector: Connector
    let control: Control

    /// What stood in the ledger at a moment, and what the moment was.
    private struct Snapshot: Sendable {
        let counts: Counts
        let time: NIODeadline
        let clientTime: Duration
        let processorSeconds: Double?
    }

    /// Measures. Whatever comes of it, no connection is left behind.
    func measure() async throws -> Figures {
        let (failures, failure) = AsyncThrowingStream.makeStream(of: Void.self, throwing: (any Error).self)
        let schedule = Schedule(rate: rate, warmUp: plan.warmUp(of: transport), duration: plan.duration)
        let stage = try await onLoop {
            let ledger = Ledger(schedule: schedule, readers: plan.readers) { failure.finish(throwing: $0) }
            return NIOLoopBound(
                Stage(plan, transport, ledger, topic: topic, connector), eventLoop: connector.loop)
        }
        let result: Result<Figures, any Error>
        do {
            result = .success(try await race(stage, schedule, against: failures))
        } catch {
            result = .failure(error)
        }
        try? await connector.loop.flatSubmit { stage.value.close() }.get()
        return try result.get()
    }

    /// Performs until it is done or the first failure has come.
    private func race(
        _ stage: NIOLoopBound<Stage>, _ schedule: Schedule, against failures: AsyncThrowingStream<Void, any Error>
    ) async throws -> Figures {
        try await withThrowingTaskGroup(of: Figures?.self) { group in
            group.addTask { try await perform(stage, schedule) }
            group.addTask {
                for try await _ in failures {}
                return nil
            }
            defer { group.cancelAll() }
            while let outcome = try await group.next() {
                if let figures = outcome { return figures }
            }
            throw CancellationError()
        }
    }

    private func perform(_ stage: NIOLoopBound<Stage>, _ schedule: Schedule) async throws -> Figures {
        let opening = try await open(stage)
        let start = try await onLoop { stage.value.start() }
        try await sleep(until: start + TimeAmount(schedule.warmUp))
        let before = try await snapshot(stage)
        try await sleep(until: start + TimeAmount(schedule.warmUp + schedule.duration))
        let after = try await snapshot(stage)
        try await awaitTheLast(stage)
        return try await onLoop {
            var figures = Figures(stage.value.ledger, after.counts - before.counts, opening)
            figures.seconds = Duration.nanoseconds((after.time - before.time).nanoseconds).inSeconds
            figures.clientSeconds = (after.clientTime - before.clientTime).inSeconds
            // Less than before is another process's count: behind one address there may be several servers.
            if let first = before.processorSeconds, let last = after.processorSeconds, last >= first {
                figures.processorSeconds = last - first
            }
            return figures
        }
    }

    /// Opens all readers, then the publisher.
    private func open(_ stage: NIOLoopBound<Stage>) async throws -> Figures.Opening {
        let cursor = try await control.cursor(of: topic)
        let began = NIODeadline.now()
        for first in stride(from: 0, to: plan.readers, by: Self.waveSize) {
            let numbers = first..<min(first + Self.waveSize, plan.readers)
            try await connector.loop.flatSubmit { stage.value.openReaders(numbers, after: cursor) }.get()
            try Task.checkCancellation()
        }
        let opening = try await onLoop {
            let counts = stage.value.ledger.counts
            return Figures.Opening(
                seconds: Duration.nanoseconds((NIODeadline.now() - began).nanoseconds).inSeconds,
                bytesReceived: counts.bytesReceived, bytesSent: counts.bytesSent)
        }
        try await connector.loop.flatSubmit { stage.value.openPublisher() }.get()
        return opening
    }

    /// The server is asked first, so that what its answer costs lies before both moments or behind them.
    private func snapshot(_ stage: NIOLoopBound<Stage>) async throws -> Snapshot {
        let scrape = try await control.scrape()
        return try await onLoop {
            Snapshot(
                counts: stage.value.ledger.counts, time: .now(), clientTime: Self.processorTime,
                processorSeconds: scrape.processorSeconds)
        }
    }

    /// Waits until all readers have all events; what they lack after that is lost.
    private func awaitTheLast(_ stage: NIOLoopBound<Stage>) async throws {
        let interval = transport == .poll ? plan.interval : .zero
        let deadline = ContinuousClock.now + Self.patience + interval
        while ContinuousClock.now < deadline {
            if try await onLoop({ stage.value.ledger.isComplete }) { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        let missing = try await onLoop {
            stage.value.ledger.schedule.count - stage.value.ledger.published
        }
        if missing > 0 { throw BenchFault("the server did not answer \(missing) of the events that were published") }
    }

    private func sleep(until time: NIODeadline) async throws {
        try await Task.sleep(for: .nanoseconds((time - .now()).nanoseconds))
    }

    private func onLoop<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await connector.loop.submit(body).get()
    }

    /// What this process has used of its processors. POSIX has `clock` count in microseconds.
    private static var processorTime: Duration { .microseconds(Int64(clock())) }
}
