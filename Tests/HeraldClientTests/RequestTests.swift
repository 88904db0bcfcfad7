import Testing

@testable import HeraldClient

@Suite(.timeLimit(.minutes(1))) struct RequestTests {
    private let receipt = #"{"id":"5f3a9c1e-42","topic":"orders/42","time":"2026-01-02T03:04:05.678Z","receivers":3}"#

    @Test func `publishing sends the data as it is and gives the receipt`() async throws {
        let receipt = receipt
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.answer("201 Created", receipt)
            _ = try await peer.request()
            try await peer.answer("200 OK", receipt)
        } _: { server in
            try await HeraldClient.withClient(url: server.url) { client in
                let first = try await client.publish(
                    [0, 255], to: "orders/42", type: "x", contentType: "image/png", idempotencyKey: "k")
                #expect(first.id == Cursor("5f3a9c1e-42") && first.receivers == 3 && !first.isRepeat)
                #expect(String(decoding: first.json, as: UTF8.self) == receipt)
                #expect(try await client.publish([0, 255], to: "orders/42", idempotencyKey: "k").isRepeat)
            }
            let request = try #require(server.requests.first)
            #expect(request.line == "POST /v1/events/orders/42 HTTP/1.1")
            #expect(request.body == [0, 255])
            #expect(request.headers["content-type"] == "image/png")
            #expect(request.headers["herald-type"] == "x")
            #expect(request.headers["idempotency-key"] == "k")
        }
    }

    @Test func `a batch is sent as lines and gives its receipts in order`() async throws {
        let receipt = receipt
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.answer("201 Created", "{\"events\":[\(receipt),\(receipt)]}")
        } _: { server in
            try await HeraldClient.withClient(url: server.url) { client in
                let receipts = try await client.publish([
                    Publication(topic: "a", payload: .text("x")), Publication(topic: "b", payload: .json([0x31])),
                ])
                #expect(receipts.count == 2)
            }
            let request = try #require(server.requests.first)
            #expect(request.headers["content-type"] == "application/x-ndjson")
            #expect(
                String(decoding: request.body, as: UTF8.self)
                    == "{\"topic\":\"a\",\"data\":\"x\"}\n{\"topic\":\"b\",\"data\":1}\n")
        }
    }

    @Test func `a refusal is thrown as the problem that it is`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.answer(
                "400 Bad Request", #"{"type":"/problems/bad-topic","title":"Bad topic","status":400,"detail":"d"}"#,
                type: "application/problem+json")
        } _: { server in
            try await HeraldClient.withClient(url: server.url) { client in
                let error = await #expect(throws: HeraldError.self) { try await client.publish([], to: "a b") }
                #expect(error?.description == "Bad topic: d.")
            }
            #expect(server.requests.first?.target == "/v1/events/a%20b")
        }
    }

    @Test func `topics are listed, shown and purged`() async throws {
        let topic = """
            {"topic":"a/b","retained":2,"retained_bytes":20,"floor":"5f3a9c1e-1","head":"5f3a9c1e-9","published":7,\
            "subscribers":{"websocket":1,"sse":2,"ndjson":4,"longpoll":3,"shortpoll":0}}
            """
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.answer("200 OK", "{\"topics\":[\(topic)],\"next\":\"a/b\"}")
            _ = try await peer.request()
            try await peer.answer("200 OK", topic)
            _ = try await peer.request()
            try await peer.send("HTTP/1.1 204 No Content\r\n\r\n")
        } _: { server in
            try await HeraldClient.withClient(url: server.url) { client in
                let page = try await client.topics(prefix: "a/", after: "a/a", limit: 1)
                #expect(page.next == "a/b")
                #expect(page.topics.first?.subscribers.total == 10)
                let state = try await client.topic("a/b")
                #expect(state.head == Cursor("5f3a9c1e-9") && state.retainedBytes == 20 && state.published == 7)
                #expect(String(decoding: state.json, as: UTF8.self) == topic)
                try await client.purge("a/b")
            }
            #expect(
                server.requests.map(\.line) == [
                    "GET /v1/topics?limit=1&prefix=a/&after=a/a HTTP/1.1", "GET /v1/topics/a/b HTTP/1.1",
                    "DELETE /v1/topics/a/b HTTP/1.1",
                ])
        }
    }

    @Test func `an answer past the limit is not read on`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.answer("200 OK", String(repeating: " ", count: 5_000))
        } _: { server in
            let configuration = impatient { $0.limits.answerBytesMax = 1_000 }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let error = await #expect(throws: HeraldError.self) { try await client.topic("a") }
                #expect(error == .tooLarge(what: "An answer of the server", limit: 1_000))
            }
        }
    }

    @Test func `a server that is not there is named`() async throws {
        try await HeraldClient.withClient(url: "http://127.0.0.1:1") { client in
            let error = await #expect(throws: HeraldError.self) { try await client.topic("a") }
            #expect(error?.description.contains("http://127.0.0.1:1") == true)
            #expect(error?.isTransient == true)
        }
    }
}
