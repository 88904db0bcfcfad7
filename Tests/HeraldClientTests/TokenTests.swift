import Synchronization
import Testing

@testable import HeraldClient

/// Gives `t1`, `t2` and so on, and counts how often it was asked.
private final class Issuer: Sendable {
    private let count = Mutex(0)

    var asked: Int { count.withLock { $0 } }

    var source: TokenSource {
        .provided {
            self.count.withLock { count in
                count += 1
                return "t\(count)"
            }
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct TokenKeeperTests {
    @Test func `a token is asked for once, and again when it is not good any more`() async throws {
        let issuer = Issuer()
        let keeper = try TokenKeeper(issuer.source, timeout: .seconds(30))
        let first = try await keeper.current()
        #expect(first?.text == "t1")
        #expect(try await keeper.current()?.text == "t1")
        #expect(try await keeper.fresh(after: first)?.text == "t2")
        #expect(try await keeper.fresh(after: first)?.text == "t2", "another has asked already")
        keeper.spoil(first)
        #expect(try await keeper.current()?.text == "t2", "it was the first that was spoiled")
        keeper.spoil(try await keeper.current())
        #expect(try await keeper.current()?.text == "t3")
        #expect(issuer.asked == 3)
    }

    @Test func `a fixed token is the only one, and none is none`() async throws {
        let fixed = try TokenKeeper(.fixed("abc"), timeout: .seconds(30))
        let token = try await fixed.current()
        #expect(token?.text == "abc" && !fixed.canRefresh)
        fixed.spoil(token)
        #expect(try await fixed.current()?.text == "abc")
        #expect(try await fixed.fresh(after: token) == nil)
        let none = try TokenKeeper(.none, timeout: .seconds(30))
        #expect(try await none.current() == nil)
    }

    @Test func `many who ask at once are answered by one question`() async throws {
        let latch = Latch()
        let count = Mutex(0)
        let source = TokenSource.provided {
            count.withLock { $0 += 1 }
            try await latch.wait()
            return "t"
        }
        let keeper = try TokenKeeper(source, timeout: .seconds(30))
        try await withThrowingTaskGroup(of: String?.self) { group in
            for _ in 0..<50 { group.addTask { try await keeper.current()?.text } }
            while count.withLock({ $0 }) == 0 { await Task.yield() }
            latch.open()
            for try await text in group { #expect(text == "t") }
        }
        #expect(count.withLock { $0 } == 1)
    }

    @Test func `whoever is cancelled waits no longer, and the question goes on for the others`() async throws {
        let latch = Latch()
        let count = Mutex(0)
        let source = TokenSource.provided {
            count.withLock { $0 += 1 }
            try await latch.wait()
            return "t"
        }
        let keeper = try TokenKeeper(source, timeout: .seconds(30))
        let other = Task { try await keeper.current()?.text }
        while count.withLock({ $0 }) == 0 { await Task.yield() }
        let cancelled = Task { try await keeper.current()?.text }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        latch.open()
        #expect(try await other.value == "t")
        #expect(count.withLock { $0 } == 1)
    }

    @Test func `when nobody waits any more the question is dropped`() async throws {
        let (latch, dropped) = (Latch(), Latch())
        let count = Mutex(0)
        let source = TokenSource.provided {
            count.withLock { $0 += 1 }
            do { try await latch.wait() } catch { dropped.open() }
            return "t\(count.withLock { $0 })"
        }
        let keeper = try TokenKeeper(source, timeout: .seconds(30))
        let only = Task { try await keeper.current()?.text }
        while count.withLock({ $0 }) == 0 { await Task.yield() }
        only.cancel()
        await #expect(throws: CancellationError.self) { try await only.value }
        try await dropped.wait()
        latch.open()
        #expect(try await keeper.current() != nil)
    }

    @Test func `a provider that does not answer is not waited for for ever`() async throws {
        let source = TokenSource.provided {
            try await Task.sleep(for: .seconds(3_600))
            return "t"
        }
        let keeper = try TokenKeeper(source, timeout: .milliseconds(20))
        let error = await #expect(throws: HeraldError.self) { try await keeper.current() }
        #expect(error == .noToken("its provider took longer than 0 s"))
    }

    @Test func `what a provider throws is named by its kind alone`() async throws {
        struct Refused: Error { let secret = "s3cret" }
        let keeper = try TokenKeeper(.provided { throw Refused() }, timeout: .seconds(30))
        let error = await #expect(throws: HeraldError.self) { try await keeper.current() }
        #expect(error == .noToken("its provider threw Refused"))
        let own = try TokenKeeper(.provided { throw HeraldError.unusable("x") }, timeout: .seconds(30))
        let passed = await #expect(throws: HeraldError.self) { try await own.current() }
        #expect(passed == .unusable("x"))
    }

    @Test(arguments: ["", "a b", "a\r\nX: y", "\u{e9}"])
    func `what no header can hold is no token`(text: String) async throws {
        #expect(throws: HeraldError.self) { try TokenKeeper(.fixed(text), timeout: .seconds(30)) }
        let keeper = try TokenKeeper(.provided { text }, timeout: .seconds(30))
        await #expect(throws: HeraldError.self) { try await keeper.current() }
    }

    @Test func `no description shows a token`() throws {
        var configuration = ClientConfiguration()
        configuration.token = .fixed("s3cret")
        let keeper = try TokenKeeper(configuration.token, timeout: .seconds(30))
        var dumped = ""
        dump(configuration, to: &dumped)
        dump(Token(text: "s3cret", number: 1), to: &dumped)
        dumped += "\(configuration) \(configuration.token) \(Token(text: "s3cret", number: 1))"
        dumped += String(reflecting: configuration) + String(reflecting: keeper)
        #expect(!dumped.contains("s3cret"))
    }

    @Test func `a token and a header of the same name are one too many`() {
        var configuration = ClientConfiguration()
        configuration.token = .fixed("t")
        configuration.headers = [("authorization", "Bearer u")]
        #expect(throws: HeraldError.self) { try HeraldClient(url: "http://h", configuration: configuration) }
    }
}

@Suite(.timeLimit(.minutes(1))) struct TokenRequestTests {
    private static let problem =
        #"{"type":"/problems/expired-token","title":"The token has expired","status":401,"detail":"d"}"#

    private static func refuse(_ peer: ScriptedPeer) async throws {
        try await peer.answer("401 Unauthorized", problem, type: "application/problem+json")
    }

    private static let receipt = #"{"id":"5f3a9c1e-42","topic":"a","time":"x","receivers":0}"#

    @Test func `a token that is not accepted is replaced, once`() async throws {
        let issuer = Issuer()
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await Self.refuse(peer)
            _ = try await peer.request()
            try await peer.answer("201 Created", Self.receipt)
            for _ in 1...2 {
                _ = try await peer.request()
                try await Self.refuse(peer)
            }
        } _: { server in
            let configuration = impatient { $0.token = issuer.source }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let receipt = try await client.publish([1], to: "a")
                #expect(receipt.id == Cursor("5f3a9c1e-42"))
                let error = await #expect(throws: HeraldError.self) { try await client.publish([2], to: "a") }
                #expect(error?.description == "The token has expired: d.")
            }
            #expect(server.requests.map { $0.headers["authorization"] } == [1, 2, 2, 3].map { "Bearer t\($0)" })
            #expect(server.requests.map(\.body) == [[1], [1], [2], [2]])
        }
    }

    @Test func `a fixed token that is not accepted is not shown twice`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await Self.refuse(peer)
        } _: { server in
            let configuration = impatient { $0.token = .fixed("t") }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let error = await #expect(throws: HeraldError.self) { try await client.publish([1], to: "a") }
                #expect(error?.description == "The token has expired: d.")
            }
            #expect(server.requests.map { $0.headers["authorization"] } == ["Bearer t"])
        }
    }

    @Test(arguments: [Transport.webSocket, .serverSentEvents, .ndjson, .longPoll(), .automatic])
    func `a subscription whose token is refused at the door comes with another`(transport: Transport) async throws {
        let issuer = Issuer()
        try await ScriptedServer.run { _, peer in
            while true {
                let request = try await peer.request()
                guard request.headers["authorization"] == "Bearer t2" else {
                    try await Self.refuse(peer)
                    continue
                }
                try await Self.serve(peer, request)
            }
        } _: { server in
            let configuration = impatient { $0.token = issuer.source }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let subscription = client.subscribe("a", after: .earliest, transport: transport)
                for try await _ in subscription { break }
            }
            #expect(issuer.asked == 2)
        }
    }

    /// Answers with an event, in the form that is asked for; streams go on.
    private static func serve(_ peer: ScriptedPeer, _ request: ScriptedRequest, then text: String? = nil) async throws {
        if request.isUpgrade {
            try await peer.upgrade(request, with: [ScriptedPeer.text(eventJSON(1))])
            if let text { try await peer.send(frame: ScriptedPeer.text(text)) }
        } else if let type = request.headers["accept"], type != "application/json" {
            try await peer.send("HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\nConnection: close\r\n\r\n")
            let isLines = type == "application/x-ndjson"
            try await peer.send(isLines ? eventJSON(1) + "\n" : eventBlock(1))
            if let text { try await peer.send(isLines ? text + "\n" : "data: \(text)\n\n") }
        } else {
            try await peer.answer("200 OK", "{\"events\":[\(eventJSON(1))],\"next\":\"5f3a9c1e-1\",\"gap\":null}")
        }
        try await peer.untilClosed()
    }

    @Test(arguments: [Transport.webSocket, .serverSentEvents, .ndjson, .automatic])
    func `a right that ends in mid-stream is come back for from the cursor, with another token`(
        transport: Transport
    ) async throws {
        let issuer = Issuer()
        try await ScriptedServer.run { connection, peer in
            let request = try await peer.request()
            if connection == 1 {
                return try await Self.serve(
                    peer, request, then: Self.problem.replacing("{\"type\"", with: "{\"control\":\"end\",\"type\""))
            }
            #expect(request.headers["authorization"] == "Bearer t2")
            #expect(request.query("after") ?? request.headers["last-event-id"] == "5f3a9c1e-1")
            try await Self.serve(peer, request, then: eventJSON(2))
        } _: { server in
            let configuration = impatient { $0.token = issuer.source }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let subscription = client.subscribe("a", after: .earliest, transport: transport)
                var iterator = subscription.deliveries.makeAsyncIterator()
                let seen = try await read(&iterator, events: 2)
                #expect(seen == ["connected", "1", "connected", "2"])
                await iterator.close()
            }
            #expect(server.requests.count == 2 && issuer.asked == 2)
        }
    }

    @Test func `without another token the end of the right is the subscription's`() async throws {
        try await ScriptedServer.run { _, peer in
            try await Self.serve(peer, try await peer.request(), then: Self.problem)
        } _: { server in
            let configuration = impatient { $0.token = .fixed("s3cret") }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                var seen = 0
                let error = await #expect(throws: HeraldError.self) {
                    let subscription = client.subscribe("a", after: .earliest, transport: .serverSentEvents)
                    for try await _ in subscription { seen += 1 }
                }
                #expect(seen == 1, "what came before the end is handed out")
                #expect(error?.description == "The token has expired: d.")
            }
        }
    }

    @Test func `a WebSocket's close frame says as much`() async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.acceptWebSocket(with: [ScriptedPeer.text(eventJSON(1))])
            try await peer.send(frame: ScriptedPeer.frame(8, [0x03, 0xF0] + Array("revoked-token".utf8)))
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let error = await #expect(throws: HeraldError.self) {
                    for try await _ in client.subscribe("a", after: .earliest, transport: .webSocket) {}
                }
                #expect(error?.description == "The token has been revoked.")
            }
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct RenewalTests {
    private static let notice = #""expires_in":60,"renew":"/v1/renewals/9a6855ea573ddc70c39bde07629c5250"}"#

    @Test func `a WebSocket is renewed by a message, and stays`() async throws {
        let issuer = Issuer()
        let renewal = Mutex("")
        try await ScriptedServer.run { _, peer in
            _ = try await peer.acceptWebSocket()
            try await peer.send(frame: ScriptedPeer.text("{\"control\":\"expiring\"," + Self.notice))
            let frame = try await peer.frame()
            renewal.withLock { $0 = String(decoding: frame.payload, as: UTF8.self) }
            try await peer.send(frame: ScriptedPeer.text(#"{"control":"renewed","ref":"renew","expires":1}"#))
            try await peer.send(frame: ScriptedPeer.text(eventJSON(1)))
            try await peer.untilClosed()
        } _: { server in
            let configuration = impatient { $0.token = issuer.source }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let subscription = client.subscribe("a", after: .earliest, transport: .webSocket)
                for try await _ in subscription { break }
            }
            #expect(renewal.withLock { $0 } == #"{"op":"renew","ref":"renew","token":"t2"}"#)
            #expect(server.requests.count == 1 && issuer.asked == 2)
        }
    }

    @Test(arguments: [Transport.serverSentEvents, .ndjson])
    func `a stream is renewed by a request, and stays`(transport: Transport) async throws {
        let issuer = Issuer()
        let renewed = Latch()
        try await ScriptedServer.run { _, peer in
            let request = try await peer.request()
            if request.line.hasPrefix("POST") {
                try await peer.answer("200 OK", "{\"expires\":1}")
                return renewed.open()
            }
            let type = request.headers["accept"] ?? ""
            try await peer.send("HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\nConnection: close\r\n\r\n")
            if request.isEventStream {
                try await peer.send("event: herald.expiring\ndata: {" + Self.notice + "\n\n")
            } else {
                try await peer.send("{\"control\":\"expiring\"," + Self.notice + "\n")
            }
            try await renewed.wait()
            try await peer.send(request.isEventStream ? eventBlock(1) : eventJSON(1) + "\n")
            try await peer.untilClosed()
        } _: { server in
            let configuration = impatient { $0.token = issuer.source }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                for try await _ in client.subscribe("a", after: .earliest, transport: transport) { break }
            }
            let renewal = try #require(server.requests.last)
            #expect(renewal.line == "POST /v1/renewals/9a6855ea573ddc70c39bde07629c5250 HTTP/1.1")
            #expect(renewal.headers["authorization"] == "Bearer t2")
            #expect(server.requests.count == 2 && issuer.asked == 2)
        }
    }

    @Test func `a token that stays the same is not sent again and again`() async throws {
        let asked = Mutex(0)
        try await ScriptedServer.run { _, peer in
            _ = try await peer.acceptWebSocket()
            try await peer.send(frame: ScriptedPeer.text("{\"control\":\"expiring\"," + Self.notice))
            while asked.withLock({ $0 }) < 2 { try await Task.sleep(for: .milliseconds(5)) }
            // A renewal would come before the pong.
            try await peer.send(frame: ScriptedPeer.frame(9, [7]))
            let frame = try await peer.frame()
            #expect(frame.opcode == 10)
            try await peer.send(frame: ScriptedPeer.text(eventJSON(1)))
            try await peer.untilClosed()
        } _: { server in
            let configuration = impatient {
                $0.token = .provided {
                    asked.withLock { $0 += 1 }
                    return "same"
                }
            }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                for try await _ in client.subscribe("a", after: .earliest, transport: .webSocket) { break }
            }
        }
    }
}
