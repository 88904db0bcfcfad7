import CHeraldHub
import Foundation
import Testing

/// Polls whose answer is kept for the next that asks the same, and those that are too long for it.
@Suite struct PollTests {
    private func poll(_ hub: TestHub, _ target: String) -> TestSocket {
        let socket = TestSocket(port: hub.port)
        socket.get(target)
        #expect(socket.readAnswer())
        return socket
    }

    /// Asks three times, and says what the answers have in common.
    private func pollThrice(_ hub: TestHub, _ target: String) -> [UInt64] {
        let before = hub.statistics().polls(isHeld: target.hasPrefix("/long"))
        let answers = (0..<3).map { _ in poll(hub, target) }
        let after = hub.statistics().polls(isHeld: target.hasPrefix("/long"))
        #expect(Set(answers.map(\.pages)).count == 1 && answers[0].pages.count == 1, "\(target)")
        let sequences = answers[0].sequences
        let count = 3 * UInt64(sequences.count)
        #expect(after.deliveries - before.deliveries == count)
        #expect(after.latency.count - before.latency.count == count)
        let polls = sequences.isEmpty ? after.polls.1 - before.polls.1 : after.polls.0 - before.polls.0
        #expect(polls == 3)
        let lengths = answers.reduce(0) { $0 + UInt64($1.received.count) }
        let (payload, overhead) = (after.payload_bytes, after.overhead_bytes)
        let counted = payload + overhead - before.payload_bytes - before.overhead_bytes
        #expect(counted == (sequences.isEmpty ? 0 : lengths), "\(target)")
        return sequences
    }

    @Test(arguments: [63, 64, 65, 200], ["/short/a", "/short/*", "/long/a?0", "/long/*?0"])
    func `an answer of so many events is given again until one comes or goes`(count: Int, target: String) throws {
        let hub = try TestHub(.init(retainCount: UInt32(count)))
        defer { hub.end() }
        for number in 0..<count { hub.publish("a", "event \(number)") }
        #expect(pollThrice(hub, target) == hub.published)
        let isExact = target.contains("/a")
        hub.publish("b", "another topic's")
        #expect(pollThrice(hub, target) == (isExact ? hub.published.dropLast() : hub.published))
        // The topic is full: this one has the oldest evicted.
        let last = hub.publish("a", "the last").sequence
        let kept = hub.published[1..<count] + (isExact ? [last] : hub.published[count...])
        #expect(pollThrice(hub, target) == Array(kept))
        #expect(hr_log_purge(hub.log, slice("b")) == .ok)
        #expect(pollThrice(hub, target) == Array(hub.published[1..<count]) + [last])
        #expect(hr_log_purge(hub.log, slice("a")) == .ok)
        #expect(poll(hub, target.replacingOccurrences(of: "/long", with: "/short")).sequences.isEmpty)
    }

    @Test(arguments: [65_535, 65_536, 65_537], ["/short/a", "/long/a?0"])
    func `an answer of so many bytes is given again until an event comes or goes`(length: Int, target: String) throws {
        let hub = try TestHub()
        defer { hub.end() }
        // So many, and so much, that no number in the answer has more digits than in the one that is measured.
        for _ in 0..<100 { hub.publish("c", "before") }
        hub.publish("b", String(repeating: "x", count: 20_000))
        let bare = poll(hub, target.replacingOccurrences(of: "/a", with: "/b")).received.count - 20_000
        let last = hub.publish("a", String(repeating: "x", count: length - bare)).sequence
        #expect(poll(hub, target).received.count == length)
        #expect(pollThrice(hub, target) == [last])
        let next = hub.publish("a", "next").sequence
        #expect(pollThrice(hub, target) == [last, next])
    }

    /// So many that they are answered by one system call; it takes only part of each answer.
    @Test(arguments: [true, false])
    func `held polls get an answer that is larger than their sockets take`(ioUring: Bool) throws {
        let hub = try TestHub(.init(ioUring: ioUring))
        defer { hub.end() }
        let sockets = (0..<5).map { _ in TestSocket(port: hub.port, receiveBuffer: 4_096) }
        for socket in sockets { socket.get("/long/a") }
        #expect(eventually { hub.statistics().held_requests == sockets.count })
        let text = TestHub.filled("x", 5 << 20)
        let sequence = hub.publish("a", text).sequence
        for socket in sockets {
            try #require(socket.readAnswer())
            #expect(socket.sequences == [sequence] && socket.bodies.first?.contains(text) == true)
        }
    }

    /// Nothing is published then, but for the server's own, once a second.
    @Test func `an answer goes with the events that grow too old`() throws {
        let hub = try TestHub(.init(retainAge: 3_600_000))
        defer { hub.end() }
        hub.publish("a", "event")
        #expect(pollThrice(hub, "/short/a") == hub.published)
        hr_log_tick(hub.log, Int64(Date().timeIntervalSince1970 * 1000) + 7_200_000)
        #expect(pollThrice(hub, "/short/a").isEmpty)
    }
}

extension hr_histogram {
    /// How many values were added.
    var count: UInt64 {
        withUnsafeBytes(of: buckets) { $0.bindMemory(to: UInt64.self).reduce(0, +) }
    }
}
