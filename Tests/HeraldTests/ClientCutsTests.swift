import HeraldClient
import Synchronization
import Testing

/// The client library against the real server, over a line that is cut again and again.
@Suite(.serialized, .timeLimit(.minutes(10))) struct ClientCutsTests {
    private static let eventCount = 10_000
    private static let cutCount = 30
    private static let topicCount = 20

    /// Fewer bytes than one event takes on any transport: all cuts come before the end.
    private static let eventBytesMin = 120

    /// How far the reader has come.
    private final class Progress: Sendable {
        private let number = Mutex(0)

        var count: Int {
            get { number.withLock { $0 } }
            set { number.withLock { $0 = newValue } }
        }
    }

    /// What a reader saw.
    private struct Account {
        var ids: [Cursor] = []
        var lastOf: [String: UInt64] = [:]
        var disorder = 0
        var losses = 0
        var connections: [TransportKind: Int] = [:]
        var takeovers = 0
        var isWaiting = true

        mutating func note(_ delivery: Delivery) {
            switch delivery {
            case .event(let event):
                ids.append(event.id)
                if let last = lastOf[event.topic], last >= event.id.sequence { disorder += 1 }
                lastOf[event.topic] = event.id.sequence
            case .gap, .reset:
                losses += 1
            case .state(.connected(let transport)):
                connections[transport, default: 0] += 1
                // Nothing was said to be over: the one before ran until this one had proven itself.
                if !isWaiting { takeovers += 1 }
                isWaiting = false
            case .state:
                isWaiting = true
            case .resumed:
                break
            }
        }
    }

    @Test(
        arguments: [
            (Transport.webSocket, 1), (.serverSentEvents, 2), (.ndjson, 3), (.longPoll(wait: .seconds(20)), 4),
            (.shortPoll(interval: .milliseconds(2)), 5), (.automatic, 6), (.automatic, 7),
        ] as [(Transport, UInt64)])
    func `30 cuts lose nothing, repeat nothing, and change no order`(transport: Transport, seed: UInt64) async throws {
        var random = SeededGenerator(seed)
        let cuts = (0..<Self.cutCount).map { _ in
            Int.random(in: 1..<(Self.eventCount * Self.eventBytesMin), using: &random)
        }
        try await RunningService.run(with: { settings, _ in settings.retainEvents = Self.eventCount }) { service in
            let (port, token) = (Int(service.port), try await service.token())
            try await CuttingRelay.run(to: port, cuts: cuts, seed: seed, drawsWays: transport == .automatic) { relay in
                var configuration = Self.configuration
                configuration.token = .fixed(token)
                let account = try await HeraldClient.withClient(
                    url: "http://127.0.0.1:\(relay.port)", configuration: configuration
                ) { client in
                    try await Self.read(client, transport, port, token)
                }
                let unique = Set(account.account.ids)
                let lost = account.published.subtracting(unique).count
                let repeated = account.account.ids.count - unique.count
                #expect(account.account.ids.count == Self.eventCount && unique == account.published)
                #expect(account.account.disorder == 0 && account.account.losses == 0)
                #expect(relay.cutCount == Self.cutCount)
                let connections = TransportKind.allCases.compactMap { kind in
                    account.account.connections[kind].map { "\(kind) \($0)" }
                }
                print(
                    "\(transport), seed \(seed): \(unique.count) events, \(relay.cutCount) cuts, lost \(lost), "
                        + "repeated \(repeated), out of order \(account.account.disorder), connections: "
                        + "\(connections.joined(separator: ", ")), takeovers \(account.account.takeovers)")
            }
        }
    }

    private static var configuration: ClientConfiguration {
        var configuration = ClientConfiguration()
        configuration.retry.baseDelay = .milliseconds(1)
        configuration.retry.delayMax = .milliseconds(20)
        configuration.retry.serverDelayMax = .milliseconds(20)
        configuration.fallback.proofTimeout = .milliseconds(400)
        configuration.fallback.climbDelay = .milliseconds(20)
        configuration.fallback.climbDelayMax = .milliseconds(100)
        configuration.fallback.shortPollInterval = .milliseconds(2)
        configuration.fallback.longPollWait = .seconds(20)
        return configuration
    }

    /// Publishes all events and reads them meanwhile, from a cursor taken before the first.
    private static func read(
        _ client: HeraldClient, _ transport: Transport, _ port: Int, _ token: String
    ) async throws -> (account: Account, published: Set<Cursor>) {
        let seen = Progress()
        let publishing = Task { try await publish(port, token, seen) }
        var account = Account()
        // One filter that is precise, and one that matches it as well: an event comes once all the same.
        let subscription = client.subscribe("cuts/*", "cuts/0", after: .earliest, transport: transport)
        var iterator = subscription.deliveries.makeAsyncIterator()
        while account.ids.count < eventCount, let delivery = try await iterator.next() {
            account.note(delivery)
            seen.count = account.ids.count
        }
        await iterator.close()
        return (account, try await publishing.value)
    }

    /// Publishes in batches, directly, and no faster than the reader comes after: some of it is read live, and some in
    /// catching up.
    private static func publish(_ port: Int, _ token: String, _ seen: Progress) async throws -> Set<Cursor> {
        var configuration = ClientConfiguration()
        configuration.token = .fixed(token)
        return try await HeraldClient.withClient(
            url: "http://127.0.0.1:\(port)", configuration: configuration
        ) { client in
            var published: Set<Cursor> = []
            for start in stride(from: 0, to: eventCount, by: 10) {
                while start - seen.count > 200 { try await Task.sleep(for: .milliseconds(1)) }
                let events = (start..<(start + 10)).map { number in
                    Publication(topic: "cuts/\(number * 7 % topicCount)", payload: .json(Array("\(number)".utf8)))
                }
                published.formUnion(try await client.publish(events).map(\.id))
                try await Task.sleep(for: .milliseconds(2))
            }
            return published
        }
    }
}
