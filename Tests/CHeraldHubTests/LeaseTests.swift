import CHeraldHub
import Foundation
import Testing

/// Readers that are reached, and ended, by their leases.
@Suite struct LeaseTests {
    private static let members = #""type":"/problems/test","status":401"#

    private func end(_ hub: TestHub, _ number: Int) {
        var end = hr_lease_end()
        end.status = 401
        end.members = slice(#""type":"/problems/test","status":401"#)
        end.challenge = slice("Bearer")
        end.code = 1008
        end.text = slice("test")
        #expect(hr_lease_end_reader(hub.lease(number), &end) == .ok)
    }

    private func tell(_ hub: TestHub, _ number: Int) {
        #expect(hr_lease_tell(hub.lease(number), slice("news"), slice(#""x":1"#)) == .ok)
    }

    private func isGone(_ hub: TestHub, _ numbers: [UInt]) -> Bool {
        eventually { hub.goneLeases.sorted() == numbers.sorted() }
    }

    @Test func `an SSE reader is told, and ended with a reason and its place`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.get("/leased/sse/a")
        #expect(socket.read(until: "retry:"))
        tell(hub, 1)
        #expect(socket.read(until: "event: herald.news\ndata: {\"x\":1}\n\n"))
        let last = hub.publish("a", "one").sequence
        #expect(socket.read(until: "one"))
        #expect(hub.goneLeases.isEmpty)
        end(hub, 1)
        #expect(socket.readToEnd())
        let said = "event: herald.end\ndata: {\(Self.members),\"cursor\":\"5f3a9c1e-"
        #expect(socket.string.contains(said))
        let cursor = socket.string.components(separatedBy: said).last.flatMap { UInt64($0.prefix { $0.isNumber }) }
        #expect(try #require(cursor) >= last)
        #expect(isGone(hub, [1]))
        socket.finish()
        #expect(eventually { hub.statistics().closed.12 == 1 })
    }

    @Test func `an NDJSON reader is told and ended, too`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.get("/leased/lines/a")
        #expect(socket.read(until: "welcome"))
        tell(hub, 1)
        #expect(socket.read(until: "{\"control\":\"news\",\"x\":1}\n"))
        end(hub, 1)
        #expect(socket.readToEnd())
        #expect(socket.string.contains("{\"control\":\"end\",\(Self.members),\"cursor\":\"5f3a9c1e-"))
        #expect(isGone(hub, [1]))
    }

    @Test func `a WebSocket is told and ended, and its commands know its lease`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.openWebSocket("/leased/ws/a")
        #expect(socket.read(until: "welcome"))
        socket.sendMessage(#"{"op":"renew","token":"t","ref":7}"#)
        #expect(socket.read(until: #"{"control":"renewed","ref":7,"lease":1}"#))
        tell(hub, 1)
        #expect(socket.read(until: "{\"control\":\"news\",\"x\":1}"))
        end(hub, 1)
        #expect(socket.readToEnd())
        #expect(socket.string.contains("{\"control\":\"end\",\(Self.members),\"cursor\":\"5f3a9c1e-"))
        #expect(Array(socket.received.suffix(6)) == [0x03, 0xF0] + Array("test".utf8))
        #expect(isGone(hub, [1]))
    }

    @Test func `a reader without a lease has none to its commands`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.openWebSocket("/ws/a")
        socket.sendMessage(#"{"op":"renew","token":"t"}"#)
        #expect(socket.read(until: #"{"control":"renewed","lease":0}"#))
    }

    @Test func `a held poll is answered with the problem, and its connection goes on`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.get("/leased/long/a")
        #expect(eventually { hub.statistics().held_requests == 1 })
        tell(hub, 1)
        end(hub, 1)
        #expect(socket.readAnswer())
        #expect(socket.string.hasPrefix("HTTP/1.1 401 Unauthorized\r\n"))
        #expect(socket.string.contains("\r\nWWW-Authenticate: Bearer\r\n"))
        #expect(socket.bodies == ["{\(Self.members)}"])
        #expect(isGone(hub, [1]))
        #expect(hub.statistics().held_requests == 0)
        socket.forget()
        socket.get("/short/a")
        #expect(socket.readAnswer() && socket.string.hasPrefix("HTTP/1.1 200"))
    }

    @Test func `each lease is told of once, however its reader goes`() throws {
        let hub = try TestHub(.init(loops: 2))
        defer { hub.end() }
        var sockets: [TestSocket] = []
        func open(_ target: String) -> TestSocket {
            let socket = TestSocket(port: hub.port)
            let count = hub.leaseCount
            target.contains("/ws/") ? socket.openWebSocket(target) : socket.get(target)
            #expect(eventually { hub.leaseCount == count + 1 })
            sockets.append(socket)
            return socket
        }
        open("/leased/sse/a").reset()
        open("/leased/ws/a").finish()
        let poll = open("/leased/long/a")
        #expect(eventually { hub.statistics().held_requests == 1 })
        hub.publish("a", "answers it")
        #expect(poll.readAnswer())
        #expect(isGone(hub, [1, 2, 3]))
        // A poll that is answered at once, and one that asks for what is not there yet.
        let early = TestSocket(port: hub.port)
        early.get("/leased/long/a?0")
        #expect(early.readAnswer() && early.sequences == hub.published)
        #expect(isGone(hub, [1, 2, 3, 4]))
        let refused = TestSocket(port: hub.port)
        refused.get("/leased/sse/a?999999999")
        #expect(refused.readAnswer() && refused.string.contains(" 400 "))
        // What is refused never had it.
        _ = open("/leased/sse/a")
        hr_hub_drain(hub.hub)
        #expect(isGone(hub, [1, 2, 3, 4, 6]))
        // To reach who has gone is no mistake.
        tell(hub, 1)
        end(hub, 6)
    }

    @Test func `leases of readers that a stop cuts are told of by the stop`() throws {
        let hub = try TestHub()
        let socket = TestSocket(port: hub.port)
        socket.get("/leased/sse/a")
        #expect(socket.read(until: "retry:"))
        end(hub, 1)
        hr_hub_stop(hub.hub)
        #expect(hub.goneLeases == [1])
        hub.end()
    }

    @Test func `many polls that one event answers are told of together, behind it`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let sockets = (0..<600).map { _ in TestSocket(port: hub.port) }
        for socket in sockets { socket.get("/leased/long/a") }
        #expect(eventually { hub.statistics().held_requests == 600 })
        hub.publish("a", "for all")
        for socket in sockets { #expect(socket.readAnswer() && socket.sequences == hub.published) }
        #expect(isGone(hub, Array(1...600)))
    }

    @Test func `a reader that takes nothing is ended all the same`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = TestSocket(port: hub.port, receiveBuffer: 4_096)
        socket.get("/leased/sse/a")
        #expect(socket.read(until: "retry:"))
        let text = TestHub.filled("x", 1 << 20)
        for _ in 0..<16 { hub.publish("a", text) }
        end(hub, 1)
        #expect(isGone(hub, [1]))
        #expect(socket.readToEnd())
        #expect(socket.string.contains("event: herald.end\ndata: {\(Self.members)"))
    }
}
