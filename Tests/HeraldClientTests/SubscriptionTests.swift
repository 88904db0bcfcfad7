import Synchronization
import Testing

@testable import HeraldClient

@Suite(.timeLimit(.minutes(1))) struct EventStreamTests {
    private static func resumed(_ sequence: Int) -> String {
        "event: herald.resumed\ndata: {\"resume\":\"resumed\",\"cursor\":\"5f3a9c1e-\(sequence)\"}\n\n"
    }

    @Test func `a cut stream resumes with Last-Event-ID, shows the gap and drops repeats`() async throws {
        try await ScriptedServer.run { connection, peer in
            _ = try await peer.request()
            try await peer.beginEventStream()
            switch connection {
            case 1:
                try await peer.send("retry: 1\n\n" + eventBlock(1) + eventBlock(2) + "id: 5f3a9c1e-3\ndata: {\"cut")
            case 2:
                try await peer.send(Self.resumed(2))
                try await peer.send(eventBlock(2) + eventBlock(3) + ": hb\nid: 5f3a9c1e-7\n\n")
            default:
                try await peer.send(
                    "event: herald.gap\ndata: {\"resume\":\"gap\",\"topic\":\"orders/**\",\"from\":\"5f3a9c1e-8\","
                        + "\"to\":\"5f3a9c1e-20\",\"reason\":\"evicted\",\"cursor\":\"5f3a9c1e-20\"}\n\n")
                try await peer.send(eventBlock(21))
                try await peer.untilClosed()
            }
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let subscription = client.subscribe(["orders/**"], after: .earliest, transport: .serverSentEvents)
                var iterator = subscription.deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 4)
                let first = ["connected", "1", "2"]
                let second = ["waiting", "connected", "resumed 2", "3"]
                #expect(seen == first + second + ["waiting", "connected", "gap 8-20 evicted", "21"])
                #expect(iterator.position == .after(Cursor(epoch: 0x5f3a9c1e, sequence: 21)))
                await iterator.close()
            }
            #expect(server.requests.map { $0.headers["last-event-id"] } == [nil, "5f3a9c1e-2", "5f3a9c1e-7"])
            #expect(server.requests.first?.target == "/v1/events?topic=orders/**&after=earliest")
            #expect(server.requests.first?.headers["accept"] == "text/event-stream")
        }
    }

    @Test func `a start at the latest event is pinned, so that an early cut loses nothing`() async throws {
        try await ScriptedServer.run { connection, peer in
            let request = try await peer.request()
            if request.headers["accept"] == "application/json" {
                let latest = #"{"events":[],"next":"5f3a9c1e-7","gap":null}"#
                try await peer.answer("200 OK", latest, "Connection: close\r\n")
            } else {
                try await peer.beginEventStream()
                try await peer.send(Self.resumed(7))
                if connection > 2 { try await peer.send(eventBlock(8)) }
            }
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var iterator = client.subscribe(["a"], transport: .serverSentEvents).deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 1)
                #expect(seen == ["connected", "waiting", "connected", "resumed 7", "8"])
                await iterator.close()
            }
            #expect(server.requests.first?.query("after") == "latest")
            #expect(server.requests.dropFirst().allSatisfy { $0.headers["last-event-id"] == "5f3a9c1e-7" })
        }
    }

    @Test func `a silent stream is dropped and taken up again`() async throws {
        try await ScriptedServer.run { connection, peer in
            _ = try await peer.request()
            try await peer.beginEventStream()
            try await peer.send(eventBlock(connection))
            try await peer.untilClosed()
        } _: { server in
            let configuration = impatient { $0.silenceMax = .seconds(1) }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let subscription = client.subscribe(["a"], after: .earliest, transport: .serverSentEvents)
                var iterator = subscription.deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 2)
                // On a slow machine a connection may be dropped before its only event was read.
                #expect(seen.compactMap { Int($0) }.count == 2)
                let first = try #require(seen.firstIndex { Int($0) != nil })
                #expect(seen[(first + 1)...].starts(with: ["waiting", "connected"]))
                await iterator.close()
            }
        }
    }

    @Test func `a refusal that trying again cannot help ends the subscription`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.answer(
                "400 Bad Request", #"{"title":"Bad filter","detail":"d"}"#, type: "application/problem+json")
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let error = await #expect(throws: HeraldError.self) {
                    for try await _ in client.subscribe(["a//b"], after: .earliest, transport: .serverSentEvents) {}
                }
                #expect(error?.description == "Bad filter: d.")
            }
        }
    }

    @Test func `a refusal for now is tried again, until there were too many`() async throws {
        try await ScriptedServer.run { _, peer in
            while true {
                _ = try await peer.request()
                try await peer.answer("503 Service Unavailable", "{}", type: "text/plain", "Retry-After: 0\r\n")
            }
        } _: { server in
            let configuration = impatient { $0.retry.attemptsMax = 3 }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let error = await #expect(throws: HeraldError.self) {
                    for try await _ in client.subscribe(["a"], after: .earliest, transport: .serverSentEvents) {}
                }
                #expect(
                    error == .gaveUp(attempts: 3, reason: "The server answered 503 Service Unavailable."))
            }
            #expect(server.requests.count == 4)
        }
    }

    @Test func `a line without end is refused at its limit`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.beginEventStream()
            while true { try await peer.send(String(repeating: "x", count: 1_000)) }
        } _: { server in
            let configuration = impatient { $0.limits.lineBytesMax = 10_000 }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let error = await #expect(throws: HeraldError.self) {
                    for try await _ in client.subscribe(["a"], after: .earliest, transport: .serverSentEvents) {}
                }
                #expect(error == .tooLarge(what: "A line of the event stream", limit: 10_000))
            }
        }
    }

    @Test func `204 asks not to come back`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.send("HTTP/1.1 204 No Content\r\n\r\n")
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                for try await _ in client.subscribe(["a"], after: .earliest, transport: .serverSentEvents) {}
            }
            #expect(server.requests.count == 1)
        }
    }

    @Test func `a slow reader is felt by the server, and its living line is not taken for dead`() async throws {
        let sent = Mutex(0)
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.beginEventStream()
            let filler = ": " + String(repeating: "x", count: 100_000) + "\n"
            for sequence in 1...300 {
                try await peer.send(filler + eventBlock(sequence))
                sent.withLock { $0 = sequence }
            }
            try await peer.untilClosed()
        } _: { server in
            let configuration = impatient { $0.silenceMax = .seconds(4) }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let subscription = client.subscribe(["a"], after: .earliest, transport: .serverSentEvents)
                var iterator = subscription.deliveries.makeAsyncIterator()
                _ = try await read(&iterator, events: 1)
                try await Task.sleep(for: .seconds(6))
                // 30 MB do not fit into the sockets' buffers: the server must be waiting for this reader.
                #expect(sent.withLock { $0 } < 300)
                let seen = try await read(&iterator, events: 299)
                #expect(seen == (2...300).map { "\($0)" })
                await iterator.close()
            }
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct PollTests {
    private static func answer(_ sequences: [Int], next: Int, _ more: String = "\"gap\":null") -> String {
        "{\"events\":[\(sequences.map { eventJSON($0) }.joined(separator: ","))],\"next\":\"5f3a9c1e-\(next)\",\(more)}"
    }

    @Test func `a long-poll goes on from next, over an outage too`() async throws {
        try await ScriptedServer.run { connection, peer in
            if connection == 1 {
                _ = try await peer.request()
                try await peer.answer("200 OK", Self.answer([1, 2], next: 5))
                _ = try await peer.request()
                return  // the line is cut while the request is held
            }
            _ = try await peer.request()
            try await peer.answer("200 OK", Self.answer([5, 6], next: 6, "\"gap\":null,\"resume\":\"resumed\""))
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let subscription = client.subscribe(
                    ["a", "b/*"], after: .earliest, transport: .longPoll(wait: .seconds(20)))
                var iterator = subscription.deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 3)
                #expect(seen == ["connected", "1", "2", "waiting", "connected", "resumed 5", "6"])
                await iterator.close()
            }
            #expect(server.requests.prefix(3).map { $0.query("after") } == ["earliest", "5f3a9c1e-5", "5f3a9c1e-5"])
            #expect(server.requests.first?.target == "/v1/events?topic=a&topic=b/*&after=earliest&max=100&wait=20")
        }
    }

    @Test func `a short-poll asks whether anything changed, and shows a reset`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.answer("200 OK", Self.answer([], next: 5), "ETag: \"5-0\"\r\n")
            _ = try await peer.request()
            try await peer.answer("200 OK", Self.answer([], next: 5), "ETag: \"5-0\"\r\n")
            _ = try await peer.request()
            try await peer.send("HTTP/1.1 304 Not Modified\r\nETag: \"5-0\"\r\n\r\n")
            _ = try await peer.request()
            let gap = #""resume":"reset","gap":{"topic":"a","from":"5f3a9c1e-5","to":"0000000a-1","reason":"epoch"}"#
            let event = eventJSON(1, epoch: "0000000a")
            try await peer.answer("200 OK", "{\"events\":[\(event)],\"next\":\"0000000a-1\",\(gap)}")
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let subscription = client.subscribe(
                    ["a"], after: .earliest, transport: .shortPoll(interval: .milliseconds(10)))
                var iterator = subscription.deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 1)
                #expect(seen == ["connected", "reset epoch", "1"])
                #expect(iterator.position == .after(Cursor(epoch: 10, sequence: 1)))
                await iterator.close()
            }
            let tags = server.requests.prefix(4).map { $0.headers["if-none-match"] }
            #expect(tags == [nil, "\"5-0\"", "\"5-0\"", "\"5-0\""])
        }
    }

    @Test func `an answer that may have had no room for more is followed at once`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            let large = String(repeating: "x", count: 1 << 19)
            try await peer.answer("200 OK", Self.answer([1], next: 1, "\"gap\":null,\"x\":\"\(large)\""))
            _ = try await peer.request()
            try await peer.answer("200 OK", Self.answer([2], next: 2))
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let subscription = client.subscribe(
                    ["a"], after: .earliest, transport: .shortPoll(interval: .seconds(3600)))
                var iterator = subscription.deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 2)
                #expect(seen == ["connected", "1", "2"])
                await iterator.close()
            }
        }
    }

    @Test func `an answer too large is asked for in smaller parts`() async throws {
        try await ScriptedServer.run { _, peer in
            while true {
                let most = Int(try await peer.request().query("max") ?? "") ?? 0
                try await peer.answer("200 OK", Self.answer(Array(1...most), next: most))
            }
        } _: { server in
            let configuration = impatient { $0.limits.answerBytesMax = 2_000 }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let subscription = client.subscribe(
                    ["a"], after: .earliest, transport: .shortPoll(interval: .milliseconds(10)))
                var iterator = subscription.deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 3)
                #expect(seen == ["connected", "1", "2", "3"])
                await iterator.close()
            }
        }
    }
}
