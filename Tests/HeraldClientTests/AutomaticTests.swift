import Synchronization
import Testing

@testable import HeraldClient

/// A server, and what stands before it: which transports get through can change at any time.
fileprivate final class Network: Sendable {
    enum Way: Sendable { case open, refused, cut, buffered }

    private struct State {
        var ways: [TransportKind: Way] = [:]
        var published = 0
    }

    private let state = Mutex(State())

    func set(_ kind: TransportKind, _ way: Way) { state.withLock { $0.ways[kind] = way } }

    private func way(_ kind: TransportKind) -> Way { state.withLock { $0.ways[kind] ?? .open } }

    /// Serves one connection: events from the cursor on, one more whenever a reader has come so far.
    func serve(_ peer: ScriptedPeer) async throws {
        while true {
            let request = try await peer.request()
            let cursor = (request.query("after") ?? request.headers["last-event-id"]).flatMap { Cursor($0) }
            let after = Int(cursor?.sequence ?? 0)
            let kind: TransportKind =
                request.isUpgrade
                ? .webSocket
                : request.isEventStream ? .serverSentEvents : request.query("wait") != nil ? .longPoll : .shortPoll
            switch way(kind) {
            case .cut: return
            case .buffered: return try await peer.untilClosed()
            case .refused: try await peer.answer("403 Forbidden", "<html>", type: "text/html")
            case .open:
                switch kind {
                case .webSocket: return try await serveWebSocket(peer, request, after)
                case .serverSentEvents: return try await serveEventStream(peer, after)
                default: try await servePoll(peer, after)
                }
            }
        }
    }

    private func serveWebSocket(_ peer: ScriptedPeer, _ request: ScriptedRequest, _ after: Int) async throws {
        let resumed = #"{"control":"resumed","resume":"resumed","cursor":"5f3a9c1e-\#(after)"}"#
        let welcome = #"{"control":"welcome","epoch":"5f3a9c1e","cursor":"5f3a9c1e-\#(after)","heartbeat_ms":25000}"#
        try await peer.upgrade(request, with: [welcome, resumed].map(ScriptedPeer.text))
        for sequence in (after + 1)... {
            try await peer.send(frame: ScriptedPeer.text(eventJSON(sequence)))
            try await pace(.webSocket)
        }
    }

    private func serveEventStream(_ peer: ScriptedPeer, _ after: Int) async throws {
        try await peer.beginEventStream()
        try await peer.send("retry: 1\n\nevent: herald.resumed\ndata: {\"resume\":\"resumed\"}\n\n")
        for sequence in (after + 1)... {
            try await peer.send(eventBlock(sequence))
            try await pace(.serverSentEvents)
        }
    }

    private func servePoll(_ peer: ScriptedPeer, _ after: Int) async throws {
        try await Task.sleep(for: .milliseconds(2))
        try await peer.answer(
            "200 OK",
            #"{"events":[\#(eventJSON(after + 1))],"next":"5f3a9c1e-\#(after + 1)","gap":null,"resume":"resumed"}"#
        )
    }

    /// Between two events of a stream; ends the stream once the way is closed.
    private func pace(_ kind: TransportKind) async throws {
        try await Task.sleep(for: .milliseconds(2))
        switch way(kind) {
        case .open: return
        case .buffered: while way(kind) == .buffered { try await Task.sleep(for: .milliseconds(5)) }
        case .refused, .cut: throw ScriptedPeer.Ended()
        }
    }
}

/// Reads events, none of which may be missing or come twice, until a connection is over the transport.
private func read(
    _ iterator: inout Deliveries.Iterator, last: inout Int, until kind: TransportKind, _ seen: inout [String]
) async throws {
    while let delivery = try await iterator.next() {
        switch delivery {
        case .event(let event):
            #expect(Int(event.id.sequence) == last + 1)
            last = Int(event.id.sequence)
        case .state(let state):
            if case .waiting = state {} else { seen.append("\(state)".prefix { $0 != "," }.description) }
            if state == .connected(over: kind) { return }
        case .gap, .reset: Issue.record("\(delivery)")
        case .resumed: continue
        }
    }
    Issue.record("the subscription has ended")
}

@Suite(.timeLimit(.minutes(1))) struct AutomaticTests {
    private func configuration(_ change: (inout ClientConfiguration) -> Void = { _ in }) -> ClientConfiguration {
        impatient {
            // Nobody is taken for a proxy that holds bytes back for being slow.
            $0.fallback.proofTimeout = .seconds(60)
            $0.fallback.climbDelay = .seconds(600)
            $0.fallback.shortPollInterval = .milliseconds(5)
            change(&$0)
        }
    }

    private func run(
        _ ways: [TransportKind: Network.Way], _ change: (inout ClientConfiguration) -> Void = { _ in },
        _ body: (Network, inout Deliveries.Iterator) async throws -> Void
    ) async throws {
        let network = Network()
        for (kind, way) in ways { network.set(kind, way) }
        let configuration = configuration(change)
        try await ScriptedServer.run { _, peer in
            try await network.serve(peer)
        } _: { server in
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let start = Cursor(epoch: 0x5f3a9c1e, sequence: 0)
                var iterator = client.subscribe("orders/*", after: start).deliveries.makeAsyncIterator()
                try await body(network, &iterator)
                await iterator.close()
            }
        }
    }

    @Test func `a WebSocket is taken where it gets through`() async throws {
        try await run([:]) { _, iterator in
            let seen = try await read(&iterator, events: 2)
            #expect(seen == ["connected", "resumed 0", "1", "2"])
        }
    }

    @Test(arguments: [Network.Way.refused, .cut])
    fileprivate func `what is in the way of a transport makes the next one be taken`(way: Network.Way) async throws {
        for (closed, kind) in [
            ([TransportKind.webSocket], TransportKind.serverSentEvents),
            ([.webSocket, .serverSentEvents], .longPoll),
        ] {
            try await run(Dictionary(uniqueKeysWithValues: closed.map { ($0, way) })) { _, iterator in
                var (last, seen) = (0, [String]())
                try await read(&iterator, last: &last, until: kind, &seen)
                #expect(seen.last == "\(ConnectionState.connected(over: kind))")
                #expect(seen.filter { $0.hasPrefix("changing") }.count == closed.count)
            }
        }
    }

    @Test func `a transport that is accepted and held back is found out`() async throws {
        try await run([.webSocket: .buffered, .serverSentEvents: .buffered]) {
            // Whatever is too slow for this is climbed to later.
            $0.fallback.proofTimeout = .seconds(1)
            $0.fallback.climbDelay = .milliseconds(100)
        } _: { _, iterator in
            var (last, seen) = (0, [String]())
            try await read(&iterator, last: &last, until: .longPoll, &seen)
            let events = try await read(&iterator, events: 3).compactMap { Int($0) }
            #expect(events == [last + 1, last + 2, last + 3])
        }
    }

    @Test func `held requests that are never answered make it poll`() async throws {
        let ways: [TransportKind: Network.Way] = [.webSocket: .refused, .serverSentEvents: .refused, .longPoll: .cut]
        try await run(ways) { _, iterator in
            var (last, seen) = (0, [String]())
            // The long-poll's first request is not held, and gets through.
            try await read(&iterator, last: &last, until: .longPoll, &seen)
            try await read(&iterator, last: &last, until: .shortPoll, &seen)
            let events = try await read(&iterator, events: 3).compactMap { Int($0) }
            #expect(events == [last + 1, last + 2, last + 3])
        }
    }

    @Test func `a transport that is closed later is left, and taken again once it is open`() async throws {
        try await run([:]) {
            $0.fallback.proofTimeout = .seconds(1)
            $0.fallback.climbDelay = .milliseconds(100)
            $0.silenceMax = .seconds(1)
        } _: { network, iterator in
            var (last, seen) = (0, [String]())
            try await read(&iterator, last: &last, until: .webSocket, &seen)
            network.set(.webSocket, .cut)
            try await read(&iterator, last: &last, until: .serverSentEvents, &seen)
            network.set(.serverSentEvents, .buffered)
            try await read(&iterator, last: &last, until: .longPoll, &seen)
            network.set(.webSocket, .open)
            try await read(&iterator, last: &last, until: .webSocket, &seen)
        }
    }

    @Test func `a candidate that would begin with a gap is not taken`() async throws {
        let candidates = Mutex(0)
        try await ScriptedServer.run { _, peer in
            while true {
                let request = try await peer.request()
                if request.isUpgrade,
                    candidates.withLock({
                        $0 += 1; return $0
                    }) > 1
                {
                    let gap =
                        #""topic":"a","from":"5f3a9c1e-1","to":"5f3a9c1e-9","reason":"evicted","cursor":"5f3a9c1e-9""#
                    let welcome = #"{"control":"welcome","epoch":"5f3a9c1e","cursor":"5f3a9c1e-9","heartbeat_ms":9000}"#
                    let frames = [welcome, #"{"control":"gap","resume":"gap",\#(gap)}"#]
                    try await peer.upgrade(request, with: frames.map(ScriptedPeer.text))
                    return try await peer.untilClosed()
                }
                if request.isUpgrade { return }
                try await peer.beginEventStream()
                for sequence in 1... {
                    try await peer.send(eventBlock(sequence))
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
        } _: { server in
            let configuration = configuration { $0.fallback.climbDelay = .milliseconds(20) }
            try await HeraldClient.withClient(url: server.url, configuration: configuration) { client in
                let start = Cursor(epoch: 0x5f3a9c1e, sequence: 0)
                var iterator = client.subscribe("a", after: start).deliveries.makeAsyncIterator()
                var seen: [String] = []
                while candidates.withLock({ $0 }) < 4 { seen += try await read(&iterator, events: 1) }
                #expect(seen.filter { Int($0) == nil } == ["changing to Server-Sent Events", "connected"])
                await iterator.close()
            }
        }
    }
}
