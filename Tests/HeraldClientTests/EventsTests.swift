import Synchronization
import Testing

@testable import HeraldClient

@Suite(.timeLimit(.minutes(1))) struct EventsTests {
    private static let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    private static let loss = #""topic":"a","from":"5f3a9c1e-2","to":"5f3a9c1e-4","cursor":"5f3a9c1e-4""#

    /// Serves an event, what is said of a loss, and another event.
    private func run(
        _ control: String, _ body: @escaping @Sendable (HeraldClient) async throws -> Void
    ) async throws {
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.send(Self.head + eventJSON(1) + "\n" + control + "\n" + eventJSON(5) + "\n")
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient(), body)
        }
    }

    private let gap = #"{"control":"gap","reason":"evicted",\#(loss)}"#
    private let reset = #"{"control":"reset","resume":"reset","reason":"epoch",\#(loss)}"#

    @Test func `a loop over a subscription gives events`() async throws {
        try await run(#"{"control":"heartbeat","cursor":"5f3a9c1e-4"}"#) { client in
            var seen: [UInt64] = []
            for try await event in client.subscribe("a", after: .earliest, transport: .ndjson) {
                seen.append(event.id.sequence)
                if seen.count == 2 { break }
            }
            #expect(seen == [1, 5])
        }
    }

    @Test func `a loss ends a loop that has not said otherwise, and names it`() async throws {
        for control in [gap, reset] {
            try await run(control) { client in
                var seen: [UInt64] = []
                var iterator = client.subscribe("a", after: .earliest, transport: .ndjson).makeAsyncIterator()
                let error = await #expect(throws: HeraldError.self) {
                    while let event = try await iterator.next() { seen.append(event.id.sequence) }
                }
                guard case .lost(let gap)? = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
                #expect(seen == [1] && gap.to.sequence == 4)
                #expect(iterator.position == .after(Cursor(epoch: 0x5f3a9c1e, sequence: 1)))
                let end = try await iterator.next()
                #expect(end == nil)
            }
        }
    }

    @Test func `a loop can be told of a loss before it goes on`() async throws {
        try await run(reset) { client in
            let told = Mutex<[Gap.Reason]>([])
            let policy = LossPolicy.call { gap in told.withLock { $0.append(gap.reason) } }
            let subscription = client.subscribe("a", after: .earliest, transport: .ndjson, onLoss: policy)
            var seen: [UInt64] = []
            for try await event in subscription {
                seen.append(event.id.sequence)
                #expect(told.withLock { $0.count } == (seen.count == 1 ? 0 : 1))
                if seen.count == 2 { break }
            }
            #expect(seen == [1, 5] && told.withLock { $0 } == [.epoch])
        }
    }

    @Test func `what the loop's own closure throws ends it`() async throws {
        struct Enough: Error {}
        try await run(gap) { client in
            let policy = LossPolicy.call { _ in throw Enough() }
            await #expect(throws: Enough.self) {
                for try await _ in client.subscribe("a", after: .earliest, transport: .ndjson, onLoss: policy) {}
            }
        }
    }

    @Test func `a loop may do without being told`() async throws {
        try await run(gap) { client in
            var seen: [UInt64] = []
            for try await event in client.subscribe("a", after: .earliest, transport: .ndjson, onLoss: .ignore) {
                seen.append(event.id.sequence)
                if seen.count == 2 { break }
            }
            #expect(seen == [1, 5])
        }
    }

    @Test func `an event's data is decoded, and an event is made of a value`() throws {
        struct Order: Codable, Equatable { var n: Int }
        let event = try Event(json: Array(eventJSON(7).utf8))
        #expect(try event.decode(Order.self) == Order(n: 7))
        let publication = try Publication(topic: "orders/42", encoding: Order(n: 7))
        #expect(publication.payload == .json(Array("{\"n\":7}".utf8)))
    }

    @Test func `a subscription without a filter is refused, once`() async throws {
        try await HeraldClient.withClient(url: "http://127.0.0.1:1") { client in
            var iterator = client.subscribe().makeAsyncIterator()
            let error = await #expect(throws: HeraldError.self) { try await iterator.next() }
            #expect(error == .unusable("A subscription needs at least one filter"))
            let end = try await iterator.next()
            #expect(end == nil, "an error is the last that a sequence gives")
        }
    }

    @MainActor @Test func `an actor may read`() async throws {
        let reader = ActorReader()
        try await ScriptedServer.run { _, peer in
            _ = try await peer.request()
            try await peer.send(Self.head + eventJSON(1) + "\n" + eventJSON(5) + "\n")
            try await peer.untilClosed()
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                try await reader.read(client.subscribe("a", after: .earliest, transport: .ndjson))
            }
            #expect(reader.seen == [1, 5])
        }
    }

    /// Reads with an iterator that is its own, and without sending that anywhere.
    @MainActor private final class ActorReader {
        private(set) var seen: [UInt64] = []
        private var iterator: Subscription.Iterator?

        func read(_ subscription: Subscription) async throws {
            var iterator = subscription.makeAsyncIterator()
            seen.append(try await iterator.next()?.id.sequence ?? 0)
            self.iterator = iterator
            for try await event in subscription {
                if event.id.sequence == 5 { break }
            }
            seen.append(try await iterator.next()?.id.sequence ?? 0)
            await iterator.close()
        }
    }
}

/// A number that several tasks count up.
private final class Tally: Sendable {
    private let number = Mutex(0)

    var count: Int { number.withLock { $0 } }

    func add() { number.withLock { $0 += 1 } }
}

/// What ends with the task that reads, and what a reader that takes its time costs.
@Suite(.timeLimit(.minutes(1))) struct StructuredTests {
    static let transports: [Transport] = [
        .automatic, .webSocket, .serverSentEvents, .ndjson, .longPoll(), .shortPoll(interval: .milliseconds(5)),
    ]

    /// Serves a connection with as much as it takes, over whatever it asks for; tells how many events went out.
    private static func flood(_ peer: ScriptedPeer, _ sent: @Sendable (Int) -> Void) async throws {
        let filler = String(repeating: "x", count: 50_000)
        func event(_ sequence: Int) -> String {
            #"{"id":"5f3a9c1e-\#(sequence)","topic":"a","datacontenttype":"text/plain","data":"\#(filler)"}"#
        }
        while true {
            let request = try await peer.request()
            let after = Int((request.query("after") ?? "").split(separator: "-").last ?? "0") ?? 0
            if request.isUpgrade {
                try await peer.upgrade(request)
                for sequence in 1... {
                    try await peer.send(frame: ScriptedPeer.text(event(sequence)))
                    sent(sequence)
                }
            } else if let type = request.headers["accept"], type != "application/json" {
                try await peer.send("HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\nConnection: close\r\n\r\n")
                for sequence in 1... {
                    try await peer.send(request.isEventStream ? "data: \(event(sequence))\n\n" : event(sequence) + "\n")
                    sent(sequence)
                }
            } else {
                let next = after + 1
                sent(next)
                try await peer.answer(
                    "200 OK", "{\"events\":[\(event(next))],\"next\":\"5f3a9c1e-\(next)\",\"gap\":null}")
            }
        }
    }

    @Test(arguments: transports)
    func `cancelling the task that reads ends the connection`(transport: Transport) async throws {
        let ended = Tally()
        try await ScriptedServer.run { _, peer in
            defer { ended.add() }
            try await Self.flood(peer) { _ in }
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                let isReading = Latch()
                let reading = Task {
                    var iterator = client.subscribe("a", after: .earliest, transport: transport).makeAsyncIterator()
                    while try await iterator.next() != nil { isReading.open() }
                    // The iterator is still there: it is the cancellation that ends the connection.
                    if transport != .longPoll(), transport != .shortPoll(interval: .milliseconds(5)) {
                        while ended.count == 0 { await Task.yield() }
                    }
                    await iterator.close()
                }
                try await isReading.wait()
                reading.cancel()
                try await reading.value
            }
            // Connections of polls are the client's, which has gone.
            while ended.count == 0 { try await Task.sleep(for: .milliseconds(5)) }
        }
    }

    @Test(arguments: transports)
    func `a reader that takes its time is felt by the server, and takes bounded memory`(
        transport: Transport
    ) async throws {
        let sent = Mutex(0)
        try await ScriptedServer.run { _, peer in
            try await Self.flood(peer) { sequence in sent.withLock { $0 = max($0, sequence) } }
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: impatient()) { client in
                var iterator = client.subscribe("a", after: .earliest, transport: transport).makeAsyncIterator()
                for sequence in 1...5 {
                    let event = try await iterator.next()
                    #expect(event?.id.sequence == UInt64(sequence))
                    // Until the server gets rid of nothing more.
                    var (before, now) = (-1, 0)
                    while before != now {
                        before = now
                        try await Task.sleep(for: .milliseconds(100))
                        now = sent.withLock { $0 }
                    }
                    // 50 KB each. Sockets may hold tens of MB; without a bound it would never come to a rest.
                    #expect(now - sequence < 1_500)
                }
                await iterator.close()
            }
        }
    }

    @Test func `the end of a client ends its subscriptions with an error`() async throws {
        try await ScriptedServer.run { _, peer in
            try await Self.flood(peer) { _ in }
        } _: { server in
            let client = try HeraldClient(url: server.url, configuration: impatient())
            var iterator = client.subscribe("a", after: .earliest).makeAsyncIterator()
            _ = try await iterator.next()
            try await client.shutdown()
            let error = await #expect(throws: HeraldError.self) { while try await iterator.next() != nil {} }
            #expect(error == Lifetime.over)
            let late = await #expect(throws: HeraldError.self) { try await client.publish([], to: "a") }
            #expect(late == Lifetime.over)
            await iterator.close()
        }
    }
}
