import Testing

@testable import HeraldClient

@Suite(.timeLimit(.minutes(1))) struct LineSplitterTests {
    @Test func `lines come whole however the stream is cut, and an unfinished one never`() throws {
        let stream = Array("one\n\ntwo\nthree\ncut".utf8)
        for size in 1...stream.count {
            var splitter = LineSplitter(lineBytesMax: 5)
            var lines: [String] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                let piece = Array(stream[start..<min(start + size, stream.count)])
                lines += try splitter.feed(piece).map { String(decoding: $0, as: UTF8.self) }
            }
            #expect(lines == ["one", "two", "three"])
        }
    }

    @Test func `a line past the limit is refused, ended or not`() throws {
        for text in ["123456\n", "123456"] {
            var splitter = LineSplitter(lineBytesMax: 5)
            #expect(throws: LineTooLong(limit: 5)) { try splitter.feed(Array(text.utf8)) }
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct NDJSONTests {
    private static let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    private static func welcome(_ sequence: Int) -> String {
        #"{"control":"welcome","epoch":"5f3a9c1e","cursor":"5f3a9c1e-\#(sequence)","heartbeat_ms":25000}"# + "\n"
    }

    @Test func `a stream of lines resumes where it was cut, from the first line on`() async throws {
        try await ScriptedServer.run { connection, peer in
            _ = try await peer.request()
            switch connection {
            case 1:
                try await peer.send(Self.head + Self.welcome(7))
            case 2:
                try await peer.send(Self.head + Self.welcome(7))
                try await peer.send(#"{"control":"resumed","cursor":"5f3a9c1e-7"}"# + "\n")
                try await peer.send(eventJSON(8) + "\n" + #"{"control":"heartbeat","cursor":"5f3a9c1e-9"}"# + "\n")
                try await peer.send(#"{"control":"end","cursor":"5f3a9c1e-11","retry_ms":1}"# + "\n{\"id\":\"cut")
            default:
                try await peer.send(Self.head + Self.welcome(11) + eventJSON(12) + "\n")
                try await peer.untilClosed()
            }
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var iterator = client.subscribe(["a"], transport: .ndjson).deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 2)
                let second = ["waiting", "connected", "resumed 7", "8"]
                #expect(seen == ["connected"] + second + ["waiting", "connected", "12"])
                await iterator.close()
            }
            #expect(server.requests.map { $0.headers["last-event-id"] } == [nil, "5f3a9c1e-7", "5f3a9c1e-11"])
            #expect(server.requests.first?.target == "/v1/events?topic=a&after=latest")
            #expect(server.requests.first?.headers["accept"] == "application/x-ndjson")
        }
    }

    @Test func `another type of answer is not taken for lines`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.beginEventStream()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let error = await #expect(throws: HeraldError.self) {
                    for try await _ in client.subscribe(["a"], after: .earliest, transport: .ndjson) {}
                }
                #expect("\(error!)".contains("application/x-ndjson"))
            }
        }
    }
}
