import CHeraldLog
import Testing

struct InterestTests {
    @Test func `readers of both of an interest's filters are counted once`() throws {
        let log = TestLog()
        let interest = try Interest(log, loop: 3, ["a/*", "a/b", "**"], members: 5)
        #expect(try log.append("a/b").receivers == 5)
        #expect(log.wakes.take() == 1 << 3)
        interest.setMembers(2)
        #expect(try log.append("a/x").receivers == 2)
    }

    @Test func `all interests that match are counted and their loops woken`() throws {
        let log = TestLog()
        let interests = [
            try Interest(log, loop: 0, ["a"], members: 1), try Interest(log, loop: 1, ["*"], members: 10),
            try Interest(log, loop: 63, transport: longPoll, ["a"], members: 100),
            try Interest(log, loop: 2, ["b"], members: 1000),
        ]
        #expect(try log.append("a").receivers == 111)
        #expect(log.wakes.take() == 0x8000_0000_0000_0003)
        #expect(interests.count == 4)
    }

    @Test func `nobody is woken for an event that nobody wants or any more wants`() throws {
        let log = TestLog()
        do {
            let interest = try Interest(log, loop: 1, ["a"])
            #expect(try log.append("b").receivers == 0)
            #expect(log.wakes.take() == 0)
            #expect(interest.filters == ["a"])
        }
        #expect(try log.append("a").receivers == 0)
        #expect(log.wakes.take() == 0)
    }

    @Test func `an interest knows its filters and where it began`() throws {
        let log = TestLog()
        try log.append("a")
        let interest = try Interest(log, ["b", "a/*"])
        #expect(interest.filters == ["b", "a/*"] && interest.since == 1)
        #expect(interest.ids.allSatisfy { $0 < log.filterIDLimit })
        #expect(Set(interest.ids).count == 2)
    }

    @Test func `one filter has one id, whoever has it`() throws {
        let log = TestLog()
        let one = try Interest(log, ["a", "b"])
        let other = try Interest(log, loop: 1, ["b"])
        #expect(one.ids[1] == other.ids[0])
        #expect(log.stats.filter_count == 2)
    }

    @Test func `events carry the filters that matched when they were appended`() throws {
        let log = TestLog()
        let first = try Interest(log, ["a/b"])
        try log.append("a/b")
        let second = try Interest(log, ["a/*", "c"])
        try log.append("a/b")
        try log.append("a/new")
        let events = log.read(["a/b", "a/new"]).events
        #expect(events.map { Set($0.matches) } == [Set(first.ids), [first.ids[0], second.ids[0]], [second.ids[0]]])
        #expect(events[1].matches == events[1].matches.sorted())
    }

    @Test func `subscribers are counted by transport`() throws {
        let log = TestLog()
        let interests = [
            try Interest(log, ["a", "*"], members: 2),
            try Interest(log, transport: serverSentEvents, ["**"], members: 3),
            try Interest(log, loop: 1, transport: serverSentEvents, ["a"], members: 4),
        ]
        try log.append("a")
        let subscribers = try #require(log.state("a")).subscribers
        #expect(subscribers.0 == 2 && subscribers.1 == 7 && subscribers.2 == 0 && subscribers.3 == 0)
        #expect(interests.count == 3)
    }

    @Test func `an interest reads like its filters without one`() throws {
        let log = TestLog { $0.retention.count_max = 3 }
        for number in 0..<30 { try log.append(["a", "b/x", "b/y"][number % 3]) }
        for filters in [["a"], ["b/*"], ["a", "b/y"], ["a", "b/*"]] {
            let interest = try Interest(log, filters)
            #expect(interest.read().sequences == log.read(filters).sequences)
            #expect(interest.read().gap?.to == log.read(filters).gap?.to)
        }
    }

    @Test func `a filter keeps what its topics lost before they were forgotten`() throws {
        let log = TestLog { $0.topic_idle_ms = 100 }
        let interest = try Interest(log, ["a/*"])
        try log.append("a/x", at: 1000)
        try log.append("b/x", at: 1000)
        _ = log.purge("a/x")
        _ = log.purge("b/x")
        log.tick(5000)
        // The filter's own floor, not that of all forgotten topics.
        #expect(interest.read().gap?.to == 1)
    }
}

struct InterestLimitTests {
    @Test func `the last filter allowed is taken and one more is refused`() throws {
        let log = TestLog { $0.filter_count_max = 3 }
        let first = try Interest(log, ["a", "b"])
        #expect(throws: Failure(status: .limitReached, index: nil)) { try Interest(log, ["c", "d"]) }
        #expect(log.stats.filter_count == 2)
        let second = try Interest(log, ["c", "a"])
        #expect(throws: Failure(status: .limitReached, index: nil)) { try Interest(log, ["d"]) }
        #expect(log.stats.filter_count == 3 && first.ids.count == 2 && second.ids.count == 2)
    }

    @Test func `filters that linger don't count as having readers`() throws {
        let log = TestLog { $0.filter_count_max = 1 }
        for name in ["a", "b", "c"] {
            let interest = try Interest(log, [name])
            #expect(log.stats.filter_count == 1 && interest.filters == [name])
        }
        #expect(log.stats.filter_count == 0)
    }

    @Test func `the last link allowed is made and a filter that needs one more is refused`() throws {
        let log = TestLog { $0.link_count_max = 3 }
        for topic in ["a/x", "a/y", "b"] { try log.append(topic) }
        let first = try Interest(log, ["a/*"])
        #expect(log.stats.link_count == 2)
        #expect(throws: Failure(status: .limitReached, index: nil)) { try Interest(log, ["a/**"]) }
        let second = try Interest(log, ["b"])
        #expect(log.stats.link_count == 3 && first.ids != second.ids)
    }

    @Test func `a topic that needs one link too many is refused`() throws {
        let log = TestLog { $0.link_count_max = 2 }
        let interests = [try Interest(log, ["*"]), try Interest(log, loop: 1, ["a"])]
        try log.append("a")
        #expect(throws: Failure(status: .limitReached, index: 0)) { try log.append("b") }
        #expect(log.stats.link_count == 2 && log.state("b") == nil && interests.count == 2)
    }

    @Test func `filters that linger make room for links that are needed`() throws {
        let log = TestLog { $0.link_count_max = 2 }
        for topic in ["a", "b"] { try log.append(topic) }
        _ = log.read("*", after: 0)
        #expect(log.stats.link_count == 2)
        let interest = try Interest(log, ["**"])
        #expect(log.stats.link_count == 2 && interest.ids.count == 1)
        #expect(throws: Failure(status: .limitReached, index: 0)) { try log.append("c") }
    }

    @Test func `a poll that no link is left for reads the same`() throws {
        let log = TestLog {
            $0.link_count_max = 0
            $0.retention.count_max = 1
        }
        for topic in ["a/x", "b", "a/y", "a/x"] { try log.append(topic) }
        let reading = log.read(["a/*", "b"])
        #expect(reading.sequences == [2, 3, 4] && reading.gap?.to == 1 && reading.gap?.filter_index == 0)
        #expect(log.stats.link_count == 0)
    }

    @Test func `a filter lingers for a minute after its last use`() throws {
        let log = TestLog { $0.retention.age_ms_max = 0 }
        try log.append("a", at: 1000)
        _ = log.read("*", after: 0)
        log.tick(60_999)
        #expect(log.stats.link_count == 1)
        _ = log.read("*", after: 0)
        log.tick(61_000)
        #expect(log.stats.link_count == 1)
        log.tick(120_999)
        #expect(log.stats.link_count == 0)
    }

    @Test func `an id is given again and the new filter matches by itself`() throws {
        let log = TestLog { $0.retention.age_ms_max = 0 }
        for topic in ["a", "b"] { try log.append(topic, at: 1000) }
        let old = try Interest(log, ["a"]).ids
        log.tick(70_000)
        let interest = try Interest(log, ["*"])
        #expect(interest.ids == old && log.filterIDLimit == 1)
        #expect(try log.append("b", at: 70_000).receivers == 1)
        #expect(interest.read().sequences == [1, 2, 3])
    }

    @Test func `as many filters linger as allowed and one more ends the longest unused`() throws {
        let log = TestLog()
        try log.append("first/x")
        try log.append("last/x")
        _ = log.read("first/*", after: 0)
        for number in 1..<1024 { _ = log.read("f\(number)/*", after: 0) }
        #expect(log.stats.link_count == 1)
        _ = log.read("last/*", after: 0)
        #expect(log.stats.link_count == 1 && log.filterIDLimit == 1025)
        #expect(log.read("first/*", after: 0).sequences == [1])
    }
}

struct SlowPolicyTests {
    private static let keep = hr_retention(count_max: 10, bytes_max: 1 << 20, age_ms_max: 0)
    private let log = TestLog(rules: [
        Rule(filter: "a/x", retention: keep, slow: slowDisconnect),
        Rule(filter: "a/**", retention: keep, slow: slowLatest),
    ])

    @Test(arguments: [
        (["a/x"], slowDisconnect), (["a/y"], slowLatest), (["a/*"], slowLatest), (["b"], slowGap), (["*/x"], slowGap),
        (["a/y", "a/z"], slowLatest), (["a/y", "b"], slowGap), (["a/x", "a/y"], slowGap),
    ])
    func `the first rule that covers a filter decides, and filters that differ lose nothing`(
        filters: [String], expected: hr_slow_policy
    ) throws {
        #expect(try Interest(log, filters).slowPolicy == expected)
    }
}

struct LiveTests {
    @Test func `a loop reads what concerns it and stands at the head then`() throws {
        let log = TestLog()
        let interests = [try Interest(log, loop: 0, ["a"]), try Interest(log, loop: 1, ["b"])]
        for topic in ["a", "b", "c", "a"] { try log.append(topic) }
        let first = log.liveRead(loop: 0, after: 0)
        #expect(first.sequences == [1, 4] && first.state.cursor == 4 && !first.state.more && !first.state.overrun)
        #expect(log.liveRead(loop: 0, after: 4).events.isEmpty)
        #expect(log.liveRead(loop: 1, after: 0).sequences == [2])
        #expect(log.liveRead(loop: 2, after: 0).state.cursor == 4)
        #expect(interests.count == 2)
    }

    @Test func `a bounded read says that there is more and loses nothing`() throws {
        let log = TestLog()
        let interest = try Interest(log, ["a"])
        for topic in ["a", "b", "a", "b", "a"] { try log.append(topic) }
        let first = log.liveRead(loop: 0, after: 0, max: 2)
        #expect(first.sequences == [1, 3] && first.state.more && first.state.cursor == 4)
        let second = log.liveRead(loop: 0, after: first.state.cursor, max: 1)
        #expect(second.sequences == [5] && !second.state.more && second.state.cursor == 5)
        #expect(interest.since == 0)
    }

    @Test func `as many events as the window holds are read and one more is an overrun`() throws {
        let log = TestLog { $0.window_count = 4 }
        let interest = try Interest(log, ["a"])
        for _ in 0..<4 { try log.append("a") }
        #expect(log.liveRead(loop: 0, after: 0).sequences == [1, 2, 3, 4])
        for _ in 0..<5 { try log.append("a") }
        let reading = log.liveRead(loop: 0, after: 4)
        #expect(reading.state.overrun && reading.events.isEmpty && reading.state.cursor == 9)
        try log.append("a")
        #expect(log.liveRead(loop: 0, after: 9).sequences == [10])
        #expect(interest.since == 0)
    }

    @Test func `what does not concern a loop does not overrun it`() throws {
        let log = TestLog { $0.window_count = 4 }
        let interest = try Interest(log, ["a"])
        for _ in 0..<20 { try log.append("b") }
        try log.append("a")
        let reading = log.liveRead(loop: 0, after: 0)
        #expect(reading.sequences == [21] && !reading.state.overrun && interest.since == 0)
    }

    @Test func `the window's bytes are bounded and its newest event stays`() throws {
        let log = TestLog { $0.window_bytes_max = 2000 }
        let interest = try Interest(log, ["t"])
        try log.append([publication(costing: 1000), publication(costing: 1000)])
        #expect(log.stats.window_bytes == 2000)
        #expect(log.liveRead(loop: 0, after: 0).sequences == [1, 2])
        try log.append([publication(costing: 1001)])
        #expect(log.stats.window_count == 1 && log.stats.window_bytes == 1001)
        try log.append([publication(costing: 5000)])
        #expect(log.stats.window_count == 1 && log.stats.window_bytes == 5000)
        #expect(log.liveRead(loop: 0, after: 2).state.overrun && interest.since == 0)
    }

    @Test func `an event that no topic keeps is delivered live`() throws {
        let log = TestLog { $0.retention.count_max = 0 }
        let interest = try Interest(log, ["a"])
        try log.append("a")
        #expect(log.liveRead(loop: 0, after: 0).sequences == [1] && interest.since == 0)
    }
}
