import CHeraldLog
import Testing

/// What an event costs beside its own bytes.
let eventOverhead: UInt64 = {
    let log = TestLog()
    _ = try? log.append([Publication(topic: "t", contentType: "")])
    return log.stats.retained_bytes - 1
}()

/// Data that makes an event in a topic of one byte, without a type, cost so much.
func publication(_ topic: String = "t", costing bytes: UInt64) -> Publication {
    let len = Int(bytes - eventOverhead) - topic.utf8.count
    return Publication(topic: topic, contentType: "", data: [UInt8](repeating: 7, count: len))
}

struct AppendTests {
    @Test func `sequences rise by one from one over all topics`() throws {
        let log = TestLog()
        #expect(log.head == 0)
        #expect(try log.append("a").sequence == 1)
        #expect(try log.append([Publication(topic: "b"), Publication(topic: "a")]).map(\.sequence) == [2, 3])
        #expect(log.head == 3)
        #expect(log.read("**", after: 0).sequences == [1, 2, 3])
        #expect(log.read("a", after: 0).sequences == [1, 3])
    }

    @Test func `the version moves with what comes and goes, and only then`() throws {
        let log = TestLog { config in
            config.retention.count_max = 2
            config.retention.age_ms_max = 100
            config.topic_idle_ms = 1000
        }
        var seen = log.version
        func moved() -> Bool {
            defer { seen = log.version }
            return log.version != seen
        }
        try log.append("a", at: 1)
        #expect(moved())
        _ = log.read("**", after: 0)
        _ = log.state("a")
        log.tick(50)
        #expect(log.purge("nobody") == .notFound)
        #expect(!moved())
        log.tick(101)
        #expect(moved(), "an event expired")
        log.tick(5000)
        #expect(moved(), "a topic was forgotten")
        try log.append("a", at: 5000)
        _ = moved()
        #expect(log.purge("a") == .ok)
        #expect(moved())
    }

    @Test func `an event is handed out as it came in`() throws {
        let log = TestLog()
        let data = [UInt8](0...255)
        try log.append([Publication(topic: "a/b", type: "t.x", contentType: "application/x", data: data)], at: 77)
        let event = log.read("a/b", after: 0).events[0]
        #expect(event.topic == "a/b" && event.type == "t.x" && event.contentType == "application/x")
        #expect(event.data == data && event.timeMs == 77)
    }

    @Test func `a topic's state counts what it keeps and what it was given`() throws {
        let log = TestLog { $0.retention.count_max = 2 }
        for _ in 0..<3 { try log.append("t") }
        try log.append("u")
        let state = try #require(log.state("t"))
        #expect(state.retained_count == 2 && state.floor == 1 && state.head == 3 && state.published_count == 3)
        #expect(state.retained_bytes == 2 * (eventOverhead + 1 + 10 + 1))
        #expect(log.state("nobody") == nil)
    }

    @Test func `a batch with one event too big appends none of it and names the one`() {
        let log = TestLog { $0.memory_bytes_max = 2000 }
        #expect(throws: Failure(status: .tooBig, index: 1)) {
            try log.append([Publication(topic: "a"), publication("b", costing: 2001), Publication(topic: "c")])
        }
        #expect(log.head == 0 && log.stats.topic_count == 0 && log.stats.retained_bytes == 0)
    }

    @Test func `an event as big as all memory is taken and one byte more is not`() throws {
        let log = TestLog { $0.memory_bytes_max = 2000 }
        try log.append([publication(costing: 2000)])
        #expect(log.stats.retained_bytes == 2000)
        #expect(throws: Failure(status: .tooBig, index: 0)) { try log.append([publication(costing: 2001)]) }
    }

    @Test func `an event as big as its topic may keep is taken and one byte more is not`() throws {
        let log = TestLog { $0.retention.bytes_max = 2000 }
        try log.append([publication(costing: 2000)])
        #expect(throws: Failure(status: .tooBig, index: 1)) {
            try log.append([Publication(topic: "new"), publication("t", costing: 2001)])
        }
        #expect(log.state("new") == nil)
        #expect(log.read("t", after: 0).sequences == [1])
    }

    @Test func `the last topic allowed is made and one more is refused with all of its batch`() throws {
        let log = TestLog { $0.topic_count_max = 3 }
        try log.append("a")
        #expect(throws: Failure(status: .limitReached, index: 3)) {
            try log.append(["b", "c", "b", "d"].map { Publication(topic: $0) })
        }
        #expect(log.stats.topic_count == 1 && log.head == 1)
        try log.append(["b", "c", "b", "a"].map { Publication(topic: $0) })
        #expect(log.stats.topic_count == 3)
        #expect(throws: Failure(status: .limitReached, index: 0)) { try log.append("d") }
    }

    @Test func `a batch larger than the stack's array is appended in order`() throws {
        let log = TestLog { $0.retention.count_max = 100_000 }
        let receipts = try log.append((0..<1000).map { Publication(topic: "t\($0 % 7)") })
        #expect(receipts.map(\.sequence) == (1...1000).map { UInt64($0) })
        #expect(log.read("**", after: 0).sequences == (1...1000).map { UInt64($0) })
    }

    @Test func `rules decide what a topic keeps and the first that matches wins`() throws {
        let few = hr_retention(count_max: 1, bytes_max: 1 << 20, age_ms_max: 0)
        let some = hr_retention(count_max: 2, bytes_max: 1 << 20, age_ms_max: 0)
        let log = TestLog(rules: [Rule(filter: "a/b", retention: few), Rule(filter: "a/**", retention: some)])
        for topic in ["a/b", "a/c", "d"] {
            for _ in 0..<3 { try log.append(topic) }
        }
        #expect(["a/b", "a/c", "d"].map { log.state($0)?.retained_count } == [1, 2, 3])
    }
}

struct EvictionTests {
    @Test func `as many events as allowed are kept and one more evicts the oldest`() throws {
        let log = TestLog { $0.retention.count_max = 3 }
        for _ in 0..<3 { try log.append("t") }
        #expect(log.read("t", after: 0).sequences == [1, 2, 3])
        #expect(log.read("t", after: 0).gap == nil)
        try log.append("t")
        #expect(log.read("t", after: 0).sequences == [2, 3, 4])
        #expect(log.stats.evicted_count.0 == 1)
    }

    @Test func `as many bytes as allowed are kept and one more evicts the oldest`() throws {
        let log = TestLog { $0.retention.bytes_max = 2000 }
        try log.append([publication(costing: 1000), publication(costing: 1000)])
        #expect(log.state("t")?.retained_bytes == 2000)
        try log.append([publication(costing: eventOverhead + 1)])
        #expect(log.read("t", after: 0).sequences == [2, 3])
        #expect(log.stats.evicted_count.1 == 1)
    }

    @Test func `over all memory the oldest of all goes first, from whatever topic`() throws {
        let log = TestLog { $0.memory_bytes_max = 3000 }
        try log.append([
            publication("a", costing: 1000), publication("b", costing: 1000), publication("a", costing: 1000),
        ])
        #expect(log.stats.retained_bytes == 3000 && log.stats.evicted_count.3 == 0)
        try log.append([publication("c", costing: 1001)])
        #expect(log.read("**", after: 0).sequences == [3, 4])
        #expect(log.stats.evicted_count.3 == 2)
        #expect(log.state("b")?.floor == 2)
    }

    @Test func `frames count against all memory`() throws {
        let log = TestLog { $0.memory_bytes_max = 3600 }
        try log.append([publication("a", costing: 1000), publication("b", costing: 1000)])
        var options = ReadOptions()
        options.encoding = json
        #expect(log.read(["a", "b"], options).events.count == 2)
        #expect(log.stats.frame_bytes > 1000)
        log.tick(1000)
        // The frame of the event that went counts still: the live window holds it.
        #expect(log.read(["a", "b"]).sequences == [2])
    }

    @Test func `an event is kept until its age and not at it`() throws {
        let log = TestLog { $0.retention.age_ms_max = 500 }
        try log.append("t", at: 1000)
        try log.append("t", at: 1001)
        log.tick(1499)
        #expect(log.state("t")?.retained_count == 2)
        log.tick(1500)
        #expect(log.read("t", after: 0).sequences == [2])
        log.tick(1501)
        #expect(log.state("t")?.retained_count == 0)
        #expect(log.stats.evicted_count.2 == 2)
    }

    @Test func `an age of nothing keeps for ever`() throws {
        let log = TestLog { $0.retention.age_ms_max = 0 }
        try log.append("t")
        log.tick(.max)
        #expect(log.state("t")?.retained_count == 1)
    }

    @Test func `what a tick leaves the next one does`() throws {
        let log = TestLog {
            $0.retention = hr_retention(count_max: 100_000, bytes_max: 1 << 30, age_ms_max: 500)
        }
        let batch = [Publication](repeating: Publication(topic: "t"), count: 1000)
        for _ in 0..<40 { try log.append(batch) }
        log.tick(2000)
        let left = log.stats.retained_count
        #expect(left > 0 && left < 40_000)
        log.tick(2000)
        #expect(log.stats.retained_count == 0)
    }

    @Test func `a purge evicts all and lifts the floor to the topic's head`() throws {
        let log = TestLog()
        for topic in ["t", "t", "u"] { try log.append(topic) }
        #expect(log.purge("t") == .ok)
        let state = try #require(log.state("t"))
        #expect(state.retained_count == 0 && state.floor == 2 && state.head == 2 && state.retained_bytes == 0)
        #expect(log.read("**", after: 0).sequences == [3])
        #expect(log.stats.evicted_count.4 == 2)
        #expect(log.purge("t") == .ok)
        #expect(log.purge("nobody") == .notFound)
    }

    @Test func `a topic that keeps nothing is a gap to those who come later`() throws {
        let log = TestLog { $0.retention.count_max = 0 }
        try log.append("t")
        #expect(log.stats.retained_count == 0 && log.state("t")?.floor == 1)
        let reading = log.read("t", after: 0)
        #expect(reading.events.isEmpty && reading.gap?.from == 1 && reading.gap?.to == 1)
    }

    @Test func `an empty topic is forgotten when it was idle long enough`() throws {
        let log = TestLog { $0.topic_idle_ms = 100 }
        try log.append("t", at: 1000)
        log.tick(1000)
        #expect(log.purge("t") == .ok)
        log.tick(1099)
        #expect(log.state("t") != nil)
        log.tick(1100)
        #expect(log.state("t") == nil && log.stats.topic_count == 0)
    }

    @Test(arguments: ["a/b", "a/*", "**"])
    func `what a forgotten topic lost is a gap still`(filter: String) throws {
        let log = TestLog { $0.topic_idle_ms = 100 }
        try log.append("a/b", at: 1000)
        _ = log.purge("a/b")
        log.tick(2000)
        #expect(log.state("a/b") == nil)
        let reading = log.read(filter, after: 0)
        #expect(reading.gap?.from == 1 && reading.gap?.to == 1)
        #expect(log.read(filter, after: 1).gap == nil)
    }

    @Test func `a topic that comes again begins with the floor of the one forgotten`() throws {
        let log = TestLog { $0.topic_idle_ms = 100 }
        try log.append("t", at: 1000)
        try log.append("t", at: 1000)
        _ = log.purge("t")
        log.tick(2000)
        try log.append("t", at: 2000)
        #expect(log.state("t")?.floor == 2)
        let reading = log.read("t", after: 0)
        // Nothing may be said of how many the forgotten topic lost but that they lie between.
        #expect(reading.gap?.missed_max == 2 && reading.sequences == [3])
    }

    @Test func `events of thousands of topics stay in order while they are replaced at random`() throws {
        let log = TestLog { $0.retention.count_max = 1 }
        var random = SplitMix(seed: 5)
        var newest: [Int: UInt64] = [:]
        for _ in 0..<20_000 {
            let topic = Int.random(in: 0..<3000, using: &random)
            newest[topic] = try log.append("t/\(topic)").sequence
        }
        var options = ReadOptions()
        var found: [UInt64] = []
        repeat {
            let reading = log.read(["t/*"], options)
            found += reading.sequences
            options.after = reading.state.cursor
            options.gapSeen = reading.state.gap_seen
        } while options.after < log.head
        #expect(found == newest.values.sorted())
        #expect(log.stats.retained_count == UInt64(newest.count))
    }
}

struct ReadTests {
    private func filled(_ topics: String...) throws -> TestLog {
        let log = TestLog()
        for topic in topics { try log.append(topic) }
        return log
    }

    @Test func `a read ends at the head and says that it is complete`() throws {
        let log = try filled("a", "b", "a", "b")
        for filters in [["a"], ["a", "b"], ["*"]] {
            let reading = log.read(filters)
            #expect(reading.state.complete && reading.state.cursor == 4 && reading.state.head == 4)
        }
        #expect(log.read("nobody", after: 0).state.cursor == 4)
    }

    @Test func `a bounded read stops at its last event and goes on from there`() throws {
        let log = try filled("a", "b", "a", "b", "a")
        for filters in [["a"], ["*"], ["a", "nobody"]] {
            var options = ReadOptions()
            options.countMax = 2
            let first = log.read(filters, options)
            #expect(first.state.count == 2 && !first.state.complete)
            #expect(first.state.cursor == first.sequences.last)
            options.after = first.state.cursor
            options.countMax = 10
            let second = log.read(filters, options)
            #expect(first.sequences + second.sequences == log.read(filters).sequences)
        }
    }

    @Test func `nothing after until is handed out`() throws {
        let log = try filled("a", "b", "a", "b")
        for filters in [["a", "b"], ["*"]] {
            let reading = log.read(filters, ReadOptions(after: 1, until: 3))
            #expect(reading.sequences == [2, 3] && reading.state.complete && reading.state.cursor == 3)
            #expect(log.read(filters, ReadOptions(after: 3, until: 2)).state.cursor == 3)
        }
    }

    @Test func `bytes bound a read, but one event is always handed out`() throws {
        let log = TestLog()
        try log.append([publication(costing: 1000), publication(costing: 1000), publication(costing: 1000)])
        for filter in ["t", "*"] {
            for (bound, count) in [(0, 1), (1999, 1), (2000, 2), (2999, 2), (3000, 3)] {
                var options = ReadOptions()
                options.bytesMax = bound
                #expect(log.read([filter], options).events.count == count)
            }
        }
    }

    @Test func `the newest of each topic alone is read when asked for`() throws {
        let log = try filled("a", "b", "a", "c", "a")
        var options = ReadOptions()
        options.newestOnly = true
        #expect(log.read(["a", "b"], options).sequences == [2, 5])
        #expect(log.read(["*"], options).sequences == [2, 4, 5])
        options.until = 4
        #expect(log.read(["*"], options).sequences == [2, 3, 4])
        options.until = .max
        options.after = 5
        #expect(log.read(["a", "b"], options).sequences == [])
    }

    @Test func `events that were passed over for newer ones are counted when they are passed`() throws {
        let log = try filled("a", "b", "a", "a", "b")
        for filters in [["a", "b"], ["*"]] {
            var options = ReadOptions()
            options.newestOnly = true
            #expect(log.read(filters, options).state.skipped == 3)
            options.countMax = 1
            let first = log.read(filters, options)
            #expect(first.sequences == [4] && first.state.skipped == 3)
            options.after = 4
            #expect(log.read(filters, options).state.skipped == 0)
        }
    }

    @Test func `an event that two filters match is handed out once`() throws {
        let log = try filled("a/b", "a/c")
        #expect(log.read(["a/*", "a/b", "**"]).sequences == [1, 2])
        #expect(log.read(["a/b", "a/b"]).sequences == [1])
    }

    @Test(arguments: [64, 65])
    func `as many exact filters as are merged, and one more, read the same`(count: Int) throws {
        let log = TestLog()
        var expected: [UInt64] = []
        for round in 0..<3 {
            for number in 0..<70 {
                let sequence = try log.append("t/\((number * 17 + round) % 70)").sequence
                if (number * 17 + round) % 70 < count { expected.append(sequence) }
            }
        }
        #expect(log.read((0..<count).map { "t/\($0)" }).sequences == expected)
    }

    @Test func `a read of much that does not match moves the cursor and goes on`() throws {
        let log = TestLog { $0.retention.count_max = 10_000 }
        let batch = [Publication](repeating: Publication(topic: "busy"), count: 1000)
        for _ in 0..<5 { try log.append(batch) }
        try log.append("quiet/x")
        let first = log.read("quiet/*", after: 0)
        #expect(first.events.isEmpty && !first.state.complete && first.state.cursor == 4096)
        let second = log.read("quiet/*", after: first.state.cursor)
        #expect(second.sequences == [5001] && second.state.complete)
    }

    @Test func `a read of nothing yet is complete at once`() {
        let log = TestLog()
        for filter in ["a", "**"] {
            let reading = log.read(filter, after: 0)
            #expect(reading.events.isEmpty && reading.state.complete && reading.gap == nil)
        }
    }
}

struct GapTests {
    /// Keeps two of each topic; a: 1 to 4, b: 5.
    private func evicted() throws -> TestLog {
        let log = TestLog { $0.retention.count_max = 2 }
        for topic in ["a", "a", "a", "a", "b"] { try log.append(topic) }
        return log
    }

    @Test(arguments: ["a", "*"])
    func `a cursor at the floor has lost nothing and one before it has`(filter: String) throws {
        let log = try evicted()
        #expect(log.read(filter, after: 2).gap == nil)
        let reading = log.read(filter, after: 1)
        let gap = try #require(reading.gap)
        #expect(gap.from == 2 && gap.to == 2 && gap.missed_max == 1 && gap.filter_index == 0)
        #expect(reading.state.gap_seen == 2)
        #expect(reading.sequences.first == 3)
    }

    @Test func `a gap is told once`() throws {
        let log = try evicted()
        let first = log.read("a", after: 0)
        #expect(first.gap != nil)
        #expect(log.read("a", after: 0, gapSeen: first.state.gap_seen).gap == nil)
        try log.append("a")
        let later = log.read("a", after: 0, gapSeen: first.state.gap_seen)
        #expect(later.gap?.to == 3)
    }

    @Test func `who asks for the earliest is told of no gap, but of those that come`() throws {
        let log = try evicted()
        let first = log.read("a", after: 0, gapSeen: .max)
        #expect(first.gap == nil && first.state.gap_seen == 2)
        try log.append("a")
        #expect(log.read("a", after: 0, gapSeen: first.state.gap_seen).gap?.to == 3)
    }

    @Test func `a gap names its filter, or that there are several`() throws {
        let log = try evicted()
        #expect(log.read(["b", "a"]).gap?.filter_index == 1)
        let several = try #require(log.read(["a", "*"]).gap)
        #expect(UInt(bitPattern: several.filter_index) == UInt.max)
    }

    @Test func `what lies after until is not lost yet`() throws {
        let log = try evicted()
        try log.append("a")
        let reading = log.read(["a"], ReadOptions(after: 0, until: 1))
        #expect(reading.gap?.to == 1 && reading.state.gap_seen == 1)
        #expect(log.read(["a"], ReadOptions(after: 2, until: 2)).gap == nil)
    }

    @Test func `one filter can have lost no more than its topic did`() throws {
        let log = TestLog { $0.retention.count_max = 1 }
        for topic in ["b", "b", "b", "b", "a", "b", "a"] { try log.append(topic) }
        let gap = try #require(log.read("a", after: 0).gap)
        #expect(gap.from == 1 && gap.to == 5 && gap.missed_max == 1)
        #expect(log.read("*", after: 0).gap?.missed_max == 5)
    }

    @Test func `an eviction while a reader is on its way is a gap from where it stands`() throws {
        let log = try evicted()
        var options = ReadOptions(after: 2)
        options.countMax = 1
        let first = log.read(["a"], options)
        #expect(first.sequences == [3])
        for _ in 0..<2 { try log.append("a") }
        let second = log.read("a", after: 3, gapSeen: first.state.gap_seen)
        #expect(second.gap?.from == 4 && second.gap?.to == 4 && second.sequences == [6, 7])
    }
}

struct TopicListTests {
    private func log(_ topics: [String]) throws -> TestLog {
        let log = TestLog()
        for topic in topics { try log.append(topic) }
        return log
    }

    @Test func `topics are listed in bytewise order, not by segments`() throws {
        let log = try log(["b", "a/c", "a-b", "a", "a/b/c", "a.b"])
        #expect(log.topics().names == ["a", "a-b", "a.b", "a/b/c", "a/c", "b"])
        #expect(!log.topics().more)
    }

    @Test func `a page goes on after a name`() throws {
        let log = try log((0..<25).map { "t/\($0)" })
        var all: [String] = []
        var page = log.topics(max: 10)
        while true {
            all += page.names
            guard page.more else { break }
            page = log.topics(after: all.last!, max: 10)
        }
        #expect(all == (0..<25).map { "t/\($0)" }.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) })
        #expect(!log.topics(max: 25).more && log.topics(max: 24).more)
    }

    @Test func `a prefix may end within a segment`() throws {
        let log = try log(["a/b", "a/bc", "a/b/d", "ab", "x/a/b"])
        #expect(log.topics(prefix: "a/b").names == ["a/b", "a/b/d", "a/bc"])
        #expect(log.topics(prefix: "a/b/").names == ["a/b/d"])
        #expect(log.topics(prefix: "a").names == ["a/b", "a/b/d", "a/bc", "ab"])
        #expect(log.topics(prefix: "nobody/x").names == [])
        #expect(log.topics(prefix: "a/b", after: "a/b").names == ["a/b/d", "a/bc"])
    }

    @Test func `only topics that a filter matches are listed`() throws {
        let log = try log(["a", "a/b", "a/c", "a/b/c", "b/a", "~own/a"])
        #expect(log.topics(filters: ["a/*"]).names == ["a/b", "a/c"])
        #expect(log.topics(filters: ["a/b/c"]).names == ["a/b/c"])
        #expect(log.topics(filters: ["*/b/**", "b/*"]).names == ["a/b/c", "b/a"])
        #expect(log.topics(filters: ["**", "a/*"]).names == ["a", "a/b", "a/b/c", "a/c", "b/a"], "each once")
        #expect(log.topics(filters: ["~own/*"]).names == ["~own/a"])
        #expect(log.topics(filters: ["nobody"]).names == [] && !log.topics(filters: ["nobody"]).more)
        #expect(log.topics(prefix: "a/b", filters: ["a/*", "b/*"]).names == ["a/b"])
        #expect(log.topics(after: "a/b", filters: ["a/*"]).names == ["a/c"])
    }

    @Test func `a page holds as many as match, and more means more that match`() throws {
        let log = try log((0..<40).map { "\($0 % 2 == 0 ? "a" : "b")/\($0)" })
        let all = (0..<40).filter { $0 % 2 == 0 }.map { "a/\($0)" }.sorted()
        var found: [String] = []
        var page = log.topics(filters: ["a/*"], max: 6)
        while true {
            found += page.names
            guard page.more else { break }
            #expect(page.names.count == 6)
            page = log.topics(after: found.last!, filters: ["a/*"], max: 6)
        }
        #expect(found == all)
        #expect(!log.topics(filters: ["a/*"], max: 20).more && log.topics(filters: ["a/*"], max: 19).more)
    }
}

struct FrameTests {
    @Test func `an event is encoded once and the frame goes with it`() throws {
        let log = TestLog()
        try log.append("t")
        let (len, isSame) = unsafe log.withEvent(1, in: "t") { event in
            let first = unsafe hr_event_frame(event, json)
            let second = unsafe hr_event_frame(event, json)
            return unsafe (UInt64(first!.pointee.len), first == second)
        }
        #expect(isSame)
        #expect(log.stats.frame_bytes == len + 8)
        _ = log.purge("t")
        // The live window still holds it.
        #expect(log.stats.frame_bytes == len + 8)
    }

    @Test func `a frame is given back with the last reference`() throws {
        let log = TestLog { $0.window_count = 1 }
        try log.append("t")
        var options = ReadOptions()
        options.encoding = json
        _ = log.read(["t"], options)
        #expect(log.stats.frame_bytes > 0)
        _ = log.purge("t")
        try log.append("t")
        #expect(log.stats.frame_bytes == 0)
    }

    @Test func `appending to a buffer gives the frame's bytes and keeps no frame`() throws {
        let log = TestLog()
        try log.append("t")
        unsafe log.withEvent(1, in: "t") { event in
            var buffer = unsafe hr_buf()
            var plain = 0
            defer { unsafe hr_buf_fini(&buffer) }
            #expect(unsafe hr_event_append_to(event, json, &buffer, &plain) == .ok)
            #expect(unsafe buffer.len == plain)
            #expect(log.stats.frame_bytes == 0)
            let len = unsafe Int(hr_event_frame(event, json).pointee.len)
            #expect(unsafe buffer.len == len)
            #expect(unsafe hr_event_append_to(event, json, &buffer, &plain) == .ok)
            #expect(unsafe buffer.len == 2 * len)
            let copied = unsafe bytes(hr_buf_slice(&buffer))
            #expect(copied.prefix(len).elementsEqual(copied.suffix(len)))
        }
    }
}
