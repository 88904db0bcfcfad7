import CHeraldLog
import Foundation
import Synchronization
import Testing

/// Threads of their own, because these tests need all at once, however few processors there are.
private func inParallel(_ jobs: [@Sendable () -> Void]) {
    let group = DispatchGroup()
    for job in jobs {
        group.enter()
        Thread.detachNewThread {
            job()
            group.leave()
        }
    }
    group.wait()
}

/// What threads gather. Not a `Mutex`: the thread sanitizer does not know it.
private final class Gathered<Element: Hashable & Sendable>: Sendable {
    private let lock = NSLock()
    // Shared safely: touched with the lock held only.
    private nonisolated(unsafe) var elements: Set<Element> = []

    func insert(_ element: Element) { _ = lock.withLock { unsafe elements.insert(element) } }
    var all: Set<Element> { lock.withLock { unsafe elements } }
}

/// What all threads of one test share. Publishers publish to t/0 … t/6 only, so that t/* must see every sequence.
private final class Arena: Sendable {
    static let publisherCount = 3
    static let publishCount = 2000

    let log: TestLog
    let publishing = Atomic<Int>(publisherCount)
    let mistakes = Gathered<String>()

    init(_ change: (inout Settings) -> Void) { log = TestLog(change) }

    var isOver: Bool { publishing.load(ordering: .acquiring) == 0 }
    func complain(_ mistake: String) { mistakes.insert(mistake) }

    func publish(_ number: Int) {
        var random = SplitMix(seed: UInt64(number))
        var last: UInt64 = 0
        for round in 0..<Self.publishCount {
            let count = random.chance(10) ? 5 : 1
            let batch = (0..<count).map { _ in
                Publication(topic: "t/\(Int.random(in: 0..<7, using: &random))", data: [UInt8](repeating: 1, count: 50))
            }
            guard let receipts = try? log.append(batch, at: Int64(1000 + round)) else {
                return complain("a publish was refused")
            }
            let sequences = receipts.map(\.sequence)
            if sequences != Array(sequences[0]..<sequences[0] + UInt64(count)) || sequences[0] <= last {
                complain("receipts of \(sequences) after \(last)")
            }
            last = sequences.last!
        }
        publishing.subtract(1, ordering: .releasing)
    }

    /// Reads t/* from a cursor to the end: each sequence once, in order, or a gap over what is missing.
    func catchUp(_ interest: Interest?) {
        var options = ReadOptions()
        options.countMax = 64
        options.encoding = json
        while true {
            let wasOver = isOver
            let reading = interest?.read(options) ?? log.read(["t/*"], options)
            var expected = options.after + 1
            for event in reading.events {
                if event.sequence < expected
                    || (event.sequence > expected && event.sequence - 1 > reading.state.gap_seen)
                {
                    complain("read \(event.sequence) instead of \(expected), seen gaps to \(reading.state.gap_seen)")
                }
                expected = event.sequence + 1
            }
            options.after = reading.state.cursor
            options.gapSeen = reading.state.gap_seen
            if wasOver && reading.state.complete { return }
        }
    }

    /// Follows loop: everything that concerns it in order, each once, unless it is overrun.
    func follow(loop: UInt32, _ isConcerned: (Event) -> Bool) {
        var cursor: UInt64 = 0
        while true {
            let wasOver = isOver
            let reading = log.liveRead(loop: loop, after: cursor, max: 32)
            var last = cursor
            for event in reading.events {
                if event.sequence <= last || !isConcerned(event) {
                    complain("loop \(loop) got \(event.sequence) of \(event.topic) after \(last)")
                }
                last = event.sequence
            }
            if last > reading.state.cursor { complain("loop \(loop) stands before what it got") }
            cursor = reading.state.cursor
            if wasOver && !reading.state.more { return }
        }
    }

    func comeAndGo() {
        var random = SplitMix(seed: 99)
        let filters = ["t/*", "t/1", "**", "t/2", "*/3", "u/**"]
        while !isOver {
            let chosen = Array(filters.shuffled(using: &random).prefix(2))
            guard let interest = try? Interest(log, loop: 5, chosen, members: 1) else {
                return complain("an interest was refused")
            }
            _ = interest.read(ReadOptions(after: interest.since))
            _ = log.read(chosen, ReadOptions(after: log.head))
            _ = log.topics(prefix: "t/")
            _ = log.state("t/1")
            log.tick(Int64(1000 + Int.random(in: 0..<2000, using: &random)))
        }
    }

    func run() throws {
        let all = try Interest(log, loop: 0, ["t/*"])
        let some = try Interest(log, loop: 1, ["t/1", "t/2"])
        let publishers = (0..<Self.publisherCount).map { number in { @Sendable in self.publish(number) } }
        inParallel(
            publishers + [
                { self.catchUp(nil) }, { self.catchUp(all) }, { self.comeAndGo() },
                { self.follow(loop: 0) { _ in true } },
                { self.follow(loop: 1) { $0.topic == "t/1" || $0.topic == "t/2" } },
            ])
        #expect(mistakes.all == [])
        #expect(some.filters.count == 2)
    }
}

@Suite(.serialized) struct LogThreadTests {
    @Test func `threads that append and read see one order without holes`() throws {
        let arena = Arena {
            $0.retention = hr_retention(count_max: 100_000, bytes_max: 1 << 30, age_ms_max: 0)
            $0.window_count = 65_536
        }
        try arena.run()
        let stats = arena.log.stats
        #expect(stats.retained_count == stats.head && stats.evicted_count.0 == 0)
    }

    @Test func `threads that append and read while much is evicted are told of each hole`() throws {
        let arena = Arena {
            $0.retention = hr_retention(count_max: 40, bytes_max: 1 << 20, age_ms_max: 500)
            $0.memory_bytes_max = 60_000
            $0.window_count = 64
            $0.topic_idle_ms = 200
        }
        try arena.run()
        #expect(arena.log.stats.retained_bytes <= 60_000)
    }

    @Test func `threads that want the same frame get the same one`() throws {
        let log = TestLog()
        try log.append("t", [UInt8](repeating: UInt8(ascii: "x"), count: 1000))
        let places = Gathered<Int>()
        inParallel(
            (0..<4).map { _ in
                {
                    for number in 0..<Int(HR_ENCODING_COUNT) {
                        let encoding = hr_encoding(rawValue: UInt32(number))!
                        let place = unsafe log.withEvent(1, in: "t") {
                            unsafe Int(bitPattern: hr_event_frame($0, encoding))
                        }
                        places.insert(place)
                    }
                }
            })
        #expect(places.all.count == Int(HR_ENCODING_COUNT))
        let charged = unsafe log.withEvent(1, in: "t") { event in
            (0..<Int(HR_ENCODING_COUNT)).reduce(UInt64(0)) { sum, number in
                unsafe sum + 8 + UInt64(hr_event_frame(event, hr_encoding(rawValue: UInt32(number))!)!.pointee.len)
            }
        }
        #expect(log.stats.frame_bytes == charged)
    }
}
