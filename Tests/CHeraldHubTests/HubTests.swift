import CHeraldHub
import Foundation
import Testing

@Suite struct HubTests {
    @Test func `an event reaches a reader of every transport, once, with its own sequence`() throws {
        let hub = try TestHub(.init(loops: 2))
        defer { hub.end() }
        let sse = TestSocket(port: hub.port)
        sse.get("/sse/a/b")
        #expect(sse.read(until: "retry:"))
        let webSocket = TestSocket(port: hub.port)
        webSocket.openWebSocket("/ws/a/*,a/b,**")
        #expect(webSocket.read(until: "welcome"))
        let held = TestSocket(port: hub.port)
        held.get("/long/a/b")
        #expect(eventually { hub.statistics().held_requests == 1 })
        let receipt = hub.publish("a/b", "hello")
        #expect(receipt.receivers == 3)
        for reader in [sse, webSocket, held] {
            #expect(reader.read(until: "hello"))
            #expect(reader.sequences == [receipt.sequence])
        }
        hub.publish("a/b", "again")
        #expect(webSocket.read(until: "again"))
        #expect(webSocket.sequences.count == 2, "an event that three filters match comes once")
        let short = TestSocket(port: hub.port)
        short.get("/short/a/b")
        #expect(short.read(until: "again"))
        #expect(short.sequences.count == 2)
    }

    /// More readers than one system call sends to, and some that have gone without a word.
    @Test(arguments: [false, true], [130, 3])
    func `all readers of a topic get every event, with io_uring and without`(ioUring: Bool, count: Int) throws {
        let hub = try TestHub(.init(ioUring: ioUring))
        defer { hub.end() }
        #expect(ioUring || !hr_hub_has_io_uring(hub.hub))
        var readers = (0..<count).map { index in
            let socket = TestSocket(port: hub.port)
            index.isMultiple(of: 2) ? socket.get("/sse/a/*") : socket.openWebSocket("/ws/a/*")
            return socket
        }
        let held = (0..<count).map { _ in
            let socket = TestSocket(port: hub.port)
            socket.get("/long/a/*")
            return socket
        }
        for (index, reader) in readers.enumerated() {
            #expect(reader.read(until: index.isMultiple(of: 2) ? "retry:" : "welcome"))
        }
        #expect(eventually { hub.statistics().held_requests == count })
        if count > 100 { readers.removeSubrange(10..<20) }
        for number in 0..<20 { hub.publish(number % 3 == 0 ? "a/b" : "a/c", "event \(number)") }
        for reader in readers {
            #expect(reader.read(until: "event 19"))
            #expect(reader.sequences == hub.published)
        }
        for socket in held {
            #expect(socket.read(until: "\"gap\""))
            #expect(socket.sequences.first == hub.published.first)
        }
    }

    @Test func `a reader that resumes during a storm of publishes misses nothing and repeats nothing`() throws {
        let hub = try TestHub(.init(loops: 2, retainCount: 100_000))
        defer { hub.end() }
        let publisher = Thread {
            for number in 0..<20_000 { hub.publish("a", "event \(number)") }
            hub.publish("a", "the end")
        }
        publisher.start()
        for _ in 0..<6 {
            usleep(10_000)
            let reader = TestSocket(port: hub.port)
            reader.get("/sse/a?0")
            #expect(reader.read(until: "\"the end\""))
            let sequences = reader.sequences
            #expect(sequences.count == 20_001)
            #expect(zip(sequences, sequences.dropFirst()).allSatisfy { $0 < $1 })
            #expect(!reader.string.contains("herald.gap"))
        }
    }

    /// So many that their answers are sent together, of some connections more than once a turn.
    @Test(arguments: [true, false])
    func `pipelined requests of many connections are answered each in its order`(ioUring: Bool) throws {
        let hub = try TestHub(.init(ioUring: ioUring))
        defer { hub.end() }
        let sockets = (0..<100).map { _ in TestSocket(port: hub.port) }
        for round in 0..<5 {
            for (index, socket) in sockets.enumerated() {
                let requests = (0..<3).map { number in
                    let body = "\(index)-\(round)-\(number)"
                    return "POST /t/\(body) HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                }
                socket.send(requests.joined())
            }
        }
        for (index, socket) in sockets.enumerated() {
            #expect(socket.read(until: "t/\(index)-4-2\""))
            let topics = socket.string.matches(of: #/"topic":"t/([0-9-]+)"/#).map { String($0.1) }
            #expect(topics == (0..<5).flatMap { round in (0..<3).map { "\(index)-\(round)-\($0)" } })
        }
        #expect(hub.statistics().published_events == 1500)
    }

    @Test(arguments: [true, false])
    func `requests of one connection are answered in order, the held one too`(ioUring: Bool) throws {
        let hub = try TestHub(.init(ioUring: ioUring))
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.send(
            "GET /long/a HTTP/1.1\r\nHost: x\r\n\r\n" + "GET /none HTTP/1.1\r\nHost: x\r\n\r\n"
                + "GET /short/a HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(eventually { hub.statistics().held_requests == 1 })
        hub.publish("a", "first")
        #expect(socket.read(until: "\"first\"", count: 2))
        let answers = socket.string.components(separatedBy: "HTTP/1.1 ").dropFirst().map { $0.prefix(3) }
        #expect(answers == ["200", "404", "200"])
    }

    @Test func `a request that is dropped is answered 500 and the connection goes on`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.get("/drop")
        #expect(socket.read(until: "HTTP/1.1 500"))
        socket.get("/none")
        #expect(socket.read(until: "HTTP/1.1 404"))
    }

    @Test func `a connection beyond the limit is told so, and one that goes makes room`() throws {
        let hub = try TestHub(.init(connections: 2))
        defer { hub.end() }
        var first: TestSocket? = TestSocket(port: hub.port)
        first?.get("/none")
        #expect(first?.read(until: "404") == true)
        let second = TestSocket(port: hub.port)
        second.get("/none")
        #expect(second.read(until: "404"))
        let third = TestSocket(port: hub.port)
        #expect(third.readToEnd())
        #expect(third.string.hasPrefix("HTTP/1.1 503"))
        #expect(third.string.contains("Retry-After"))
        first = nil
        #expect(
            eventually {
                let socket = TestSocket(port: hub.port)
                socket.get("/none")
                return socket.read(until: "HTTP/1.1 404")
            })
        #expect(hub.statistics().accept_failures.1 >= 1)
    }

    @Test func `filters up to the bound are taken, one more is refused`() throws {
        let hub = try TestHub(.init(filters: 3))
        defer { hub.end() }
        let within = TestSocket(port: hub.port)
        within.get("/sse/a,b,c")
        #expect(within.read(until: "200 OK"))
        let beyond = TestSocket(port: hub.port)
        beyond.get("/sse/a,b,c,d")
        #expect(beyond.read(until: "400 Bad Request"))
    }

    @Test func `a poll that asks the same is answered the same, until the log moves`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let first = hub.publish("a", "one")
        hub.publish("b", "other")
        func poll(_ target: String, _ headers: String = "") -> TestSocket {
            let socket = TestSocket(port: hub.port)
            socket.get(target, headers)
            #expect(socket.read(until: "\"gap\":"))
            return socket
        }
        for target in ["/short/a", "/short/a?0", "/short/b", "/short/a,b", "/short/b,a", "/short/none", "/long/a?0"] {
            let before = hub.statistics()
            let answers = (0..<3).map { _ in poll(target) }
            #expect(Set(answers.map(\.pages)).count == 1, "\(target)")
            let isLong = target.hasPrefix("/long")
            let (old, new) = (before.polls(isHeld: isLong), hub.statistics().polls(isHeld: isLong))
            let count = UInt64(answers[0].sequences.count)
            #expect(new.deliveries - old.deliveries == 3 * count, "\(target)")
            #expect(new.readers_opened - old.readers_opened == 3)
            #expect(new.resumes.0 - old.resumes.0 == (target.contains("?") ? 3 : 0))
            let bytes = answers[0].occurrences(of: "\"one\"") * 3 + answers[0].occurrences(of: "\"other\"") * 5
            #expect(new.payload_bytes - old.payload_bytes == UInt64(3 * bytes))
        }
        #expect(poll("/short/a").sequences == [first.sequence])
        let second = hub.publish("a", "two")
        #expect(poll("/short/a").sequences == [first.sequence, second.sequence])
        #expect(poll("/short/a").sequences == [first.sequence, second.sequence])
        #expect(hr_log_purge(hub.log, slice("a")) == .ok)
        #expect(poll("/short/a").sequences.isEmpty)
        #expect(poll("/short/a?0").string.contains("\"reason\":\"evicted\""))
    }

    @Test func `commands change a WebSocket's filters without a repeat or a hole`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = TestSocket(port: hub.port)
        socket.openWebSocket("/ws")
        #expect(socket.read(until: "welcome"))
        hub.publish("a", "before")
        socket.sendMessage(#"{"op":"subscribe","topic":"a","ref":1}"#)
        #expect(socket.read(until: #""ref":1,"filters":["a"]"#))
        hub.publish("a", "one")
        socket.sendMessage(#"{"op":"subscribe","topic":"b","ref":2}"#)
        #expect(socket.read(until: #""ref":2,"filters":["a","b"]"#))
        hub.publish("b", "two")
        hub.publish("a", "three")
        #expect(socket.read(until: "\"three\""))
        socket.sendMessage(#"{"op":"unsubscribe","topic":"a","ref":3}"#)
        #expect(socket.read(until: #""ref":3,"filters":["b"]"#))
        hub.publish("a", "unseen")
        hub.publish("b", "four")
        #expect(socket.read(until: "\"four\""))
        #expect(socket.sequences.count == 4)
        #expect(!socket.string.contains("before") && !socket.string.contains("unseen"))
        socket.sendMessage(#"{"op":"unsubscribe","topic":"a","ref":4}"#)
        #expect(socket.read(until: "not subscribed"))
        socket.sendMessage(#"{"op":"ping","ref":5}"#)
        #expect(socket.read(until: #""control":"pong","ref":5"#))
    }

    @Test func `heartbeats carry a cursor that moves with other topics' events`() throws {
        let hub = try TestHub(.init(heartbeat: 200))
        defer { hub.end() }
        let reader = TestSocket(port: hub.port)
        reader.get("/sse/quiet")
        #expect(reader.read(until: ": hb"))
        let receipt = hub.publish("loud", "x")
        #expect(reader.read(until: "id: 5f3a9c1e-\(receipt.sequence)"))
        #expect(reader.sequences.isEmpty)
    }

    @Test func `an answer to a request whose connection has gone harms nobody`() throws {
        let hub = try TestHub()
        var socket: TestSocket? = TestSocket(port: hub.port)
        socket?.get("/keep")
        #expect(eventually { hub.kept.withLock { !$0.isEmpty } })
        socket = nil
        let other = TestSocket(port: hub.port)
        other.get("/none")
        #expect(other.read(until: "404"))
        let kept = hub.kept.withLock { $0[0] }
        let loop = hr_request_loop(OpaquePointer(bitPattern: kept))
        let status = hr_loop_post(
            loop,
            { context in
                var request = OpaquePointer(context)
                hr_request_answer(&request, 200, nil, 0, slice("late"))
            }, UnsafeMutableRawPointer(bitPattern: kept))
        #expect(status == .ok)
        other.get("/none")
        #expect(other.read(until: "404", count: 2))
        hub.end()
    }

    @Test func `every loop reads its proof of life`() throws {
        let hub = try TestHub(.init(loops: 3))
        defer { hub.end() }
        #expect(eventually { hr_hub_probe_age_ms(hub.hub) < 5_000 })
    }

    @Test func `a half-sent request is answered 408`() throws {
        let hub = try TestHub(.init(requestTimeout: 200))
        defer { hub.end() }
        for half in ["GET / HTTP/1.1\r\nHos", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"] {
            let socket = TestSocket(port: hub.port)
            socket.send(half)
            #expect(socket.readToEnd())
            #expect(socket.string.hasPrefix("HTTP/1.1 408"))
        }
        #expect(hub.statistics().request_timeouts == 2)
    }
}
