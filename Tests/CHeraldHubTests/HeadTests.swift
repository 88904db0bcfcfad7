import CHeraldHub
import Foundation
import Testing

/// Header lines that the handler chooses for an answer, however that is made.
@Suite struct HeadTests {
    private func hub() throws -> TestHub { try TestHub(.init(hasBlocks: true)) }

    private func ask(_ hub: TestHub, _ line: String, _ headers: String = "", body: String = "") -> TestSocket {
        let socket = TestSocket(port: hub.port)
        let length = body.isEmpty ? "" : "Content-Length: \(body.utf8.count)\r\n"
        socket.send("\(line) HTTP/1.1\r\nHost: test\r\n\(length)\(headers)\r\n\(body)")
        return socket
    }

    /// What the blocks are in the answers received so far.
    private func blocks(_ socket: TestSocket) -> [Substring] {
        socket.string.matches(of: #/X-Block: ([a-z]+)\r\n/#).map(\.1)
    }

    @Test(arguments: [
        ("GET /short/a", "HTTP/1.1 200"), ("GET /sse/a", "text/event-stream"), ("GET /lines/a", "application/x-ndjson"),
        ("HEAD /short/a", "HTTP/1.1 200"), ("POST /a", "HTTP/1.1 201"), ("GET /nowhere", "HTTP/1.1 404"),
        ("GET /fill/x/3", "x.x"), ("GET /a/drop", "HTTP/1.1 500"),
    ])
    func `every kind of answer has the block that was chosen, or the first`(line: String, sign: String) throws {
        let hub = try hub()
        defer { hub.end() }
        let body = line.hasPrefix("POST") ? "event" : ""
        let names = ["", "Block: 0\r\n", "Block: 1\r\n", "Block: 2\r\n"]
        for (block, name) in zip(names, ["none", "none", "one", "two"]) {
            let socket = ask(hub, line, block, body: body)
            #expect(socket.read(until: "\r\n\r\n") && (sign == "x.x" ? socket.read(until: sign) : true))
            #expect(blocks(socket) == [Substring(name)], "\(line)")
            #expect(socket.string.contains(sign) && socket.string.contains("X-More: 1\r\n") == (name == "one"))
            #expect(socket.string.contains("X-Fault: yes\r\n") == line.hasSuffix("/drop"))
        }
    }

    @Test func `a WebSocket's handshake has its block`() throws {
        let hub = try hub()
        defer { hub.end() }
        let socket = ask(
            hub, "GET /ws/a",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nBlock: 2\r\n")
        #expect(socket.read(until: "welcome"))
        #expect(socket.string.hasPrefix("HTTP/1.1 101") && blocks(socket) == ["two"])
    }

    @Test func `the next request of a connection has its own block`() throws {
        let hub = try hub()
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.get("/short/a", "Block: 1\r\n")
        socket.get("/short/a")
        socket.get("/short/a", "Block: 2\r\n")
        socket.get("/short/a", "If-None-Match: *\r\nBlock: 1\r\n")
        #expect(socket.read(until: "HTTP/1.1 304") && socket.read(until: "Herald-Cursor", count: 4))
        #expect(blocks(socket) == ["one", "none", "two", "one"])
    }

    /// Polls that ask the same share one answer; with other heads they must not.
    @Test(arguments: ["/long/a?0", "/short/a"])
    func `polls that repeat an answer have their own heads`(target: String) throws {
        let hub = try hub()
        defer { hub.end() }
        hub.publish("a", "event")
        for (block, name) in [(1, "one"), (1, "one"), (2, "two"), (1, "one"), (2, "two"), (0, "none")] {
            let socket = TestSocket(port: hub.port)
            socket.get(target, "Block: \(block)\r\n")
            #expect(socket.readAnswer())
            #expect(blocks(socket) == [Substring(name)] && socket.sequences == hub.published)
        }
    }

    @Test(arguments: [false, true])
    func `held polls that one event answers have their own heads`(ioUring: Bool) throws {
        let hub = try TestHub(.init(ioUring: ioUring, hasBlocks: true))
        defer { hub.end() }
        let sockets = (0..<9).map { index in
            let socket = TestSocket(port: hub.port)
            socket.get("/long/a", "Block: \(index % 3)\r\n")
            return socket
        }
        #expect(eventually { hub.statistics().held_requests == sockets.count })
        hub.publish("a", "event")
        for (index, socket) in sockets.enumerated() {
            #expect(socket.readAnswer() && socket.sequences == hub.published)
            #expect(blocks(socket) == [["none", "one", "two"][index % 3]])
        }
    }

    @Test func `a fault of the core has the first block, and what faults have`() throws {
        let hub = try hub()
        defer { hub.end() }
        for line in ["GET /a%zz", "GET /a b"] {
            let socket = ask(hub, line, "Block: 1\r\n")
            #expect(socket.read(until: "/problems/bad-request"))
            #expect(blocks(socket) == ["none"] && socket.string.contains("\r\nX-Fault: yes\r\n"))
        }
    }

    @Test func `without blocks heads have none`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = ask(hub, "GET /short/a")
        #expect(socket.readAnswer() && blocks(socket).isEmpty)
    }
}
