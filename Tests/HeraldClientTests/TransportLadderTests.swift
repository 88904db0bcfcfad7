import Testing

@testable import HeraldClient

/// A ladder whose clock and chance are the test's own.
private struct Driven {
    private(set) var ladder: TransportLadder
    private var now = ContinuousClock.now
    private(set) var actions: [TransportLadder.Action] = []

    init(
        _ rungs: [TransportKind] = [.webSocket, .serverSentEvents, .longPoll, .shortPoll],
        canRefreshToken: Bool = false,
        _ change: (inout ClientConfiguration) -> Void = { _ in }
    ) {
        var configuration = ClientConfiguration()
        configuration.retry.baseDelay = .seconds(1)
        change(&configuration)
        ladder = TransportLadder(rungs, configuration, canRefreshToken: canRefreshToken)
    }

    mutating func take(_ event: TransportLadder.Event, after time: Duration = .zero) -> [String] {
        now = now + time
        actions = ladder.take(event, at: now, chance: 1)
        return actions.map(Self.brief).filter { !$0.hasPrefix("stop") }
    }

    mutating func fail(_ lane: Int, _ error: HeraldError, hadProgress: Bool = false) -> [String] {
        take(.ended(lane: lane, .failed(.init(error: error, hadProgress: hadProgress))))
    }

    /// Opens, and proves the lane.
    mutating func connect(_ lane: Int) {
        _ = take(.dialing(lane: lane))
        _ = take(.proven(lane: lane))
    }

    private static func brief(_ action: TransportLadder.Action) -> String {
        switch action {
        case .open(let opening):
            let role = opening.isCandidate ? "candidate" : "lane"
            let delay = opening.delay == .zero ? "" : " after \(opening.delay.inSeconds) s"
            return "\(role) \(opening.lane) on \(opening.rung)\(delay)"
        case .promote(let lane): return "promote \(lane)"
        case .abandon(let lane): return "abandon \(lane)"
        case .start(.proof(let lane), let time): return "proof of \(lane) within \(time.inSeconds) s"
        case .start(.climb, let time): return "climb in \(time.inSeconds) s"
        case .stop: return "stop"
        case .finish(let error): return "finish\(error.map { ": \($0)" } ?? "")"
        }
    }
}

private let cut = HeraldError.cut("It was cut")
private let unreachable = HeraldError.unreachable("nowhere")

private func answered(
    _ status: Int, _ slug: String? = nil, after delay: Duration? = nil
) -> HeraldError {
    var problem = Problem(type: slug.map { "/problems/\($0)" } ?? "about:blank", title: "No", status: status)
    problem.retryAfter = delay
    return .problem(problem)
}

@Suite struct TransportLadderTests {
    @Test func `the best transport comes first, and has a time to prove itself`() {
        var driven = Driven()
        #expect(driven.take(.began) == ["lane 1 on 0"])
        #expect(driven.take(.dialing(lane: 1)) == ["proof of 1 within 5 s"])
        #expect(driven.take(.proven(lane: 1)) == [])
        #expect(driven.actions == [.stop(.proof(lane: 1))])
        #expect(driven.take(.elapsed(.proof(lane: 1))) == [], "the proof came")
    }

    @Test(arguments: [
        cut, answered(400), answered(403), answered(200), answered(502), answered(400, "bad-handshake"),
        .malformed("html"), .closed(code: 1002, reason: ""),
    ])
    func `a transport that is refused or cut before it has ever worked is left at once`(error: HeraldError) {
        var driven = Driven()
        _ = driven.take(.began)
        _ = driven.take(.dialing(lane: 1))
        #expect(driven.fail(1, error) == ["lane 2 on 1"])
        guard case .open(let opening)? = driven.actions.last else {
            Issue.record("nothing is opened")
            return
        }
        #expect(opening.telling == .changing(to: .serverSentEvents, reason: error.description))
    }

    @Test func `a transport that holds its bytes back is left when its time is over`() {
        var driven = Driven()
        _ = driven.take(.began)
        _ = driven.take(.dialing(lane: 1))
        #expect(driven.take(.elapsed(.proof(lane: 1)), after: .seconds(5)) == ["abandon 1", "lane 2 on 1"])
        _ = driven.take(.dialing(lane: 2))
        #expect(driven.take(.proven(lane: 1)) == ["abandon 1"], "too late")
        #expect(driven.take(.proven(lane: 2)) == ["climb in 60 s"])
        #expect(driven.fail(1, cut) == [], "what was abandoned may end as it likes")
    }

    @Test func `a transport that worked is tried twice before the next one`() {
        var driven = Driven()
        _ = driven.take(.began)
        driven.connect(1)
        #expect(driven.fail(1, cut, hadProgress: true) == ["lane 2 on 0 after 1 s"], "a cut is no fault of its own")
        #expect(driven.fail(2, cut) == ["lane 3 on 0 after 2 s"])
        #expect(driven.fail(3, cut) == ["lane 4 on 1"])
        driven.connect(4)
        #expect(driven.fail(4, cut, hadProgress: true) == ["lane 5 on 1 after 1 s"], "and that one, too")
        #expect(driven.fail(5, cut) == ["lane 6 on 1 after 2 s"])
        #expect(driven.fail(6, cut) == ["lane 7 on 2"])
    }

    @Test func `a transport that brings nothing after its first bytes does not work`() {
        var driven = Driven()
        _ = driven.take(.began)
        driven.connect(1)
        #expect(driven.fail(1, .silent(.seconds(60))) == ["lane 2 on 0 after 1 s"])
        driven.connect(2)
        #expect(driven.fail(2, .silent(.seconds(60))) == ["lane 3 on 1"])
    }

    @Test func `where nothing can be connected to, the transport stays`() {
        var driven = Driven()
        #expect(driven.take(.began) == ["lane 1 on 0"])
        var delays: [String] = []
        for lane in 1...6 { delays += driven.fail(lane, unreachable) }
        #expect(
            delays == (0..<5).map { "lane \($0 + 2) on 0 after \(1 << $0) s" } + ["lane 7 on 0 after 30 s"])
    }

    @Test func `where no transport gets through, it goes back to the one that worked`() {
        var driven = Driven()
        _ = driven.take(.began)
        _ = driven.fail(1, answered(400))
        driven.connect(2)
        #expect(driven.fail(2, cut, hadProgress: true) == ["lane 3 on 1 after 1 s"])
        #expect(driven.fail(3, cut) == ["lane 4 on 1 after 2 s"])
        #expect(driven.fail(4, cut) == ["lane 5 on 2"])
        #expect(driven.fail(5, cut) == ["lane 6 on 3"])
        #expect(driven.fail(6, cut) == ["lane 7 on 1 after 4 s"], "the network is down, not the transport")
    }

    @Test func `it gives up when every transport is refused for good, and after the attempts that it may make`() {
        var driven = Driven()
        _ = driven.take(.began)
        _ = (1...3).map { driven.fail($0, answered(404)) }
        #expect(driven.fail(4, answered(404)) == ["finish: No."])
        var limited = Driven { $0.retry.attemptsMax = 1 }
        _ = limited.take(.began)
        #expect(limited.fail(1, unreachable) == ["lane 2 on 0 after 1 s"])
        #expect(
            limited.fail(2, unreachable)
                == ["finish: Gave up after 1 attempts. The server cannot be reached: nowhere."])
    }

    @Test(arguments: [
        answered(400, "bad-filter"), answered(403, "forbidden"), .tooLarge(what: "An event", limit: 1),
        answered(404, "not-found"),
    ])
    func `what the server itself refuses is refused over every transport`(error: HeraldError) {
        var driven = Driven(canRefreshToken: true)
        _ = driven.take(.began)
        #expect(driven.fail(1, error) == ["finish: \(error)"])
        #expect(driven.take(.elapsed(.climb)) == [], "nothing comes after the end")
    }

    @Test func `the server's time is waited for on the same transport`() {
        var driven = Driven()
        _ = driven.take(.began)
        func busy(_ lane: Int, _ error: HeraldError) -> [String] {
            driven.take(.ended(lane: lane, .failed(.init(error: error, requestedDelay: .seconds(7)))))
        }
        #expect(busy(1, answered(503, "draining", after: .seconds(7))) == ["lane 2 on 0 after 8 s"])
        #expect(busy(2, answered(429, after: .seconds(7))) == ["lane 3 on 0 after 9 s"])
        #expect(busy(3, .closed(code: 1013, reason: "")) == ["lane 4 on 0 after 11 s"])
    }

    @Test func `progress makes the next delay a short one`() {
        var driven = Driven([.ndjson])
        _ = driven.take(.began)
        #expect(driven.fail(1, cut) == ["lane 2 on 0 after 1 s"])
        #expect(driven.fail(2, cut) == ["lane 3 on 0 after 2 s"])
        driven.connect(3)
        #expect(driven.fail(3, cut) == ["lane 4 on 0 after 4 s"], "a connection alone is none")
        #expect(driven.fail(4, cut, hadProgress: true) == ["lane 5 on 0 after 1 s"])
    }

    @Test func `one given transport has no time to prove itself, and no other`() {
        var driven = Driven([.webSocket])
        #expect(driven.take(.began) == ["lane 1 on 0"])
        #expect(driven.take(.dialing(lane: 1)) == [])
        #expect(driven.take(.proven(lane: 1)) == [])
        #expect(driven.fail(1, cut) == ["lane 2 on 0 after 1 s"])
        #expect(driven.fail(2, answered(400)) == ["finish: No."])
    }

    @Test func `a server that asks not to be called again ends the subscription`() {
        var driven = Driven()
        _ = driven.take(.began)
        #expect(driven.take(.ended(lane: 1, .stopped)) == ["finish"])
    }
}

@Suite struct TransportClimbTests {
    /// A ladder that has fallen to a rung, which runs on the lane of the next number.
    private func fallen(to rung: Int, _ change: (inout ClientConfiguration) -> Void = { _ in }) -> Driven {
        var driven = Driven([.webSocket, .serverSentEvents, .longPoll, .shortPoll], change)
        _ = driven.take(.began)
        for lane in 1...rung { _ = driven.fail(lane, cut) }
        driven.connect(rung + 1)
        return driven
    }

    @Test func `a better transport takes over once it is proven, and only then`() {
        var driven = fallen(to: 1)
        #expect(driven.take(.elapsed(.climb), after: .seconds(60)) == ["candidate 3 on 0"])
        #expect(driven.take(.dialing(lane: 3)) == ["proof of 3 within 5 s"])
        #expect(driven.take(.proven(lane: 3)) == ["promote 3", "abandon 2"])
        #expect(driven.take(.ended(lane: 2, .stopped)) == [])
        #expect(driven.fail(3, cut, hadProgress: true) == ["lane 4 on 0 after 1 s"])
    }

    @Test func `all that is better is tried, the best first, and in vain only so often`() {
        var driven = fallen(to: 3) { $0.fallback.climbDelayMax = .seconds(200) }
        var lane = 4
        for delay in [120, 200, 200] {
            #expect(driven.take(.elapsed(.climb), after: .seconds(200)) == ["candidate \(lane + 1) on 0"])
            #expect(driven.fail(lane + 1, answered(400)) == ["candidate \(lane + 2) on 1"])
            _ = driven.take(.dialing(lane: lane + 2))
            #expect(
                driven.take(.elapsed(.proof(lane: lane + 2)))
                    == ["abandon \(lane + 2)", "candidate \(lane + 3) on 2"])
            #expect(driven.fail(lane + 3, .malformed("x")) == ["climb in \(delay) s"])
            lane += 3
        }
    }

    @Test func `it may take over half way, and climb on from there`() {
        var driven = fallen(to: 2)
        _ = driven.take(.elapsed(.climb), after: .seconds(60))
        #expect(driven.fail(4, cut) == ["candidate 5 on 1"])
        #expect(driven.take(.proven(lane: 5)) == ["promote 5", "abandon 3", "climb in 60 s"])
        #expect(driven.take(.elapsed(.climb), after: .seconds(60)) == ["candidate 6 on 0"])
    }

    @Test func `a candidate that would begin with a gap is let go, and nothing is held against it`() {
        var driven = fallen(to: 1)
        _ = driven.take(.elapsed(.climb), after: .seconds(60))
        #expect(driven.take(.ended(lane: 3, .unfit)) == ["climb in 60 s"])
        _ = driven.take(.elapsed(.climb), after: .seconds(60))
        #expect(driven.fail(4, unreachable) == ["climb in 60 s"])
    }

    @Test func `the time to the next climb is drawn`() {
        var ladder = TransportLadder([.webSocket, .longPoll], ClientConfiguration(), canRefreshToken: false)
        _ = ladder.take(.began, at: .now, chance: 0)
        _ = ladder.take(.ended(lane: 1, .failed(.init(error: cut))), at: .now, chance: 0)
        let actions = ladder.take(.proven(lane: 2), at: .now, chance: 0)
        #expect(actions.last == .start(.climb, after: .seconds(30)))
    }

    @Test func `climbs in vain do not follow each other without a pause`() {
        var driven = fallen(to: 1) {
            $0.fallback.climbDelay = .zero
            $0.fallback.climbDelayMax = .zero
        }
        for lane in 3...5 {
            _ = driven.take(.elapsed(.climb))
            _ = driven.fail(lane, cut)
            #expect(driven.actions.last == .start(.climb, after: .milliseconds(10)))
        }
    }

    @Test func `when the running connection ends the candidate goes with it`() {
        var driven = fallen(to: 1)
        _ = driven.take(.elapsed(.climb), after: .seconds(60))
        #expect(driven.fail(2, cut, hadProgress: true) == ["abandon 3", "lane 4 on 1 after 1 s"])
        #expect(driven.take(.proven(lane: 3)) == ["abandon 3"])
        #expect(driven.take(.ended(lane: 3, .stopped)) == [])
        #expect(driven.take(.elapsed(.climb)) == [], "not while nothing runs")
        driven.connect(4)
        #expect(driven.actions.last == .start(.climb, after: .seconds(60)))
    }

    @Test func `a transport that does not last makes the next climb come later, one that lasted does not`() {
        var driven = fallen(to: 1)
        _ = driven.take(.elapsed(.climb), after: .seconds(60))
        _ = driven.take(.proven(lane: 3))
        // The first cut is of a proven lane without progress, the second of a try: both count.
        for lane in 3...4 { _ = driven.fail(lane, cut) }
        #expect(driven.take(.proven(lane: 5)) == ["climb in 120 s"])
        _ = driven.take(.elapsed(.climb), after: .seconds(120))
        _ = driven.take(.proven(lane: 6))
        _ = driven.take(.dialing(lane: 6), after: .seconds(500))
        for lane in 6...7 { _ = driven.fail(lane, cut) }
        #expect(driven.take(.proven(lane: 8)) == ["climb in 60 s"])
    }
}

@Suite struct TransportLadderTokenTests {
    private let expired = answered(401, "expired-token")

    @Test func `a right that ended is come back for with another token, once`() {
        var driven = Driven([.ndjson], canRefreshToken: true)
        _ = driven.take(.began)
        driven.connect(1)
        #expect(driven.fail(1, expired) == ["lane 2 on 0"])
        driven.connect(2)
        #expect(driven.fail(2, expired) == ["finish: No."], "it got nowhere in between")
    }

    @Test func `a token that is refused at the door is replaced, once`() {
        var driven = Driven(canRefreshToken: true)
        _ = driven.take(.began)
        #expect(driven.fail(1, expired) == ["lane 2 on 0"])
        #expect(driven.fail(2, expired) == ["finish: No."])
    }

    @Test func `progress allows for another time`() {
        var driven = Driven([.ndjson], canRefreshToken: true)
        _ = driven.take(.began)
        for lane in 1...3 {
            driven.connect(lane)
            #expect(driven.fail(lane, expired, hadProgress: true) == ["lane \(lane + 1) on 0"])
        }
    }

    @Test func `without another token the problem is the end`() {
        var driven = Driven([.ndjson])
        _ = driven.take(.began)
        driven.connect(1)
        #expect(driven.fail(1, expired, hadProgress: true) == ["finish: No."])
    }

    @Test func `a token that cannot be had for now is waited for`() {
        var driven = Driven(canRefreshToken: true)
        _ = driven.take(.began)
        #expect(driven.fail(1, .noToken("x")) == ["lane 2 on 0 after 1 s"])
    }
}
