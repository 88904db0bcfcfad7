import HeraldCore
import Synchronization

/// What names a reader to the client that renews its token: drawn at random, so that nobody else can name it.
struct ReaderID: Sendable, Hashable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    /// Draws one.
    init() {
        high = .random(in: .min ... .max)
        low = .random(in: .min ... .max)
    }

    /// Reads one, 32 hexadecimal digits; nil when it is none.
    init?(_ text: String) {
        guard text.utf8.count == 32, let high = UInt64(text.prefix(16), radix: 16),
            let low = UInt64(text.suffix(16), radix: 16), "\(Self(high, low))" == text
        else { return nil }
        self.init(high, low)
    }

    private init(_ high: UInt64, _ low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Its 32 digits.
    var description: String { Self.digits(high) + Self.digits(low) }

    private static func digits(_ half: UInt64) -> String {
        let digits = String(half, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}

/// By what right a reader is there. Any thread.
final class Admission: Sendable {
    /// What is due to a reader at some time.
    enum Step: Sendable, Hashable {
        /// To be told that its token runs out.
        case warning
        /// To be ended.
        case end
    }

    /// What changes about it.
    struct State: Sendable {
        /// What it may do.
        var grant: Grant
        /// What it reads.
        var filters: [FilterName]
        /// What is due next.
        var step: Step = .warning
        /// When that is due, in seconds since 1970; nil: never.
        var due: Int64?
        /// Whether it is being ended, which is done once however long it takes to go.
        var isEnding = false
    }

    /// What names the reader.
    let id = ReaderID()
    /// Whether it stays until it is ended: a held poll ends by itself, and comes back with a token.
    let isStream: Bool
    private let state: Mutex<State>

    /// Makes the admission of a reader.
    init(_ grant: Grant, filters: [FilterName], isStream: Bool) {
        self.isStream = isStream
        state = Mutex(State(grant: grant, filters: filters))
    }

    /// What the reader may do.
    var grant: Grant { state.withLock { $0.grant } }

    /// Takes filters on, if the grant covers each; gives those that are new. Before they are read, so that a grant that
    /// comes meanwhile covers them, too.
    func add(_ filters: [FilterName]) throws(Problem) -> [FilterName] {
        try update { state throws(Problem) in
            for filter in filters where !state.grant.subscribe.allows(filter: filter) {
                throw Problem(state.grant, mayNot: "subscribe to \(EscapedText.quoted(filter.text, limit: 80))")
            }
            let added = filters.filter { !state.filters.contains($0) }
            state.filters += added
            return added
        }
    }

    /// Lets go of filters.
    func remove(_ filters: [FilterName]) {
        update { state in state.filters.removeAll { filters.contains($0) } }
    }

    /// Changes it.
    func update<Result, Failure: Error>(
        _ body: (inout sending State) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        try state.withLock(body)
    }
}
