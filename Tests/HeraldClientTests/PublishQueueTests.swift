import Testing

@testable import HeraldClient

@Suite struct PublishQueueTests {
    private let start = ContinuousClock.now

    private func limits(_ change: (inout PublisherLimits) -> Void = { _ in }) -> PublisherLimits {
        var limits = PublisherLimits()
        limits.delay = .milliseconds(10)
        limits.eventsMax = 3
        limits.bytesMax = 100
        change(&limits)
        return limits
    }

    private func line(_ count: Int) -> [UInt8] { Array(repeating: 0x78, count: count) }

    private func numbers(_ step: PublishQueue.Step) -> [Int]? {
        if case .send(let batch) = step { return batch.map(\.number) }
        return nil
    }

    @Test func `the first event waits for others, but no longer than the delay`() throws {
        var queue = PublishQueue(limits())
        _ = try queue.add(line(1), at: start)
        let early = queue.next(at: start + .milliseconds(9))
        #expect(early == .wait(until: start + .milliseconds(10)))
        _ = try queue.add(line(1), at: start + .milliseconds(9))
        let due = queue.next(at: start + .milliseconds(10))
        #expect(numbers(due) == [1, 2])
    }

    @Test func `a batch that is full goes at once`() throws {
        var queue = PublishQueue(limits { $0.batchesMax = 10 })
        for _ in 1...3 { _ = try queue.add(line(1), at: start) }
        let full = queue.next(at: start)
        #expect(numbers(full) == [1, 2, 3])
        _ = try queue.add(line(100), at: start)
        let large = queue.next(at: start)
        #expect(numbers(large) == [4])
        for _ in 1...2 { _ = try queue.add(line(60), at: start) }
        let first = queue.next(at: start)
        let second = queue.next(at: start)
        #expect(numbers(first) == [5] && second == .wait(until: start + .milliseconds(10)))
    }

    @Test func `an event larger than a batch is one of its own`() throws {
        var queue = PublishQueue(limits { $0.batchesMax = 10 })
        for count in [50, 101, 50] { _ = try queue.add(line(count), at: start) }
        let batches = (1...3).map { _ in queue.next(at: start + .seconds(1)) }
        #expect(batches.map { numbers($0) } == [[1], [2], [3]])
    }

    @Test func `no more batches are under way than may be, and what gathers meanwhile goes together`() throws {
        var queue = PublishQueue(limits { $0.delay = .zero })
        _ = try queue.add(line(1), at: start)
        let first = queue.next(at: start)
        for _ in 1...2 { _ = try queue.add(line(1), at: start) }
        let meanwhile = queue.next(at: start + .seconds(1))
        queue.finish()
        let second = queue.next(at: start + .seconds(1))
        #expect(numbers(first) == [1] && meanwhile == .rest && numbers(second) == [2, 3])
    }

    @Test func `what is withdrawn is not sent, wherever it stands`() throws {
        var queue = PublishQueue(limits { $0.eventsMax = 10 })
        for _ in 1...5 { _ = try queue.add(line(20), at: start) }
        for number in [1, 3, 5, 5, 77] { queue.remove(number) }
        let wait = queue.next(at: start)
        #expect(wait == .wait(until: start + .milliseconds(10)), "40 bytes are left, which fill no batch")
        let batch = queue.next(at: start + .milliseconds(10))
        #expect(numbers(batch) == [2, 4])
        queue.finish()
        let nothing = queue.next(at: start + .seconds(1))
        #expect(nothing == .rest)
    }

    @Test func `so many events and bytes may wait, and not one more`() throws {
        var queue = PublishQueue(limits { $0.waitingMax = 2 })
        for _ in 1...2 { _ = try queue.add(line(1), at: start) }
        #expect(throws: HeraldError.tooMany(what: "events that wait to be published", limit: 2)) {
            try queue.add(line(1), at: start)
        }
        queue.remove(1)
        #expect(throws: Never.self) { try queue.add(line(1), at: start) }
        var bytes = PublishQueue(limits { $0.waitingBytesMax = 10 })
        _ = try bytes.add(line(10), at: start)
        #expect(throws: HeraldError.tooMany(what: "bytes that wait to be published", limit: 10)) {
            try bytes.add(line(1), at: start)
        }
        _ = bytes.next(at: start + .seconds(1))
        #expect(throws: Never.self) { try bytes.add(line(10), at: start) }
    }

    @Test func `the order is kept over many that come, go and are withdrawn`() throws {
        var random = Seeded(17)
        var queue = PublishQueue(limits { $0.batchesMax = .max })
        var (expected, sent): (Set<Int>, [Int]) = ([], [])
        for step in 1...20_000 {
            let now = start + .milliseconds(step)
            let number = try queue.add(line(Int.random(in: 1...60, using: &random)), at: now)
            expected.insert(number)
            if Int.random(in: 1...4, using: &random) == 1 {
                let gone = Int.random(in: max(1, number - 5)...number, using: &random)
                queue.remove(gone)
                if !sent.contains(where: { $0 == gone }) { expected.remove(gone) }
            }
            if let batch = numbers(queue.next(at: now)) {
                #expect(batch.count <= 3)
                sent = Array((sent + batch).suffix(10))
                for number in batch { #expect(expected.remove(number) != nil) }
                #expect(sent == sent.sorted())
            }
        }
    }
}

/// A generator whose numbers depend on its seed alone (SplitMix64).
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}

@Suite struct BatchOutcomeTests {
    private func answer(_ status: Int, _ body: String, _ headers: [(String, String)] = []) -> CollectedAnswer {
        let type = status < 300 ? "application/json" : "application/problem+json"
        return CollectedAnswer(
            status: status, headers: .init([("Content-Type", type)] + headers), body: Array(body.utf8))
    }

    private func problem(_ status: Int, _ slug: String, _ more: String = "") -> CollectedAnswer {
        answer(status, #"{"type":"/problems/\#(slug)","title":"No","status":\#(status)\#(more)}"#)
    }

    private func outcome(_ answer: CollectedAnswer, count: Int = 3, isUncertain: Bool = false) -> BatchOutcome {
        BatchOutcome(.success(answer), count: count, isUncertain: isUncertain)
    }

    private let receipt = #"{"id":"5f3a9c1e-42","topic":"a","time":"x","receivers":0}"#

    @Test func `receipts are as many as events`() {
        let good = outcome(answer(201, "{\"events\":[\(receipt),\(receipt)]}"), count: 2)
        guard case .published(let receipts) = good else {
            Issue.record("\(good)")
            return
        }
        #expect(receipts.count == 2)
        for body in ["{\"events\":[\(receipt)]}", "{}", "<html>"] {
            guard case .failed(.unanswered) = outcome(answer(201, body), count: 2) else {
                Issue.record("\(body) was taken")
                return
            }
        }
    }

    @Test func `the event that is named is the one that is wrong, by its line or its index`() {
        guard case .wrong(at: 1, .problem(let own)) = outcome(problem(422, "bad-event", #","line":2"#)) else {
            Issue.record("the line is not understood")
            return
        }
        #expect(own.slug == "bad-event" && own.line == nil && own.index == nil)
        guard case .wrong(at: 2, _) = outcome(problem(413, "body-too-large", #","index":2"#)),
            case .wrong(at: 0, _) = outcome(problem(403, "forbidden", #","index":0,"line":1"#))
        else {
            Issue.record("the index is not understood")
            return
        }
        for place in [#","line":0"#, #","line":4"#, #","index":3"#, #","index":-1"#] {
            guard case .failed(.problem) = outcome(problem(422, "bad-event", place)) else {
                Issue.record("\(place) is no place in the batch")
                return
            }
        }
    }

    @Test func `what is too large is parted, unless it is one event`() {
        guard case .tooLarge = outcome(problem(413, "body-too-large", #","limit":2"#)),
            case .failed = outcome(problem(413, "body-too-large"), count: 1)
        else {
            Issue.record("it is not parted")
            return
        }
    }

    @Test func `a lost answer and a busy server are tried again, after the time that it asks for`() {
        let cut = HeraldError.cut("x")
        let lost = BatchOutcome(.failure(cut), count: 1, isUncertain: false)
        #expect(lost == .again(after: .zero, cut))
        guard case .again(.seconds(7), _) = outcome(answer(429, "{}", [("Retry-After", "7")])) else {
            Issue.record("the time is not kept")
            return
        }
    }

    @Test func `a refusal of the right says nothing of an attempt before it that got no answer`() {
        let refusal = problem(403, "forbidden", #","index":1"#)
        guard case .wrong(at: 1, _) = outcome(refusal),
            case .failed(.unanswered) = outcome(refusal, isUncertain: true),
            case .failed(.unanswered) = BatchOutcome(.failure(.unusable("x")), count: 1, isUncertain: true)
        else {
            Issue.record("it is taken for certain")
            return
        }
    }

    @Test func `only some failures leave open whether it was published`() {
        var full = Problem(type: "/problems/overloaded", title: "Full", status: 503)
        #expect(!HeraldError.problem(full).leavesOpen)
        full.type = "about:blank"
        #expect(HeraldError.problem(full).leavesOpen)
        #expect(HeraldError.cut("x").leavesOpen && !HeraldError.unreachable("x").leavesOpen)
    }
}
