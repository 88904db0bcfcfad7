import CHeraldHub
import Foundation
import Testing

/// What comes in one turn of a loop: the loop is held at a gate while it is sent. With io_uring the answers of a turn go
/// out together, so many or so much at most; without, each by itself.
@Suite struct TurnTests {
    private static func makeHub(_ ioUring: Bool) throws -> TestHub { try TestHub(.init(ioUring: ioUring)) }

    /// Connections that have been accepted and were answered once.
    private func open(_ hub: TestHub, _ count: Int, receiveBuffer: Int32? = nil) -> [TestSocket] {
        let sockets = (0..<count).map { _ in TestSocket(port: hub.port, receiveBuffer: receiveBuffer) }
        for socket in sockets { socket.get("/none") }
        for socket in sockets {
            #expect(socket.read(until: "\r\n\r\n"))
            socket.forget()
        }
        return sockets
    }

    /// Has what `send` sends, from these sockets, come in one turn. `then` runs when the loop waits at a gate again,
    /// behind all of it, and is told how many requests were handled before.
    private func inOneTurn(
        _ hub: TestHub, _ sockets: [TestSocket], _ send: () -> Void, then: ((Int) -> Void)? = nil
    ) {
        let gates = open(hub, 2)
        gates[0].get("/gate")
        #expect(hub.untilGate(1))
        let before = hub.handled.load(ordering: .acquiring)
        send()
        #expect(eventually { sockets.allSatisfy(\.isTaken) })
        gates[1].get("/gate")
        #expect(eventually { gates[1].isTaken })
        hub.openGate()
        #expect(hub.untilGate(2))
        then?(hub.handled.load(ordering: .acquiring) - before - 1)
        hub.openGate()
        for gate in gates { #expect(gate.read(until: "404")) }
    }

    @Test(arguments: [true, false], [64, 65, 150])
    func `answers of one turn go out 64 at a time, and the rest at its end`(ioUring: Bool, count: Int) throws {
        let hub = try Self.makeHub(ioUring)
        defer { hub.end() }
        let sockets = open(hub, count)
        let gathers = hr_hub_has_io_uring(hub.hub)
        inOneTurn(hub, sockets) {
            for (index, socket) in sockets.enumerated() { socket.get("/fill/\(index)/100") }
        } then: { handled in
            let sent = gathers ? handled / 64 * 64 : handled
            #expect(handled > count / 2 && eventually { sockets.count { $0.hasInput } == sent })
        }
        for (index, socket) in sockets.enumerated() {
            try #require(socket.read(until: "\r\n\r\n" + TestHub.filled("\(index)", 100)))
            #expect(socket.occurrences(of: "HTTP/1.1") == 1)
        }
    }

    /// Thousands that come at once must not keep an event from those who are there.
    @Test(arguments: [true, false])
    func `an event does not wait for all that comes in with it`(ioUring: Bool) throws {
        let hub = try Self.makeHub(ioUring)
        defer { hub.end() }
        let reader = TestSocket(port: hub.port)
        reader.get("/sse/a")
        #expect(reader.read(until: "retry:"))
        let sockets = open(hub, 400)
        let gates = open(hub, 3)
        // While the loop waits at the first, all that the second turn brings is sent.
        gates[0].get("/gate")
        #expect(hub.untilGate(1))
        gates[1].get("/gate")
        for socket in sockets { socket.get("/none") }
        #expect(eventually { sockets.allSatisfy(\.isTaken) })
        gates[2].get("/gate")
        #expect(eventually { gates[2].isTaken })
        hub.openGate()
        #expect(hub.untilGate(2))
        hub.publish("a", "in between")
        hub.openGate()
        #expect(hub.untilGate(3))
        // The loop has not come to the end of that turn.
        #expect(eventually { reader.hasInput })
        hub.openGate()
        #expect(reader.read(until: "in between"))
    }

    /// Five answers of 60,000 bytes are the first to pass 256 KiB.
    @Test(arguments: [true, false])
    func `large answers of one turn go out before it ends`(ioUring: Bool) throws {
        let hub = try Self.makeHub(ioUring)
        defer { hub.end() }
        let sockets = open(hub, 13)
        let gathers = hr_hub_has_io_uring(hub.hub)
        inOneTurn(hub, sockets) {
            for (index, socket) in sockets.enumerated() { socket.get("/fill/\(index)/60000") }
        } then: { handled in
            let sent = gathers ? handled / 5 * 5 : handled
            #expect(handled > 10 && eventually { sockets.count { $0.hasInput } == sent })
        }
        for (index, socket) in sockets.enumerated() {
            try #require(socket.read(until: "\r\n\r\n" + TestHub.filled("\(index)", 60_000)))
            #expect(socket.occurrences(of: "HTTP/1.1") == 1)
        }
    }

    /// Among small answers, those that are larger than what is gathered of a connection, those whose requests take more
    /// than one read, those with which the connection ends, and some to connections that have gone.
    @Test(arguments: [true, false])
    func `answers of every size and end come whole in one turn`(ioUring: Bool) throws {
        let hub = try Self.makeHub(ioUring)
        defer { hub.end() }
        let count = 70
        let sockets = open(hub, count)
        func lengths(_ index: Int) -> [Int] {
            switch index % 7 {
            case 1: [20_000, 40_000, 40_000, 5]
            case 2: [100, 70_000, 100]
            case 3: Array(repeating: 50, count: 18)
            default: [100]
            }
        }
        inOneTurn(hub, sockets) {
            for (index, socket) in sockets.enumerated() {
                var headers = index % 7 == 3 ? "Padding: \(String(repeating: "x", count: 4_000))\r\n" : ""
                if index % 7 == 4 { headers = "Connection: close\r\n" }
                for (number, length) in lengths(index).enumerated() {
                    socket.get("/fill/\(index)-\(number)/\(length)", headers)
                }
                if index % 7 == 6 { socket.finish() }
            }
        } then: { _ in
            for index in stride(from: 5, to: count, by: 7) { sockets[index].reset() }
        }
        for (index, socket) in sockets.enumerated() where index % 7 != 5 {
            let bodies = lengths(index).enumerated().map { TestHub.filled("\(index)-\($0)", $1) }
            try #require(socket.read(until: "\r\n\r\n", count: bodies.count))
            try #require(socket.read(until: "\r\n\r\n" + bodies[bodies.count - 1]))
            #expect(socket.bodies == bodies, "\(index)")
            if index % 7 == 4 || index % 7 == 6 { try #require(socket.readToEnd()) }
        }
        #expect(eventually { hub.statistics().connections <= 42 })
    }

    /// The input is as long as what is read at once: its end is met in the same turn, with the answers still gathered.
    @Test(arguments: [true, false])
    func `a client that ends behind its requests gets what is gathered for it`(ioUring: Bool) throws {
        let hub = try Self.makeHub(ioUring)
        defer { hub.end() }
        let sockets = open(hub, 9)
        let bare = "GET /fill/x/100 HTTP/1.1\r\nHost: test\r\nPadding: \r\n\r\n".utf8.count
        inOneTurn(hub, sockets) {
            for socket in sockets {
                for _ in 0..<8 {
                    socket.get("/fill/x/100", "Padding: \(String(repeating: "x", count: 65_536 / 8 - bare))\r\n")
                }
                socket.finish()
            }
        }
        for socket in sockets {
            try #require(socket.readToEnd())
            #expect(socket.bodies == Array(repeating: TestHub.filled("x", 100), count: 8))
        }
    }

    @Test(arguments: [true, false])
    func `what a socket does not take of gathered answers comes when it does`(ioUring: Bool) throws {
        let hub = try Self.makeHub(ioUring)
        defer { hub.end() }
        let sockets = open(hub, 6, receiveBuffer: 4_096)
        let (gate, last) = (open(hub, 1)[0], open(hub, 1)[0])
        var rounds = 0
        var isFull = false
        // A round a turn, so that each answer is gathered; until requests wait because answers do.
        while !isFull && rounds < 150 {
            let before = hub.handled.load(ordering: .acquiring)
            gate.get("/gate")
            #expect(hub.untilGate(rounds + 1))
            for socket in sockets { socket.get("/fill/\(rounds)/60000") }
            #expect(eventually { sockets.allSatisfy(\.isTaken) })
            last.get("/none")
            hub.openGate()
            try #require(gate.readAnswer() && last.readAnswer())
            gate.forget()
            last.forget()
            rounds += 1
            isFull = hub.handled.load(ordering: .acquiring) - before < sockets.count + 2
        }
        #expect(isFull, "the system's socket buffers are larger than this test is made for")
        for socket in sockets {
            try #require(socket.read(until: "\r\n\r\n" + TestHub.filled("\(rounds - 1)", 60_000)))
            #expect(socket.bodies == (0..<rounds).map { TestHub.filled("\($0)", 60_000) })
        }
    }

    /// Who subscribes is brought to the head at once, in the midst of the turn's input: what is gathered by then for
    /// readers of the topic goes out before the events that they get.
    @Test(arguments: [true, false])
    func `answers of a turn go out before the events that come in it`(ioUring: Bool) throws {
        let hub = try Self.makeHub(ioUring)
        defer { hub.end() }
        let watchers = (0..<6).map { _ in TestSocket(port: hub.port) }
        for watcher in watchers { watcher.openWebSocket("/ws/a") }
        for watcher in watchers { #expect(watcher.read(until: "welcome")) }
        hub.publish("a", "before")
        for watcher in watchers { #expect(watcher.read(until: "before")) }
        let publishers = open(hub, 3)
        let late = open(hub, 6)
        let resuming = open(hub, 6)
        let held = open(hub, 6)
        inOneTurn(hub, watchers + publishers + late + resuming + held) {
            for watcher in watchers { watcher.sendMessage(#"{"op":"ping","ref":1}"#) }
            for index in 0..<3 {
                publishers[index].send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nturn \(index)")
                for socket in late[(index * 2)...].prefix(2) {
                    socket.get("/fill/x/50")
                    socket.get("/sse/a")
                }
                for socket in resuming[(index * 2)...].prefix(2) {
                    socket.get("/fill/x/50")
                    socket.get("/sse/a?0")
                }
                for socket in held[(index * 2)...].prefix(2) { socket.get("/long/a?\(hub.published[0])") }
            }
        }
        for socket in late + resuming { try #require(socket.read(until: "retry:")) }
        hub.publish("a", "after")
        for publisher in publishers { try #require(publisher.read(until: "\"receivers\":")) }
        let last = try #require(hub.published.last)
        let all = try #require(watchers.first.map { $0.read(until: "after") ? $0.sequences : [] })
        #expect(all.count == 5 && all.first == hub.published.first && all.last == last)
        for watcher in watchers {
            try #require(watcher.read(until: "after"))
            #expect(watcher.sequences == all)
            // The pong says where the reader stood: all that comes behind it is newer, all before it is not.
            let parts = watcher.string.components(separatedBy: #""control":"pong","ref":1,"cursor":"5f3a9c1e-"#)
            #expect(parts.count == 2)
            let cursor = UInt64(parts[parts.count - 1].prefix { $0.isNumber }) ?? 0
            #expect(TestSequences.of(parts[0]) == all.filter { $0 <= cursor })
        }
        for socket in late + resuming {
            try #require(socket.read(until: "after"))
            let parts = socket.string.components(separatedBy: "HTTP/1.1 200 OK\r\n")
            #expect(parts.count == 3 && parts[0].isEmpty && parts[1].hasSuffix("\r\n\r\n" + TestHub.filled("x", 50)))
            let begins = parts[parts.count - 1].firstMatch(of: #/retry: 2000\n(?:id: 5f3a9c1e-([0-9]+)\n)?\n/#)
            #expect(begins != nil)
            let cursor = begins?.1.flatMap { UInt64($0) } ?? 0
            #expect(socket.sequences == all.filter { $0 > cursor })
        }
        for socket in held {
            try #require(socket.read(until: "\"next\":"))
            #expect(socket.sequences.first == all[1])
        }
    }
}
