import Synchronization
import Testing

@testable import HeraldClient

/// A server that publishes batches as Herald does: by key once, and with lost answers, refusals and delays when told
/// so.
private final class Press: Sendable {
    /// What becomes of a request.
    enum Fate: Sendable {
        case answer
        case cutBefore
        case cutAfter
        case refuse(String, String)
    }

    private struct State {
        var published: [String] = []
        var answers: [String: String] = [:]
        var batches: [Int] = []
    }

    private let state = Mutex(State())
    private let fate: @Sendable (Int, [String]) -> Fate

    /// Decides by the number of the request and its lines.
    init(_ fate: @escaping @Sendable (Int, [String]) -> Fate) { self.fate = fate }

    var published: [String] { state.withLock { $0.published } }
    var batches: [Int] { state.withLock { $0.batches } }

    func serve(_ peer: ScriptedPeer) async throws {
        while true {
            let request = try await peer.request()
            let lines = request.body.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
            let number = state.withLock { state in
                state.batches.append(lines.count)
                return state.batches.count
            }
            switch fate(number, lines) {
            case .cutBefore: return
            case .refuse(let status, let problem):
                try await peer.answer(status, problem, type: "application/problem+json")
            case .answer:
                let (status, body) = publish(lines, request.headers["idempotency-key"] ?? "")
                try await peer.answer(status, body)
            case .cutAfter:
                _ = publish(lines, request.headers["idempotency-key"] ?? "")
                return
            }
        }
    }

    private func publish(_ lines: [String], _ key: String) -> (status: String, body: String) {
        state.withLock { state in
            if let known = state.answers[key] { return ("200 OK", known) }
            let receipts = lines.map { line -> String in
                state.published.append(line)
                return #"{"id":"5f3a9c1e-\#(state.published.count)","topic":"a","time":"x","receivers":0}"#
            }
            let body = "{\"events\":[\(receipts.joined(separator: ","))]}"
            state.answers[key] = body
            return ("201 Created", body)
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct PublisherTests {
    private func event(_ number: Int) -> Publication { Publication(topic: "a", payload: .text("\(number)")) }
    private func line(_ number: Int) -> String { #"{"topic":"a","data":"\#(number)"}"# }

    private func run(
        _ press: Press, _ change: (inout PublisherLimits) -> Void = { _ in },
        _ body: (Publisher) async throws -> Void
    ) async throws {
        var limits = PublisherLimits()
        change(&limits)
        let configuration = impatient()
        try await ScriptedServer.run { _, peer in
            try await press.serve(peer)
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                try await body(client.publisher(limits))
            }
        }
    }

    /// Publishes these at once; gives the sequence of each, or what was wrong.
    private func publish(_ numbers: Range<Int>, _ publisher: Publisher) async -> [Int: Result<Int, HeraldError>] {
        await withTaskGroup(of: (Int, Result<Int, HeraldError>).self) { group in
            for number in numbers {
                let event = event(number)
                group.addTask {
                    do {
                        return (number, .success(Int(try await publisher.publish(event).id.sequence)))
                    } catch {
                        return (number, .failure(error as? HeraldError ?? .unusable("\(error)")))
                    }
                }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
    }

    @Test func `the events of many callers go in few requests, and each caller gets its own receipt`() async throws {
        let press = Press { _, _ in .answer }
        try await run(press) {
            $0.eventsMax = 50
            $0.delay = .seconds(30)
        } _: { publisher in
            let receipts = await publish(0..<1_000, publisher)
            for (number, result) in receipts {
                let sequence = try result.get()
                #expect(press.published[sequence - 1] == line(number))
            }
        }
        #expect(press.batches == Array(repeating: 50, count: 20))
    }

    @Test func `an event that is alone goes after the delay`() async throws {
        let press = Press { _, _ in .answer }
        try await run(press) { publisher in
            for number in 1...3 {
                let receipt = try await publisher.publish(event(number))
                #expect(receipt.id.sequence == UInt64(number))
            }
        }
        #expect(press.batches == [1, 1, 1])
    }

    @Test func `answers that are lost publish nothing twice`() async throws {
        var random = Seeded(5)
        let fates = (0..<400).map { _ in Int.random(in: 0..<5, using: &random) }
        let press = Press { number, _ in
            switch number < fates.count ? fates[number] : 0 {
            case 1: .cutBefore
            case 2: .cutAfter
            case 3: .refuse("503 Service Unavailable", "{}")
            default: .answer
            }
        }
        try await run(press) {
            $0.eventsMax = 7
            $0.batchesMax = 4
        } _: { publisher in
            let receipts = await publish(0..<300, publisher)
            for (number, result) in receipts {
                let sequence = try result.get()
                #expect(press.published[sequence - 1] == line(number))
            }
        }
        #expect(press.published.count == 300 && Set(press.published).count == 300)
    }

    @Test func `one batch at a time keeps the order in which an actor gave its events`() async throws {
        let press = Press { number, _ in number % 3 == 0 ? .cutAfter : .answer }
        let given = Given()
        try await run(press, { $0.eventsMax = 10 }) { publisher in
            let givers = (0..<200).map { number in
                Task { @MainActor in
                    given.numbers.append(number)
                    _ = try? await publisher.publish(event(number))
                }
            }
            for giver in givers { await giver.value }
        }
        let numbers = await given.numbers
        let published = press.published
        let place = zip(published, numbers.map(line)).prefix { $0 == $1 }.count
        #expect(published == numbers.map(line), "from place \(place) on")
        #expect(published.count == 200)
    }

    /// Numbers in the order in which an actor gave them; it need not be that in which its tasks were made.
    @MainActor private final class Given {
        var numbers: [Int] = []
    }

    @Test func `an event that is refused fails alone, and the others are published in their order`() async throws {
        let press = Press { _, lines in
            guard let bad = lines.firstIndex(where: { $0.contains("13") || $0.contains("31") }) else { return .answer }
            let place = bad % 2 == 0 ? "\"line\":\(bad + 1)" : "\"index\":\(bad)"
            return .refuse(
                "422 Unprocessable Content",
                #"{"type":"/problems/bad-event","title":"Bad event","status":422,"detail":"d",\#(place)}"#)
        }
        try await run(press) {
            $0.eventsMax = 50
            $0.delay = .seconds(30)
        } _: { publisher in
            let receipts = await publish(0..<50, publisher)
            for (number, result) in receipts {
                switch result {
                case .success(let sequence): #expect(press.published[sequence - 1] == line(number))
                case .failure(let error):
                    #expect([13, 31].contains(number) && error.description == "Bad event: d.")
                }
            }
            #expect(receipts.values.filter { (try? $0.get()) == nil }.count == 2)
        }
        #expect(press.published.count == 48 && press.batches == [50, 49, 48])
    }

    @Test func `a batch that is too large is parted until the one is found that is`() async throws {
        let tooLarge = #"{"type":"/problems/body-too-large","title":"Too large","status":413}"#
        let press = Press { _, lines in
            lines.count > 3 || lines.contains(line(5)) ? .refuse("413 Content Too Large", tooLarge) : .answer
        }
        try await run(press) {
            $0.eventsMax = 8
            $0.delay = .seconds(30)
        } _: { publisher in
            let receipts = await publish(0..<8, publisher)
            #expect(receipts.filter { (try? $0.value.get()) == nil }.map(\.key) == [5])
        }
        #expect(Set(press.published) == Set((0..<8).filter { $0 != 5 }.map(line)))
    }

    @Test func `a caller that is cancelled in time is not published for, and holds up nobody`() async throws {
        let press = Press { _, _ in .answer }
        try await run(press) {
            $0.eventsMax = 2
            $0.delay = .seconds(3_600)
        } _: { publisher in
            let cancelled = Task { try await publisher.publish(event(1)) }
            while publisher.waiterCount == 0 { await Task.yield() }
            cancelled.cancel()
            await #expect(throws: CancellationError.self) { try await cancelled.value }
            let receipts = await publish(2..<4, publisher)
            #expect(receipts.values.compactMap { try? $0.get() }.sorted() == [1, 2])
            let late = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await publisher.publish(event(9))
            }
            await #expect(throws: CancellationError.self) { try await late.value }
        }
        #expect(Set(press.published) == [line(2), line(3)])
    }

    @Test func `what gets no answer for too long is told so`() async throws {
        let press = Press { _, _ in .cutAfter }
        try await run(press, { $0.retryTimeMax = .milliseconds(50) }) { publisher in
            let error = await #expect(throws: HeraldError.self) { try await publisher.publish(event(1)) }
            guard case .unanswered? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        #expect(press.published == [line(1)])
    }

    @Test func `what was never sent is not told to be uncertain`() async throws {
        var configuration = impatient()
        configuration.retry.attemptsMax = 2
        try await HeraldClient.withClient(url: "http://127.0.0.1:1", configuration: configuration) { client in
            let publisher = client.publisher()
            let error = await #expect(throws: HeraldError.self) { try await publisher.publish(event(1)) }
            guard case .unreachable? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }
}
