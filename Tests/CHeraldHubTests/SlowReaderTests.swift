import CHeraldHub
import Foundation
import Testing

@Suite struct SlowReaderTests {
    private static let text = String(repeating: "x", count: 8_000)

    /// Opens a reader that does not read, and publishes until it is stalled and its ring has gone by.
    private func stall(_ hub: TestHub, _ target: String, webSocket: Bool) -> TestSocket {
        let socket = TestSocket(port: hub.port, receiveBuffer: 4_096)
        if webSocket {
            socket.openWebSocket(target)
            #expect(socket.read(until: "welcome"))
        } else {
            socket.get(target)
            #expect(socket.read(until: "retry:"))
        }
        #expect(
            eventually {
                for _ in 0..<100 { hub.publish("a", Self.text) }
                return stalls(hub) >= 1
            })
        for _ in 0..<200 { hub.publish("a", Self.text) }
        return socket
    }

    private func stalls(_ hub: TestHub) -> UInt64 {
        let stats = hub.statistics()
        return stats.transports.0.stalls + stats.transports.1.stalls
    }

    /// So many of a kind that they are written to by one system call.
    @Test(arguments: [true, false], [true, false])
    func `readers that stall together each get all that is kept, with io_uring and without`(
        ioUring: Bool, webSocket: Bool
    ) throws {
        let hub = try TestHub(.init(ioUring: ioUring, retainCount: 100_000, memory: 512 << 20))
        defer { hub.end() }
        let readers = (0..<6).map { _ in
            let socket = TestSocket(port: hub.port, receiveBuffer: 4_096)
            webSocket ? socket.openWebSocket("/ws/a") : socket.get("/sse/a")
            #expect(socket.read(until: webSocket ? "welcome" : "retry:"))
            return socket
        }
        #expect(
            eventually {
                for _ in 0..<20 { hub.publish("a", Self.text) }
                return stalls(hub) >= 6
            })
        hub.publish("a", "the end")
        let kept = hub.published.count * Self.text.utf8.count < 60 << 20
        for reader in readers {
            #expect(reader.read(until: "\"the end\""))
            if kept { #expect(reader.sequences == hub.published) }
        }
        #expect(kept, "the system's socket buffers are larger than this test is made for")
    }

    @Test(arguments: [true, false])
    func `policy gap says what was missed, and what follows has no other hole`(webSocket: Bool) throws {
        let hub = try TestHub(.init(retainCount: 50))
        defer { hub.end() }
        let fast = TestSocket(port: hub.port)
        fast.get("/sse/a")
        #expect(fast.read(until: "retry:"))
        let slow = stall(hub, webSocket ? "/ws/a" : "/sse/a", webSocket: webSocket)
        let last = hub.publish("a", "the end")
        #expect(fast.read(until: "\"the end\""))
        // A burst longer than the ring is a gap for it too; what it got is in order, to the last.
        #expect(fast.sequences.last == last.sequence)
        #expect(zip(fast.sequences, fast.sequences.dropFirst()).allSatisfy { $0 < $1 })
        #expect(slow.read(until: "\"the end\""))
        // Other gaps may come before it: a burst longer than the ring, published while the loop did not run.
        let told = TestSequences.told(in: slow.string)
        #expect(told.contains { $0.isGap })
        #expect(told.last == .init(first: last.sequence, last: last.sequence, isGap: false))
        var rest = hub.published[...]
        for item in told {
            if item.isGap {
                let missed = rest.prefix { $0 <= item.last }
                #expect(missed.first.map { $0 >= item.first } ?? false, "a gap begins where the reader stands")
                rest = rest.dropFirst(missed.count)
            } else {
                #expect(rest.popFirst() == item.first)
            }
        }
        #expect(rest.isEmpty)
        #expect(told.reversed().prefix { !$0.isGap }.count >= 50, "all that is kept comes after the last gap")
    }

    @Test func `policy disconnect closes a WebSocket with 1008 and the reason`() throws {
        let hub = try TestHub(.init(retainCount: 50, slow: .HR_SLOW_DISCONNECT))
        defer { hub.end() }
        let slow = stall(hub, "/ws/a", webSocket: true)
        #expect(slow.readToEnd())
        #expect(Array(slow.received.suffix(13)) == [0x03, 0xF0] + Array("slow reader".utf8))
        #expect(eventually { hub.statistics().closed.8 == 1 })
    }

    @Test func `policy latest gives only the newest and says that it passed over the rest`() throws {
        let hub = try TestHub(.init(retainCount: 2_000, slow: .HR_SLOW_LATEST))
        defer { hub.end() }
        let slow = stall(hub, "/ws/a", webSocket: true)
        let last = hub.publish("a", "the end")
        #expect(slow.read(until: "\"the end\""))
        let parts = slow.string.components(separatedBy: "\"reason\":\"conflated\"")
        #expect(parts.count == 2)
        #expect(TestSequences.of(parts[1]) == [last.sequence])
        hub.publish("a", "one more")
        #expect(slow.read(until: "\"one more\""), "it is live again")
    }

    @Test func `a stalled reader costs one frame, not a queue`() throws {
        let hub = try TestHub(.init(retainCount: 10, memory: 4 << 20))
        defer { hub.end() }
        let slow = stall(hub, "/sse/a", webSocket: false)
        for _ in 0..<20_000 { hub.publish("a", Self.text) }
        var stats = hr_log_stats()
        hr_log_stats_get(hub.log, &stats)
        #expect(stats.retained_bytes + stats.frame_bytes <= 4 << 20)
        #expect(stats.retained_count <= 2 * 10, "the topic's own, and those of the server's own topic")
        #expect(hub.statistics().transports.1.readers.2 == 1, "it is stalled still")
        #expect(slow.sequences.isEmpty)
    }
}

/// What the tests read out of a stream's text.
enum TestSequences {
    static func of(_ text: String) -> [UInt64] {
        text.components(separatedBy: "{\"id\":\"5f3a9c1e-").dropFirst().compactMap { part in
            UInt64(part.prefix { $0.isNumber })
        }
    }

    /// An event, whose sequence is first and last, or a gap.
    struct Item: Equatable {
        var first, last: UInt64
        var isGap: Bool
    }

    /// The events and gaps of a stream's text, in order.
    static func told(in text: String) -> [Item] {
        let parts = text.components(separatedBy: "5f3a9c1e-")
        var items: [Item] = []
        for (before, part) in zip(parts, parts.dropFirst()) {
            guard let number = UInt64(part.prefix { $0.isNumber }) else { continue }
            if before.hasSuffix("{\"id\":\"") {
                items.append(.init(first: number, last: number, isGap: false))
            } else if before.hasSuffix("\"from\":\"") {
                items.append(.init(first: number, last: number, isGap: true))
            } else if before.hasSuffix("\"to\":\""), !items.isEmpty {
                items[items.count - 1].last = number
            }
        }
        return items
    }
}
