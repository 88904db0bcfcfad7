import HeraldCore
import Testing

@testable import Herald

/// A clock that goes when it is told to.
private struct Hand {
    let start = ContinuousClock.now
    var now: ContinuousClock.Instant

    init() { now = start }

    mutating func go(_ duration: Duration) { now += duration }
}

private let alice = PublisherKey.subject("alice")
private let bob = PublisherKey.subject("bob")

@Suite struct PublishRatesTests {
    @Test func `a rate of nothing is no bound`() {
        #expect(PublishRates(rate: 0, burst: nil) == nil)
        #expect(PublishRates(rate: 0, burst: 5) == nil)
    }

    @Test(arguments: [1, 3, 7, 1000, 999_983])
    func `a second's worth may come at once, and one more when there is room`(rate: Int) throws {
        var hand = Hand()
        let rates = try #require(PublishRates(rate: rate, burst: nil, start: hand.start))
        for _ in 0..<min(rate, 1000) - 1 { #expect(rates.take(1, of: alice, at: hand.now) == .granted) }
        if rate > 1000 { #expect(rates.take(rate - 1000, of: alice, at: hand.now) == .granted) }
        #expect(rates.take(1, of: alice, at: hand.now) == .granted)
        guard case .later(let wait) = rates.take(1, of: alice, at: hand.now) else {
            Issue.record("one too many was granted")
            return
        }
        #expect(wait > .zero && wait <= .seconds(1))
        #expect(rates.take(1, of: bob, at: hand.now) == .granted)
        hand.go(wait - .nanoseconds(1))
        #expect(rates.take(1, of: alice, at: hand.now) == .later(.nanoseconds(1)))
        hand.go(.nanoseconds(1))
        #expect(rates.take(1, of: alice, at: hand.now) == .granted)
        #expect(rates.take(1, of: alice, at: hand.now) != .granted)
    }

    @Test func `a burst of its own bounds what comes at once`() throws {
        var hand = Hand()
        let rates = try #require(PublishRates(rate: 10, burst: 25, start: hand.start))
        #expect(rates.take(25, of: alice, at: hand.now) == .granted)
        #expect(rates.take(26, of: bob, at: hand.now) == .never)
        hand.go(.seconds(1))
        #expect(rates.take(11, of: alice, at: hand.now) == .later(.milliseconds(100)))
        #expect(rates.take(10, of: alice, at: hand.now) == .granted)
        hand.go(.seconds(100))
        #expect(rates.take(25, of: alice, at: hand.now) == .granted)
        #expect(rates.take(1, of: alice, at: hand.now) == .later(.milliseconds(100)))
    }

    @Test func `a batch comes whole or not at all`() throws {
        let hand = Hand()
        let rates = try #require(PublishRates(rate: 10, burst: nil, start: hand.start))
        #expect(rates.take(6, of: alice, at: hand.now) == .granted)
        #expect(rates.take(5, of: alice, at: hand.now) == .later(.milliseconds(100)))
        #expect(rates.take(4, of: alice, at: hand.now) == .granted)
    }

    @Test func `over a long time a publisher gets its rate and no more`() throws {
        var hand = Hand()
        let rates = try #require(PublishRates(rate: 50, burst: nil, start: hand.start))
        var granted = 0
        for _ in 0..<10_000 {
            hand.go(.milliseconds(1))
            if rates.take(1, of: alice, at: hand.now) == .granted { granted += 1 }
        }
        #expect((50 + 499...50 + 501).contains(granted))
    }

    @Test func `who is quiet is forgotten, and what was used is not before it is full`() throws {
        var hand = Hand()
        let rates = try #require(PublishRates(rate: 10, burst: nil, start: hand.start))
        for index in 0..<1000 { #expect(rates.take(1, of: .subject("\(index)"), at: hand.now) == .granted) }
        #expect(rates.count == 1000)
        #expect(rates.take(10, of: alice, at: hand.now) == .granted)
        for _ in 0..<9 {
            hand.go(.milliseconds(100))
            for index in 0..<50 { _ = rates.take(1, of: .subject("other \(index)"), at: hand.now) }
            #expect(rates.take(2, of: alice, at: hand.now) != .granted)
            #expect(rates.take(1, of: alice, at: hand.now) == .granted)
        }
        for round in 0..<3 {
            hand.go(.seconds(3))
            for index in 0..<200 { _ = rates.take(1, of: .subject("\(round) \(index)"), at: hand.now) }
        }
        #expect(rates.count <= 400)
    }

    @Test(arguments: [2, 100, 4096])
    func `the number of publishers is bounded`(limit: Int) throws {
        let hand = Hand()
        let rates = try #require(PublishRates(rate: 1, burst: nil, limit: limit, start: hand.start))
        for index in 0..<limit * 10 { #expect(rates.take(1, of: .subject("\(index)"), at: hand.now) == .granted) }
        #expect(rates.count <= limit)
        // Whoever came last is still known.
        #expect(rates.take(1, of: .subject("\(limit * 10 - 1)"), at: hand.now) != .granted)
    }

    @Test func `the publisher is told when to come back`() throws {
        let hand = Hand()
        let rates = try #require(PublishRates(rate: 1, burst: 10, start: hand.start))
        try rates.admit(10, of: alice, at: hand.now)
        let problem = #expect(throws: Problem.self) { try rates.admit(3, of: alice, at: hand.now) }
        #expect(problem?.kind == .rateLimited && problem?.status == 429 && problem?.retryAfter == 3)
        let later = #expect(throws: Problem.self) {
            try rates.admit(3, of: alice, at: hand.now + .milliseconds(1500))
        }
        #expect(later?.retryAfter == 2)
        let never = #expect(throws: Problem.self) { try rates.admit(11, of: bob, at: hand.now) }
        #expect(never?.kind == .bodyTooLarge && never?.limit == 10 && never?.retryAfter == nil)
    }

    @Test func `an address is a publisher`() throws {
        let hand = Hand()
        let rates = try #require(PublishRates(rate: 1, burst: nil, start: hand.start))
        let one = try #require(IPAddress("2001:db8::1")), two = try #require(IPAddress("2001:db8::2"))
        #expect(rates.take(1, of: .address(one.counted), at: hand.now) == .granted)
        #expect(rates.take(1, of: .address(two.counted), at: hand.now) != .granted)
        #expect(rates.take(1, of: .address(IPAddress("192.0.2.1")), at: hand.now) == .granted)
        #expect(rates.take(1, of: .address(nil), at: hand.now) == .granted)
    }
}
