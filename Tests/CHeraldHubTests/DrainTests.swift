import CHeraldHub
import Foundation
import Testing

@Suite struct DrainTests {
    @Test(arguments: [true, false])
    func `a drain ends every kind of session in order`(ioUring: Bool) throws {
        let hub = try TestHub(.init(loops: 2, ioUring: ioUring))
        defer { hub.end() }
        let sse = TestSocket(port: hub.port)
        sse.get("/sse/a")
        #expect(sse.read(until: "retry:"))
        let lines = TestSocket(port: hub.port)
        lines.get("/lines/a")
        #expect(lines.read(until: "welcome"))
        let webSocket = TestSocket(port: hub.port)
        webSocket.openWebSocket("/ws/a")
        #expect(webSocket.read(until: "welcome"))
        let held = TestSocket(port: hub.port)
        held.get("/long/a")
        #expect(eventually { hub.statistics().held_requests == 1 })
        let idle = TestSocket(port: hub.port)
        idle.get("/none")
        #expect(idle.read(until: "404"))
        hr_hub_drain(hub.hub)
        #expect(sse.readToEnd())
        #expect(sse.occurrences(of: "retry:") == 2)
        #expect(lines.readToEnd())
        #expect(lines.string.contains(#"{"control":"end","cursor":"5f3a9c1e-"#) && lines.string.hasSuffix("}\n"))
        #expect(webSocket.readToEnd())
        #expect(Array(webSocket.received.suffix(22)) == [0x03, 0xE9] + Array("server is going away".utf8))
        #expect(held.readToEnd())
        #expect(held.string.contains("\"events\":[]") && held.string.contains("Connection: close"))
        #expect(idle.readToEnd())
        #expect(eventually { hub.drained.load(ordering: .acquiring) })
        #expect(hub.statistics().connections == 0)
    }

    @Test func `what does not end by itself is cut when the time is up`() throws {
        let hub = try TestHub(.init(drainTimeout: 300))
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.send("GET /half HTTP/1.1\r\n")
        #expect(eventually { hub.statistics().connections == 1 })
        hr_hub_drain(hub.hub)
        #expect(eventually { hub.drained.load(ordering: .acquiring) })
        #expect(hub.statistics().closed.10 == 1)
    }

    @Test func `a drain of nobody is over at once, and draining twice is draining once`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        hr_hub_drain(hub.hub)
        hr_hub_drain(hub.hub)
        #expect(eventually { hub.drained.load(ordering: .acquiring) })
        #expect(hr_hub_is_draining(hub.hub))
    }
}
