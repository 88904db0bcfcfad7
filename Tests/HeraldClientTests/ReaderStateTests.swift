import Testing

@testable import HeraldClient

@Suite struct CursorTests {
    @Test func `a cursor is written as it is read`() {
        #expect(Cursor("0000002a-18446744073709551615")?.description == "0000002a-18446744073709551615")
        #expect(Position("earliest") == .earliest)
        #expect(Position("latest") == .latest)
        #expect(Position("5f3a9c1e-42") == .after(Cursor(epoch: 0x5f3a9c1e, sequence: 42)))
    }

    @Test(arguments: [
        "", "5f3a9c1e", "5f3a9c1e-", "5F3A9C1E-1", "5f3a9c1e-01", "5f3a9c1-1", "5f3a9c1e-1x", "5f3a9c1e--1",
        "5f3a9c1e-18446744073709551616", "5f3a9c1e+1",
    ])
    func `anything else is no cursor`(text: String) { #expect(Cursor(text) == nil) }
}

@Suite struct ReaderStateTests {
    private func event(_ sequence: Int, epoch: String = "5f3a9c1e") throws -> Signal {
        .event(try Event(json: Array(eventJSON(sequence, epoch: epoch).utf8)))
    }

    private func cursor(_ sequence: UInt64, epoch: UInt32 = 0x5f3a9c1e) -> Cursor {
        Cursor(epoch: epoch, sequence: sequence)
    }

    private func seen(_ state: inout ReaderState, _ signals: [Signal]) -> [String] {
        state.take(signals).compactMap { $0.delivery.map(brief) }
    }

    @Test func `repeats are dropped and the cursor stays`() throws {
        var state = ReaderState(position: .earliest)
        let events = try [3, 5, 4, 5, 6].map { try event($0) }
        #expect(seen(&state, events) == ["3", "5", "6"])
        #expect(state.position == .after(cursor(6)))
    }

    @Test func `a heartbeat moves the cursor forward only`() {
        var state = ReaderState(position: .after(cursor(10)))
        #expect(state.take([.moved(cursor(12)), .moved(cursor(11))]).map(\.position) == [.after(cursor(12))])
    }

    @Test func `a gap does not move the cursor, as other topics may still have events inside it`() throws {
        var state = ReaderState(position: .after(cursor(10)))
        let gap = Gap(topic: "**", from: cursor(11), to: cursor(100), reason: .evicted)
        #expect(seen(&state, [.gap(gap), try event(50)]) == ["gap 11-100 evicted", "50"])
    }

    @Test func `events of another epoch are no repeats`() throws {
        var state = ReaderState(position: .after(cursor(1000)))
        let gap = Gap(topic: "**", from: cursor(1000), to: cursor(1000), reason: .epoch)
        #expect(seen(&state, [.reset(gap), try event(1, epoch: "00000001")]) == ["reset epoch", "1"])
        #expect(state.position == .after(cursor(1, epoch: 1)))
    }

    @Test func `a named start counts only for a subscription to the latest events`() {
        var latest = ReaderState(position: .latest)
        _ = latest.take([.started(cursor(7))])
        #expect(latest.position == .after(cursor(7)))
        var earliest = ReaderState(position: .earliest)
        _ = earliest.take([.started(cursor(7))])
        #expect(earliest.position == .earliest)
    }

    @Test func `the resume of a pinned start is no news, the next one is`() {
        var state = ReaderState(position: .latest)
        #expect(seen(&state, [.pinned(cursor(7)), .connection(.connected(over: .ndjson)), .resumed]) == ["connected"])
        #expect(seen(&state, [.connection(.connected(over: .ndjson)), .resumed]) == ["connected", "resumed 7"])
    }
}

@Suite struct ServerMessageTests {
    private func message(_ text: String) throws -> ServerMessage { try ServerMessage(json: Array(text.utf8)) }
    private let one = Cursor(epoch: 0x5f3a9c1e, sequence: 1)
    private let nine = Cursor(epoch: 0x5f3a9c1e, sequence: 9)

    @Test func `the outcome of a resume is read, with and without its control member`() throws {
        let missing = #""topic":"a/**","from":"5f3a9c1e-1","to":"5f3a9c1e-9","cursor":"5f3a9c1e-9""#
        let gap = Gap(topic: "a/**", from: one, to: nine, reason: .evicted)
        let reset = Gap(topic: "a/**", from: one, to: nine, reason: .epoch)
        #expect(try message(#"{"resume":"resumed","cursor":"5f3a9c1e-9"}"#) == .resumed(nine))
        #expect(try message(#"{"resume":"gap",\#(missing),"reason":"evicted"}"#) == .gap(gap))
        #expect(try message(#"{\#(missing),"reason":"evicted"}"#) == .gap(gap))
        #expect(try message(#"{"control":"gap","resume":"gap",\#(missing),"reason":"evicted"}"#) == .gap(gap))
        #expect(try message(#"{"control":"reset","resume":"reset",\#(missing),"reason":"epoch"}"#) == .reset(reset))
    }

    @Test func `a welcome and a heartbeat carry cursors`() throws {
        let welcome = #"{"control":"welcome","epoch":"5f3a9c1e","cursor":"5f3a9c1e-9","heartbeat_ms":25000}"#
        #expect(try message(welcome) == .welcome(cursor: nine, heartbeat: .seconds(25)))
        #expect(try message(#"{"control":"heartbeat","cursor":"5f3a9c1e-9"}"#) == .heartbeat(nine))
        let end = #"{"control":"end","cursor":"5f3a9c1e-9","retry_ms":2500}"#
        #expect(try message(end) == .end(cursor: nine, retry: .milliseconds(2500)))
        #expect(try message(#"{"control":"later","ref":3}"#) == .notice("later"))
    }

    @Test func `the end of a right is told with and without a control member`() throws {
        let expiring = #""expires_in":60,"renew":"/v1/renewals/9a6855ea573ddc70c39bde07629c5250""#
        let expiry = Expiry(remaining: .seconds(60), renewal: "/v1/renewals/9a6855ea573ddc70c39bde07629c5250")
        #expect(try message("{\(expiring)}") == .expiring(expiry))
        #expect(try message(#"{"control":"expiring",\#(expiring)}"#) == .expiring(expiry))
        let end =
            #""type":"/problems/expired-token","title":"The token has expired","status":401,"cursor":"5f3a9c1e-9""#
        let problem = Problem(type: "/problems/expired-token", title: "The token has expired", status: 401)
        #expect(try message("{\(end)}") == .denied(problem))
        #expect(try message(#"{"control":"end",\#(end)}"#) == .denied(problem))
    }

    @Test(arguments: [
        "//evil.example/x?", "@evil.example/", "http://evil.example/", "", "v1/renewals/1", "/a b", "/\\r",
    ])
    func `a token is sent to no address that is not a path`(path: String) throws {
        let told = try message(#"{"control":"expiring","expires_in":60,"renew":"\#(path)"}"#)
        #expect(told == .expiring(Expiry(remaining: .seconds(60), renewal: nil)))
    }

    @Test func `an error that answers an operation is no end of the stream`() throws {
        let error = #""type":"/problems/forbidden","title":"No","status":403"#
        #expect(try message(#"{"control":"error","ref":"renew",\#(error)}"#) == .notice("error"))
        #expect(
            try message(#"{"control":"error",\#(error)}"#)
                == .problem(Problem(type: "/problems/forbidden", title: "No", status: 403)))
    }

    @Test func `a publisher cannot forge a gap by its event's type or data`() throws {
        let text = #"{"id":"5f3a9c1e-1","topic":"t","type":"herald.gap","data":{"resume":"gap"}}"#
        guard case .event(let event) = try message(text) else {
            Issue.record("not read as an event")
            return
        }
        #expect(event.type == "herald.gap")
    }

    @Test func `a poll answer is read, resets included`() throws {
        let text = """
            {"events":[\(eventJSON(3)),\(eventJSON(4))],"next":"5f3a9c1e-9","resume":"reset",\
            "gap":{"topic":"**","from":"5f3a9c1e-1","to":"5f3a9c1e-9","reason":"epoch"}}
            """
        let answer = try PollAnswer(json: Array(text.utf8))
        #expect(answer.events.map(\.id.sequence) == [3, 4])
        #expect(answer.next == nine)
        #expect(answer.outcome == .reset(Gap(topic: "**", from: one, to: nine, reason: .epoch)))
        let none = #"{"events":[],"next":"5f3a9c1e-9","gap":null,"resume":"resumed"}"#
        let quiet = try PollAnswer(json: Array(none.utf8))
        #expect(quiet.outcome == .resumed(nil))
    }
}
