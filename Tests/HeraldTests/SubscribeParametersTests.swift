import HeraldCore
import Testing

@testable import Herald

@Suite struct SubscribeParametersTests {
    private static let limits = Service.Limits(batch: 10, waitSeconds: 300, filters: 3)

    private func subscription(_ change: (inout SubscribeInput) throws -> Void) throws -> Subscription {
        var input = SubscribeInput(hasPathFilter: true)
        try change(&input)
        return try SubscribeParameters(limits: Self.limits).subscription(input)
    }

    private func problem(_ change: (inout SubscribeInput) throws -> Void) -> Problem? {
        do {
            _ = try subscription(change)
            return nil
        } catch {
            return error as? Problem
        }
    }

    // MARK: Transport

    @Test func `without more it is a short-poll from the earliest event`() throws {
        let asked = try subscription { _ in }
        #expect(asked.transport == .shortPoll)
        #expect(asked.position == .earliest)
        #expect(asked.filters.isEmpty)
        #expect(asked.limit == 100)
    }

    @Test(arguments: [
        ("text/event-stream", true), ("text/html, Text/Event-Stream;q=0.5", true), ("*/*", false),
        ("application/json", false), ("text/event-stream;q=0", false), ("text/event-stream;q=0.0", false),
        ("text/event-streams", false), ("", false),
    ])
    func `an event stream must be named by Accept`(accept: String, isStream: Bool) throws {
        let asked = try subscription { $0.accept = accept }
        #expect(asked.transport == (isStream ? .serverSentEvents : .shortPoll))
        #expect(asked.position == (isStream ? .latest : .earliest))
    }

    @Test(arguments: [
        ("application/x-ndjson", Transport.ndjson), ("Application/X-NDJSON; charset=utf-8", .ndjson),
        ("application/x-ndjson, text/event-stream", .ndjson),
        ("text/event-stream, application/x-ndjson", .serverSentEvents),
        ("text/event-stream;q=0.5, application/x-ndjson;q=0.8", .ndjson),
        ("text/event-stream;q=0.5, application/x-ndjson ; q=0", .serverSentEvents),
        ("application/x-ndjson;q=0", .shortPoll), ("application/ndjson-x, */*;q=0.1", .shortPoll),
    ])
    func `of the streams that Accept names, that of the highest weight is taken`(
        accept: String, transport: Transport
    ) throws {
        let asked = try subscription { $0.accept = accept }
        #expect(asked.transport == transport)
        #expect(asked.position == (transport == .shortPoll ? .earliest : .latest))
    }

    @Test func `NDJSON has no raw format, and the refusal says so`() {
        let refused = problem {
            $0.accept = "application/x-ndjson"
            try $0.ask([QueryPair("format", "raw")])
        }
        #expect(refused?.kind == .badParameter)
        #expect(refused?.detail.contains("NDJSON") == true)
    }

    @Test func `a handshake wins over Accept, and HEAD over both`() throws {
        #expect(
            try subscription {
                $0.wantsWebSocket = true
                $0.accept = "text/event-stream"
            }.transport == .webSocket)
        #expect(
            try subscription {
                $0.isHead = true
                $0.accept = "text/event-stream"
            }.transport == .shortPoll)
    }

    @Test func `a wait makes a long-poll, and none does not`() throws {
        let held = try subscription { try $0.ask([QueryPair("wait", "300")]) }
        #expect(held.transport == .longPoll)
        #expect(held.waitMilliseconds == 300_000)
        #expect(try subscription { try $0.ask([QueryPair("wait", "0")]) }.transport == .shortPoll)
    }

    @Test(arguments: [
        ("wait=20", 20), ("respond-async, wait=20", 20), ("wait = \"20\"; x=1", 20), ("Wait=86400", 300),
        ("wait=x", 0), ("wait", 0), ("waits=5", 0), ("", 0),
    ])
    func `a preference is cut to the bound or passed over`(prefer: String, seconds: UInt32) throws {
        #expect(try subscription { $0.prefer = prefer }.waitMilliseconds == seconds * 1000)
    }

    @Test func `a parameter wins over a preference`() throws {
        let asked = try subscription {
            $0.prefer = "wait=20"
            try $0.ask([QueryPair("wait", "0")])
        }
        #expect(asked.transport == .shortPoll)
    }

    // MARK: Cursor

    @Test func `the header wins over the parameter`() throws {
        let query = [QueryPair("after", "earliest")]
        let both = try subscription {
            $0.lastEventID = .after(Cursor(epoch: 1, sequence: 2))
            try $0.ask(query)
        }
        #expect(both.position == .after(Cursor(epoch: 1, sequence: 2)))
        let one = try subscription {
            $0.lastEventID = nil
            try $0.ask(query)
        }
        #expect(one.position == .earliest)
    }

    @Test func `a cursor that is none is named with its place`() {
        #expect(problem { try $0.ask([QueryPair("after", "")]) }?.kind == .badCursor)
        do throws(Problem) {
            _ = try SubscribeParameters.position(Bytes("x"), named: "Last-Event-ID")
            Issue.record("x is no cursor")
        } catch {
            #expect(error.kind == .badCursor)
            #expect(error.detail.contains("Last-Event-ID"))
        }
    }

    // MARK: Filters

    @Test func `filters of the query come without repeats`() throws {
        let asked = try subscription {
            try $0.ask([QueryPair("topic", "b/*"), QueryPair("topic", "c"), QueryPair("topic", "b/*")])
        }
        #expect(asked.filters.map(\.text) == ["b/*", "c"])
    }

    @Test func `one filter past the bound is too many`() {
        let found = problem { try $0.ask(["b", "c", "d"].map { QueryPair("topic", $0) }) }
        #expect(found?.kind == .tooManyFilters)
        #expect(found?.limit == 3)
    }

    @Test func `only a WebSocket may begin without a filter`() throws {
        #expect(problem { $0.hasPathFilter = false }?.kind == .badFilter)
        let socket = try subscription {
            $0.hasPathFilter = false
            $0.wantsWebSocket = true
        }
        #expect(socket.filters.isEmpty)
        #expect(problem { try $0.ask([QueryPair("topic", "")]) }?.kind == .badFilter)
    }

    // MARK: Parameters

    @Test(arguments: [
        [QueryPair("colour", "red")], [QueryPair("Wait", "1")], [QueryPair("", "1")],
        [QueryPair("wait", "1"), QueryPair("wait", "2")], [QueryPair("wait", "301")], [QueryPair("wait", "-1")],
        [QueryPair("wait", "1.5")], [QueryPair("wait", "")], [QueryPair("max", "0")], [QueryPair("max", "1001")],
        [QueryPair("max", "99999999999999999999")], [QueryPair("format", "xml")], [QueryPair("format", "raw")],
    ])
    func `a parameter that cannot be used is named`(query: [QueryPair]) {
        let found = problem { try $0.ask(query) }
        #expect(found?.kind == .badParameter)
        #expect(found?.detail.contains(query[0].name.isEmpty ? "\"\"" : query[0].name) == true)
    }

    @Test func `raw is for streams, wait and max are for polls`() throws {
        let stream = "text/event-stream"
        #expect(
            try subscription {
                $0.accept = stream
                try $0.ask([QueryPair("format", "raw")])
            }.isRaw)
        for name in ["wait", "max"] {
            let found = problem {
                $0.accept = stream
                try $0.ask([QueryPair(name, "5")])
            }
            #expect(found?.kind == .badParameter)
        }
    }

    @Test func `a token in the query is passed over`() throws {
        #expect(try subscription { try $0.ask([QueryPair("access_token", "x")]) }.transport == .shortPoll)
    }

    @Test func `max bounds a poll's answer`() throws {
        #expect(try subscription { try $0.ask([QueryPair("max", "1000")]) }.limit == 1000)
    }
}

extension SubscribeInput {
    /// Takes the pairs of a query.
    fileprivate mutating func ask(_ pairs: [QueryPair]) throws(Problem) {
        for pair in pairs {
            try pair.name.withBytes { name throws(Problem) in
                try pair.value.withBytes { value throws(Problem) in try query.take(name, value, longest: 300) }
            }
        }
    }
}
