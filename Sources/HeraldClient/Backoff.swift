/// How a subscription tries again after a cut or a refusal.
public struct RetryPolicy: Sendable, Equatable {
    /// The upper bound of the first delay; it doubles with each attempt in a row.
    public var baseDelay: Duration = .milliseconds(250)

    /// The upper bound that no delay's random part exceeds.
    public var delayMax: Duration = .seconds(30)

    /// The longest time that the server may make this client wait, by `Retry-After` or the `retry:` of a stream.
    public var serverDelayMax: Duration = .seconds(300)

    /// How many attempts in a row may fail before the subscription ends with an error; `nil` never gives up.
    public var attemptsMax: Int?

    /// Makes the default policy, which never gives up.
    public init() {}
}

/// The delays between attempts: exponential, with full jitter.
///
/// Full jitter (uniform between nothing and the bound) spreads the return of all clients of a restarted server more
/// evenly than a fixed delay with a little noise on it. What the server asks for is a floor beneath the random part,
/// never a replacement of it: clients that were all told the same `Retry-After` must not come back in one instant.
struct Backoff {
    private let policy: RetryPolicy
    private(set) var attempts = 0

    init(_ policy: RetryPolicy) { self.policy = policy }

    /// Begins anew, after an attempt that succeeded.
    mutating func reset() { attempts = 0 }

    /// Gives the delay before the next attempt, or `nil` to give up. The chance lies between 0 and 1.
    mutating func next(atLeast floor: Duration, chance: Double) -> Duration? {
        if let most = policy.attemptsMax, attempts >= most { return nil }
        let bound = Self.bound(policy, attempts)
        attempts += 1
        return min(max(floor, .zero), policy.serverDelayMax) + bound * chance
    }

    /// The upper bound of the random part of the delay after this many attempts.
    static func bound(_ policy: RetryPolicy, _ attempts: Int) -> Duration {
        var bound = policy.baseDelay
        for _ in 0..<min(attempts, 62) where bound < policy.delayMax { bound = bound * 2 }
        return min(bound, policy.delayMax)
    }
}
