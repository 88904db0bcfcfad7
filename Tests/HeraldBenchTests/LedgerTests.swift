import NIOCore
import Testing

@testable import HeraldBench

@Suite struct LedgerTests {
    /// Two readers, ten events a second, of which the first ten are the warm-up.
    private func ledger(onFailure: @escaping (any Error) -> Void = { _ in }) -> Ledger {
        let ledger = Ledger(
            schedule: Schedule(rate: 10, warmUp: .seconds(1), duration: .seconds(1)), readers: 2, onFailure: onFailure)
        ledger.start = .uptimeNanoseconds(1_000)
        return ledger
    }

    @Test func `a latency counts from when the event was due, and not for the warm-up`() throws {
        let ledger = ledger()
        let due = try #require(ledger.due(10))
        #expect(due == .uptimeNanoseconds(1_000) + .milliseconds(1050))
        ledger.receive(9, by: 0, at: due)
        #expect(ledger.latencies.total == 0)
        ledger.receive(10, by: 0, at: due + .milliseconds(7))
        ledger.receive(10, by: 1, at: due - .milliseconds(1))
        #expect(ledger.latencies.total == 2)
        #expect(ledger.latencies.max == 7_000_000)
        #expect(ledger.counts.deliveries == 3)
    }

    @Test func `what a reader lacks is lost, and what comes again is repeated`() {
        let ledger = ledger()
        for _ in 0..<20 { ledger.acknowledge() }
        for event in 0..<20 {
            ledger.receive(event, by: 0, at: .now())
            if event != 5 { ledger.receive(event, by: 1, at: .now()) }
        }
        #expect(ledger.lost == 1 && ledger.repeated == 0)
        #expect(!ledger.isComplete)
        ledger.receive(6, by: 1, at: .now())
        ledger.receive(6, by: 1, at: .now())
        #expect(ledger.lost == 1 && ledger.repeated == 2)
        ledger.receive(5, by: 1, at: .now())
        #expect(ledger.lost == 0 && ledger.isComplete)
    }

    @Test func `it is not complete before the server has answered every publication`() {
        let ledger = ledger()
        for event in 0..<20 { for reader in 0..<2 { ledger.receive(event, by: reader, at: .now()) } }
        #expect(!ledger.isComplete)
        for _ in 0..<20 { ledger.acknowledge() }
        #expect(ledger.isComplete)
    }

    @Test func `an event that was not published fails the measurement, once`() {
        var failures: [String] = []
        let ledger = ledger { failures.append("\($0)") }
        ledger.receive(20, by: 0, at: .now())
        ledger.receive(21, by: 0, at: .now())
        #expect(failures == ["a reader got event 20, which was not published"])
    }

    @Test func `what fails after the end is meant to`() {
        var failures = 0
        let ledger = ledger { _ in failures += 1 }
        ledger.close()
        ledger.fail(BenchFault("cut"))
        #expect(failures == 0)
    }

    @Test func `the longest lateness is kept`() throws {
        let ledger = ledger()
        for (event, late) in [(0, 3), (1, 8), (2, 5)] {
            ledger.send(event, at: try #require(ledger.due(event)) + .milliseconds(Int64(late)))
        }
        #expect(ledger.latenessMax == .milliseconds(8))
    }

    @Test func `figures are for each event delivered`() {
        let ledger = ledger()
        let counts = Counts(
            requests: 50, fullAnswers: 20, emptyAnswers: 10, unchangedAnswers: 20, deliveries: 40, bytesReceived: 8000,
            bytesSent: 4000)
        var figures = Figures(ledger, counts, Figures.Opening())
        #expect(figures.requestsPerEvent == 1.25 && figures.emptyPerEvent == 0.75)
        #expect(figures.bytesReceivedPerEvent == 200 && figures.bytesSentPerEvent == 100)
        #expect(figures.processorPerEvent == nil)
        figures.processorSeconds = 0.001
        #expect(figures.processorPerEvent == 25)
        #expect(Figures(ledger, Counts(), Figures.Opening()).requestsPerEvent == nil)
    }

    @Test func `counts between two moments are differences`() {
        let first = Counts(requests: 1, deliveries: 10, bytesReceived: 100, bytesSent: 7)
        let second = Counts(requests: 4, fullAnswers: 2, deliveries: 15, bytesReceived: 180, bytesSent: 7)
        #expect(second - first == Counts(requests: 3, fullAnswers: 2, deliveries: 5, bytesReceived: 80))
    }
}
