// Which transport a subscription uses, when it connects again, and when it takes another. No I/O and no clock: events
// in, actions out, and time and chance are passed in.
//
// The transports are rungs, the best first; a subscription with one given transport has one rung. A *lane* is one
// connection, or series of polls, on one rung. One lane at a time is the reader's; beside it there may be a
// candidate, which reads nothing until it has proven itself and has been promoted.
//
// Falling. A lane is proven when bytes of the server came through it. One that is not proven in time, or was refused
// or cut before, or brought nothing after, counts against its rung. A rung that never worked is left after one such
// failure, one that worked after `failuresMax` in a row. Where nothing can be connected to, or the server itself asks
// for time, no rung is to blame. `home`, the rung to begin with, changes with a proof only: when the rungs below
// fail, too, the network is down, and the subscription stays where it was.
//
// Climbing. Below the first rung the better ones are tried after a delay, one after the other, beside the lane that
// runs, from the cursor at which that stands. The first to be proven takes over: what it brings once more is not
// ahead of the cursor and is dropped. A candidate that would begin with a gap is no good, as the lane that runs has
// none.

/// The decisions of one subscription about its connections.
struct TransportLadder: Sendable {
    /// What has happened.
    enum Event: Sendable, Equatable {
        case began

        /// The lane connects from now on: its delay is over, and it has its token.
        case dialing(lane: Int)

        /// Bytes of the server came through the lane.
        case proven(lane: Int)

        case ended(lane: Int, Ending)
        case elapsed(Timer)
    }

    /// How a lane ended.
    enum Ending: Sendable, Equatable {
        /// The server asked not to be called again.
        case stopped

        /// A candidate would have begun with a gap or a reset.
        case unfit

        case failed(Failure)
    }

    /// Why a lane failed, and what it had been good for.
    struct Failure: Sendable, Equatable {
        var error: HeraldError

        /// Whether it brought an event or a heartbeat.
        var hadProgress = false

        /// How long the server asked to wait.
        var requestedDelay: Duration = .zero
    }

    /// What time is kept of, each at most once.
    enum Timer: Sendable, Hashable {
        case proof(lane: Int)
        case climb
    }

    /// A lane that is to be opened: what the reader is told first, and how long it waits then.
    struct Opening: Sendable, Equatable {
        var lane: Int
        var rung: Int
        var isCandidate = false
        var telling: ConnectionState?
        var delay: Duration = .zero
    }

    /// What is to be done.
    enum Action: Sendable, Equatable {
        case open(Opening)

        /// The candidate is the reader's lane from now on.
        case promote(lane: Int)

        /// Nothing that the lane brings counts any more.
        case abandon(lane: Int)
        case start(Timer, after: Duration)
        case stop(Timer)

        /// The subscription is over; nil: in good order.
        case finish(HeraldError?)
    }

    private struct Lane: Equatable {
        var number: Int
        var rung: Int
        var isProven = false
    }

    private let rungs: [TransportKind]
    private let policy: FallbackPolicy
    private let canRefreshToken: Bool
    private var backoff: Backoff

    private var lanes = 0
    private var primary: Lane?
    private var candidate: Lane?

    private var home = 0
    private var homeSince: ContinuousClock.Instant?
    private var haveWorked: Set<Int> = []

    /// How often in a row the rung of the primary lane failed by its own fault.
    private var strikes = 0

    /// Whether all that failed since the last wait failed in ways that trying again does not help against.
    private var isHopeless = true

    /// Whether the subscription has come back with another token, and has got nowhere since.
    private var hasComeBack = false

    /// Never nothing: climbs in vain would follow each other without a pause.
    private let firstClimbDelay: Duration
    private var climbDelay: Duration

    init(_ rungs: [TransportKind], _ configuration: ClientConfiguration, canRefreshToken: Bool) {
        self.rungs = rungs
        self.policy = configuration.fallback
        self.canRefreshToken = canRefreshToken
        self.backoff = Backoff(configuration.retry)
        self.firstClimbDelay = max(configuration.fallback.climbDelay, .milliseconds(10))
        self.climbDelay = firstClimbDelay
    }

    private var isAutomatic: Bool { rungs.count > 1 }

    /// Takes an event and gives what is to be done, in this order. The chance lies between 0 and 1.
    mutating func take(_ event: Event, at now: ContinuousClock.Instant, chance: Double) -> [Action] {
        switch event {
        case .began:
            return [openPrimary(0)]
        case .dialing(let lane):
            let isAwaited = primary?.number == lane || candidate?.number == lane
            return isAutomatic && isAwaited ? [.start(.proof(lane: lane), after: policy.proofTimeout)] : []
        case .proven(let lane):
            return prove(lane, now, chance)
        case .ended(let lane, let ending):
            if lane == candidate?.number { return [.stop(.proof(lane: lane))] + endCandidate(ending, chance) }
            if lane == primary?.number { return end(ending, chance) }
            return []
        case .elapsed(.proof(let lane)):
            return giveUpWaiting(for: lane, chance)
        case .elapsed(.climb):
            guard let primary, primary.isProven, candidate == nil, primary.rung > 0 else { return [] }
            return [openCandidate(0)]
        }
    }
}

// MARK: Proofs

extension TransportLadder {
    private mutating func prove(_ lane: Int, _ now: ContinuousClock.Instant, _ chance: Double) -> [Action] {
        if lane == candidate?.number { return promote(now, chance) }
        guard var proven = primary, proven.number == lane, !proven.isProven else {
            // Too late: the decision has been another.
            return lane == primary?.number ? [] : [.abandon(lane: lane)]
        }
        proven.isProven = true
        primary = proven
        if proven.rung > home { noteFall(now) }
        settle(on: proven.rung, now)
        return (isAutomatic ? [.stop(.proof(lane: lane))] : []) + scheduledClimb(chance)
    }

    private mutating func promote(_ now: ContinuousClock.Instant, _ chance: Double) -> [Action] {
        guard var proven = candidate, let former = primary else { return [] }
        proven.isProven = true
        primary = proven
        candidate = nil
        strikes = 0
        settle(on: proven.rung, now)
        return [.stop(.proof(lane: proven.number)), .promote(lane: proven.number), .abandon(lane: former.number)]
            + scheduledClimb(chance)
    }

    private mutating func settle(on rung: Int, _ now: ContinuousClock.Instant) {
        if home != rung || homeSince == nil { homeSince = now }
        home = rung
        haveWorked.insert(rung)
    }

    private mutating func giveUpWaiting(for lane: Int, _ chance: Double) -> [Action] {
        if lane == candidate?.number {
            return [.abandon(lane: lane)] + endCandidate(.failed(Failure(error: .silent(policy.proofTimeout))), chance)
        }
        guard let primary, primary.number == lane, !primary.isProven else { return [] }
        return [.abandon(lane: lane)] + end(.failed(Failure(error: .silent(policy.proofTimeout))), chance)
    }
}

// MARK: Climbing

extension TransportLadder {
    /// A rung that did not last as long as a climb takes makes the next climb come later; another one starts anew.
    private mutating func noteFall(_ now: ContinuousClock.Instant) {
        guard let homeSince else { return }
        climbDelay = now - homeSince < climbDelay ? doubled(climbDelay) : firstClimbDelay
    }

    private func doubled(_ delay: Duration) -> Duration { min(delay * 2, max(policy.climbDelayMax, firstClimbDelay)) }

    /// Between half the delay and all of it, so that clients behind one proxy do not climb in step.
    private func scheduledClimb(_ chance: Double) -> [Action] {
        guard let primary, primary.rung > 0 else { return [] }
        return [.start(.climb, after: climbDelay * (0.5 + chance / 2))]
    }

    private mutating func openCandidate(_ rung: Int) -> Action {
        lanes += 1
        candidate = Lane(number: lanes, rung: rung)
        return .open(Opening(lane: lanes, rung: rung, isCandidate: true))
    }

    private mutating func endCandidate(_ ending: Ending, _ chance: Double) -> [Action] {
        guard let failed = candidate, let primary else { return [] }
        candidate = nil
        guard case .failed(let failure) = ending else { return scheduledClimb(chance) }
        switch Verdict(failure, wasProven: false) {
        case .unreachable, .busy:
            return scheduledClimb(chance)
        case .refused, .token, .final:
            if failed.rung + 1 < primary.rung { return [openCandidate(failed.rung + 1)] }
            climbDelay = doubled(climbDelay)
            return scheduledClimb(chance)
        }
    }
}

// MARK: Ends

extension TransportLadder {
    private mutating func openPrimary(
        _ rung: Int, telling state: ConnectionState? = nil, after delay: Duration = .zero
    ) -> Action {
        lanes += 1
        primary = Lane(number: lanes, rung: rung)
        return .open(Opening(lane: lanes, rung: rung, telling: state, delay: delay))
    }

    private mutating func end(_ ending: Ending, _ chance: Double) -> [Action] {
        guard let ended = primary else { return [] }
        var actions = standDown(ended)
        guard case .failed(let failure) = ending else { return actions + [.finish(nil)] }
        if failure.hadProgress {
            backoff.reset()
            strikes = 0
            hasComeBack = false
        }
        switch Verdict(failure, wasProven: ended.isProven) {
        case .final:
            actions.append(.finish(failure.error))
        case .token:
            if canRefreshToken, !hasComeBack {
                hasComeBack = true
                actions.append(openPrimary(ended.rung))
            } else {
                actions.append(.finish(failure.error))
            }
        case .unreachable, .busy:
            actions.append(again(ended.rung, after: failure, chance))
        case .refused:
            actions.append(afterRefusal(ended.rung, failure, chance))
        }
        return actions
    }

    /// Ends all that depended on the primary lane.
    private mutating func standDown(_ ended: Lane) -> [Action] {
        primary = nil
        guard isAutomatic else { return [] }
        var actions: [Action] = [.stop(.proof(lane: ended.number)), .stop(.climb)]
        if let candidate {
            actions += [.stop(.proof(lane: candidate.number)), .abandon(lane: candidate.number)]
            self.candidate = nil
        }
        return actions
    }

    private mutating func afterRefusal(_ rung: Int, _ failure: Failure, _ chance: Double) -> Action {
        strikes += 1
        if failure.error.isTransient { isHopeless = false }
        if haveWorked.contains(rung), strikes < policy.failuresMax, failure.error.isTransient {
            return again(rung, after: failure, chance)
        }
        strikes = 0
        if rung + 1 < rungs.count {
            let state = ConnectionState.changing(to: rungs[rung + 1], reason: failure.error.description)
            return openPrimary(rung + 1, telling: state)
        }
        guard !isHopeless else { return .finish(failure.error) }
        return again(home, after: failure, chance)
    }

    private mutating func again(_ rung: Int, after failure: Failure, _ chance: Double) -> Action {
        let reason = failure.error.description
        isHopeless = true
        guard let delay = backoff.next(atLeast: failure.requestedDelay, chance: chance) else {
            return .finish(.gaveUp(attempts: backoff.attempts, reason: reason))
        }
        return openPrimary(rung, telling: .waiting(delay: delay, reason: reason), after: delay)
    }
}

/// What a failure says about the transport.
private enum Verdict {
    /// Nothing: no transport would have got further.
    case unreachable

    /// Nothing: the server asked for time.
    case busy

    /// Something on the way, or the server, does not let it through.
    case refused

    /// The right to read has ended.
    case token

    /// No transport will do.
    case final

    init(_ failure: TransportLadder.Failure, wasProven: Bool) {
        switch failure.error {
        case .problem(let problem):
            self.init(problem)
        case .unreachable, .noToken:
            self = .unreachable
        case .closed(code: 1001, _), .closed(code: 1012, _), .closed(code: 1013, _):
            self = .busy
        case .cut, .silent, .closed:
            self = failure.hadProgress ? .unreachable : .refused
        case .malformed:
            self = wasProven ? .final : .refused
        case .tooLarge, .tooMany, .unusable, .gaveUp, .lost, .unanswered:
            self = .final
        }
    }

    private init(_ problem: Problem) {
        if problem.status == 401 {
            self = .token
        } else if problem.isOfServer {
            // These say that the request came otherwise than it was sent.
            let isChanged = ["bad-handshake", "upgrade-required", "method-not-allowed"].contains(problem.slug)
            self = problem.isTransient ? .busy : isChanged ? .refused : .final
        } else {
            self = problem.isTransient && problem.retryAfter != nil ? .busy : .refused
        }
    }
}
