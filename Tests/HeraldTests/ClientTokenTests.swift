import HeraldClient
import Synchronization
import Testing

@testable import Herald

/// The client library's tokens against the real server.
@Suite(.timeLimit(.minutes(10))) struct ClientTokenTests {
    /// Gives tokens in their order, the last one again and again.
    private final class Issuer: Sendable {
        private let tokens: [String]
        private let count = Mutex(0)

        init(_ tokens: [String]) { self.tokens = tokens }

        var asked: Int { count.withLock { $0 } }

        var source: TokenSource {
            .provided {
                self.count.withLock { count in
                    count += 1
                    return self.tokens[min(count, self.tokens.count) - 1]
                }
            }
        }
    }

    /// A subscription of Alice's, whose first token is good for 100 seconds and whose second one for 1,000.
    private func run(
        _ transport: Transport, _ body: (RunningService, Issuer, inout Deliveries.Iterator) async throws -> Void
    ) async throws {
        try await RunningService.run { service in
            let issuer = Issuer([
                try await service.token { $0.expiry = TestTokens.now + 100 },
                try await service.token { $0.expiry = TestTokens.now + 1_000 },
            ])
            var configuration = ClientConfiguration()
            configuration.token = issuer.source
            configuration.retry.serverDelayMax = .milliseconds(10)
            configuration.retry.delayMax = .milliseconds(10)
            try await HeraldClient.withClient(
                url: "http://127.0.0.1:\(service.port)", configuration: configuration
            ) { client in
                await service.publish("0", on: "a/1", as: try await service.token())
                var iterator = client.subscribe("a/*", after: .earliest, transport: transport).deliveries
                    .makeAsyncIterator()
                let first = try await events(&iterator, 1).events
                #expect(first == ["0"])
                try await body(service, issuer, &iterator)
                await iterator.close()
            }
        }
    }

    /// Reads so many events; gives their data, and how often the connection changed in between.
    private func events(
        _ iterator: inout Deliveries.Iterator, _ count: Int
    ) async throws -> (events: [String], connections: Int) {
        var (events, connections) = ([String](), 0)
        while events.count < count, let delivery = try await iterator.next() {
            if case .event(let event) = delivery { events.append(String(decoding: event.data, as: UTF8.self)) }
            if case .state(.connected) = delivery { connections += 1 }
        }
        return (events, connections)
    }

    @Test(arguments: [Transport.automatic, .webSocket, .serverSentEvents, .ndjson])
    func `a stream whose token runs out is renewed in place`(transport: Transport) async throws {
        try await run(transport) { service, issuer, iterator in
            let own = try await service.token()
            // The warning comes 60 seconds before the end.
            service.clock.set(40)
            service.access.sweep()
            #expect(await soon { service.access.counts.admissions.renewed == 1 })
            service.clock.set(200)
            service.access.sweep()
            await service.publish("1", on: "a/1", as: own)
            let (events, connections) = try await events(&iterator, 1)
            #expect(events == ["1"] && connections == 0)
            #expect(issuer.asked == 2)
        }
    }

    @Test(arguments: [Transport.automatic, .webSocket, .serverSentEvents, .ndjson, .longPoll(wait: .seconds(1))])
    func `a stream whose token has run out comes back from its cursor with another`(transport: Transport) async throws {
        try await run(transport) { service, issuer, iterator in
            let own = try await service.token()
            service.clock.set(200)
            service.access.sweep()
            await service.publish("1", on: "a/1", as: own)
            await service.publish("2", on: "a/1", as: own)
            let events = try await events(&iterator, 2).events
            #expect(events == ["1", "2"])
            #expect(issuer.asked == 2)
        }
    }

    @Test func `a subscription ends with the problem when there is no other token`() async throws {
        try await RunningService.run { service in
            let token = try await service.token { $0.expiry = TestTokens.now + 100 }
            var configuration = ClientConfiguration()
            configuration.token = .provided { token }
            try await HeraldClient.withClient(
                url: "http://127.0.0.1:\(service.port)", configuration: configuration
            ) { client in
                await service.publish("0", on: "a/1", as: try await service.token())
                var iterator = client.subscribe("a/*", after: .earliest).makeAsyncIterator()
                let first = try await iterator.next()
                #expect(first != nil)
                service.clock.set(200)
                service.access.sweep()
                let error = await #expect(throws: HeraldError.self) { try await iterator.next() }
                #expect(error?.description.contains("expired") == true && error?.description.contains(token) == false)
            }
        }
    }

    @Test func `events of a batch that may not be published fail alone`() async throws {
        try await RunningService.run { service in
            let token = try await service.token { $0.publish = ["a/*"] }
            var configuration = ClientConfiguration()
            configuration.token = .fixed(token)
            try await HeraldClient.withClient(
                url: "http://127.0.0.1:\(service.port)", configuration: configuration
            ) { client in
                var limits = PublisherLimits()
                limits.eventsMax = 20
                limits.delay = .seconds(30)
                let publisher = client.publisher(limits)
                let refused = await withTaskGroup(of: String?.self) { group in
                    for number in 0..<20 {
                        let topic = [3: "b/1", 9: "a//1", 15: "~own"][number] ?? "a/\(number)"
                        let event = Publication(topic: topic, payload: .text("x"))
                        group.addTask {
                            do {
                                return try await publisher.publish(event).topic == topic ? nil : "another's receipt"
                            } catch {
                                return topic
                            }
                        }
                    }
                    return await group.reduce(into: Set<String>()) { if let topic = $1 { $0.insert(topic) } }
                }
                #expect(refused == ["b/1", "a//1", "~own"])
                #expect(service.hub.log.statistics.topics >= 17)
            }
        }
    }
}
