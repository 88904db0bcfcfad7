import Testing

@testable import HeraldClient

@Suite struct BackoffTests {
    private var policy: RetryPolicy {
        var policy = RetryPolicy()
        policy.baseDelay = .milliseconds(250)
        policy.delayMax = .seconds(30)
        return policy
    }

    @Test func `the bound doubles up to its maximum`() {
        let bounds = (0..<9).map { Backoff.bound(policy, $0) }
        #expect(bounds.prefix(4) == [.milliseconds(250), .milliseconds(500), .seconds(1), .seconds(2)])
        #expect(bounds.suffix(2) == [.seconds(30), .seconds(30)])
        #expect(Backoff.bound(policy, .max) == .seconds(30))
    }

    @Test(arguments: [(0, Duration.zero), (0.5, .milliseconds(125)), (1, .milliseconds(250))])
    func `a delay lies anywhere between nothing and the bound`(chance: Double, delay: Duration) {
        var backoff = Backoff(policy)
        let first = backoff.next(atLeast: .zero, chance: chance)
        #expect(first == delay)
    }

    @Test func `what the server asks for is a floor beneath the jitter, up to a maximum`() {
        var backoff = Backoff(policy)
        let asked = backoff.next(atLeast: .seconds(7), chance: 0)
        #expect(asked == .seconds(7))
        let tooLong = backoff.next(atLeast: .seconds(86_400), chance: 0)
        #expect(tooLong == .seconds(300))
        let negative = backoff.next(atLeast: .seconds(-5), chance: 0)
        #expect(negative == .zero)
    }

    @Test func `it gives up after as many attempts as it may make in a row`() {
        var limited = policy
        limited.attemptsMax = 2
        var backoff = Backoff(limited)
        let delays = (0..<3).map { _ in backoff.next(atLeast: .zero, chance: 0) }
        #expect(delays == [.zero, .zero, nil])
        backoff.reset()
        let again = backoff.next(atLeast: .zero, chance: 0)
        #expect(again == .zero)
    }
}
