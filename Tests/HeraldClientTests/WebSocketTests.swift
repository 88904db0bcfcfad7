import Synchronization
import Testing

@testable import HeraldClient

@Suite(.timeLimit(.minutes(1))) struct WebSocketTests {
    private static func welcome(_ sequence: Int, heartbeat: Int = 25_000) -> [UInt8] {
        ScriptedPeer.text(
            #"{"control":"welcome","epoch":"5f3a9c1e","cursor":"5f3a9c1e-\#(sequence)","heartbeat_ms":\#(heartbeat)}"#)
    }

    @Test func `messages in the packet of the handshake are not lost`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.acceptWebSocket(with: [Self.welcome(0), ScriptedPeer.text(eventJSON(1))])
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var iterator = client.subscribe(["a", "b/**"], after: .earliest, transport: .webSocket).deliveries
                    .makeAsyncIterator()
                let seen = try await read(&iterator, events: 1)
                #expect(seen == ["connected", "1"])
                await iterator.close()
            }
            let request = try #require(server.requests.first)
            #expect(request.target == "/v1/events?topic=a&topic=b/**&after=earliest")
            #expect(request.headers["sec-websocket-protocol"] == "herald.v1")
            #expect(request.headers["sec-websocket-version"] == "13")
        }
    }

    @Test func `a cut WebSocket resumes where its heartbeat stood, and shows the gap`() async throws {
        try await ScriptedServer.run { connection, peer in
            _ = try await peer.acceptWebSocket(with: [Self.welcome(4)])
            if connection == 1 {
                try await peer.send(frame: ScriptedPeer.text(eventJSON(5)))
                try await peer.send(frame: ScriptedPeer.text(#"{"control":"heartbeat","cursor":"5f3a9c1e-9"}"#))
                return try await peer.ping()
            }
            let gap = #""topic":"a","from":"5f3a9c1e-10","to":"5f3a9c1e-12","reason":"evicted","cursor":"5f3a9c1e-12""#
            try await peer.send(frame: ScriptedPeer.text(#"{"control":"gap","resume":"gap",\#(gap)}"#))
            try await peer.send(frame: ScriptedPeer.text(eventJSON(9)))
            try await peer.send(frame: ScriptedPeer.text(eventJSON(13)))
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var iterator = client.subscribe(["a"], transport: .webSocket).deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 2)
                #expect(seen == ["connected", "5", "waiting", "connected", "gap 10-12 evicted", "13"])
                await iterator.close()
            }
            #expect(server.requests.map { $0.query("after") } == ["latest", "5f3a9c1e-9"])
        }
    }

    @Test func `a start at the latest event is kept over a cut before the first event`() async throws {
        try await ScriptedServer.run { connection, peer in
            _ = try await peer.acceptWebSocket(with: [Self.welcome(4)])
            if connection == 1 { return try await peer.ping() }
            let resumed = #"{"control":"resumed","resume":"resumed","cursor":"5f3a9c1e-4"}"#
            try await peer.send(frame: ScriptedPeer.text(resumed))
            try await peer.send(frame: ScriptedPeer.text(eventJSON(5)))
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var iterator = client.subscribe(["a"], transport: .webSocket).deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 1)
                #expect(seen == ["connected", "waiting", "connected", "resumed 4", "5"])
                await iterator.close()
            }
            #expect(server.requests.map { $0.query("after") } == ["latest", "5f3a9c1e-4"])
        }
    }

    @Test func `a ping is answered with its own data, masked`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.acceptWebSocket(with: [Self.welcome(0)])
            try await peer.send(frame: ScriptedPeer.frame(9, [1, 2, 3]))
            let pong = try await peer.frame()
            #expect(pong.opcode == 10 && pong.payload == [1, 2, 3])
            try await peer.send(frame: ScriptedPeer.text(eventJSON(1)))
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var iterator = client.subscribe(["a"], transport: .webSocket).deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 1)
                #expect(seen == ["connected", "1"])
                await iterator.close()
            }
        }
    }

    @Test func `leaving says goodbye with 1000 and waits for the answer`() async throws {
        let goodbye = Mutex<[UInt8]?>(nil)
        try await ScriptedServer.run { _, peer in
            _ = try await peer.acceptWebSocket(with: [Self.welcome(0), ScriptedPeer.text(eventJSON(1))])
            let close = try await peer.frame()
            #expect(close.opcode == 8)
            goodbye.withLock { $0 = close.payload }
            try await peer.send(frame: ScriptedPeer.frame(8, close.payload))
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var iterator = client.subscribe(["a"], transport: .webSocket).deliveries.makeAsyncIterator()
                _ = try await read(&iterator, events: 1)
                await iterator.close()
            }
            #expect(goodbye.withLock { $0 } == [0x03, 0xE8])
        }
    }

    @Test func `the server's close is answered, and the subscription comes back`() async throws {
        try await ScriptedServer.run { connection, peer in
            _ = try await peer.acceptWebSocket(with: [Self.welcome(0), ScriptedPeer.text(eventJSON(connection))])
            guard connection == 1 else { return try await peer.untilClosed() }
            try await peer.send(frame: ScriptedPeer.frame(8, [0x03, 0xE9] + Array("drain".utf8)))
            let close = try await peer.frame()
            #expect(close.opcode == 8 && close.payload == [0x03, 0xE9])
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var iterator = client.subscribe(["a"], after: .earliest, transport: .webSocket).deliveries
                    .makeAsyncIterator()
                var reasons: [String] = []
                var count = 0
                while count < 2, let delivery = try await iterator.next() {
                    if case .event = delivery { count += 1 }
                    if case .state(.waiting(_, let reason)) = delivery { reasons.append(reason) }
                }
                #expect(reasons == ["The server closed the WebSocket (1001, drain)."])
                await iterator.close()
            }
        }
    }

    @Test func `a line without heartbeats is dropped and taken up again`() async throws {
        try await ScriptedServer.run { connection, peer in
            _ = try await peer.acceptWebSocket(
                with: [Self.welcome(0, heartbeat: 200), ScriptedPeer.text(eventJSON(connection))])
            while true { _ = try await peer.frame() }
        } _: { server in
            try await HeraldClient.withClient(
                url: server.url, configuration: impatient { $0.closeTimeout = .milliseconds(50) }
            ) { client in
                var iterator = client.subscribe(["a"], after: .earliest, transport: .webSocket).deliveries
                    .makeAsyncIterator()
                let seen = try await read(&iterator, events: 2)
                #expect(seen == ["connected", "1", "waiting", "connected", "2"])
                await iterator.close()
            }
        }
    }

    @Test func `a refused handshake gives the server's problem`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.answer(
                "400 Bad Request", #"{"title":"Bad cursor","detail":"ahead of the head"}"#,
                type: "application/problem+json")
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let error = await #expect(throws: HeraldError.self) {
                    for try await _ in client.subscribe(
                        ["a"], after: Cursor(epoch: 1, sequence: 1), transport: .webSocket)
                    {}
                }
                #expect(error?.description == "Bad cursor: ahead of the head.")
            }
        }
    }

    @Test(
        arguments: [
            ([0x81, 0x81, 0, 0, 0, 0, 0x31], [0x03, 0xEA]), ([0xC1, 0x01, 0x31], [0x03, 0xEA]),
            ([0x82, 0x01, 0x31], [0x03, 0xEB]), ([0x81, 0x01, 0xFF], [0x03, 0xEF]),
            ([0x83, 0x01, 0x31], [0x03, 0xEA]),
            ([0x81, 0x7F, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF], [0x03, 0xF1]),
            ([0x81, 0x02, 0x7B, 0x7D], [0x03, 0xEF]),
        ] as [([UInt8], [UInt8])])
    func `what breaks the protocol is told by its close code and ends the subscription`(
        frame: [UInt8], code: [UInt8]
    ) async throws {
        let goodbye = Mutex<[UInt8]?>(nil)
        try await ScriptedServer.run { _, peer in
            _ = try await peer.acceptWebSocket(with: [Self.welcome(0), frame])
            let close = try await peer.frame()
            goodbye.withLock { $0 = close.payload }
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let error = await #expect(throws: HeraldError.self) {
                    for try await _ in client.subscribe(["a"], after: .earliest, transport: .webSocket) {}
                }
                #expect(error?.isTransient == false)
            }
            for _ in 0..<100 where goodbye.withLock({ $0 == nil }) { try await Task.sleep(for: .milliseconds(10)) }
            #expect(goodbye.withLock { $0 } == code)
        }
    }

    @Test func `a subscription goes on over another transport from where it stands`() async throws {
        try await ScriptedServer.run { connection, peer in
            if connection == 1 {
                _ = try await peer.acceptWebSocket(with: [Self.welcome(0), ScriptedPeer.text(eventJSON(1))])
                try await peer.untilClosed()
            } else {
                _ = try await peer.request()
                try await peer.answer("200 OK", "{\"events\":[\(eventJSON(2))],\"next\":\"5f3a9c1e-2\",\"gap\":null}")
                try await peer.untilClosed()
            }
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var webSocket = client.subscribe(["a"], transport: .webSocket).deliveries.makeAsyncIterator()
                _ = try await read(&webSocket, events: 1)
                await webSocket.close()
                let subscription = client.subscribe(["a"], after: webSocket.position, transport: .longPoll())
                var poll = subscription.deliveries.makeAsyncIterator()
                let seen = try await read(&poll, events: 1)
                #expect(seen == ["connected", "2"])
                await poll.close()
            }
            #expect(server.requests.last?.query("after") == "5f3a9c1e-2" || server.requests.count == 2)
        }
    }
}
