/// Has a stream go on with another token when its server says that its right to read ends soon.
///
/// The stream stays as it is meanwhile, and no event is lost or repeated. What goes wrong here ends nothing: the
/// server ends the stream when the right has ended, and the subscription then comes back with another token.
struct Renewer: Sendable {
    private let notices: AsyncStream<Expiry>.Continuation

    /// Says that the right to read ends soon.
    func expiring(_ expiry: Expiry) { notices.yield(expiry) }

    /// Runs the body and renews meanwhile. `send` sends a token to the server, and throws if that does not take it.
    static func run<Value>(
        _ tokens: TokenKeeper, from token: Token?, _ send: @escaping @Sendable (Token, Expiry) async throws -> Void,
        _ body: (Renewer) async throws -> Value
    ) async throws -> Value {
        // A notice that comes while another is dealt with says no more than that did.
        let (stream, notices) = AsyncStream.makeStream(of: Expiry.self, bufferingPolicy: .bufferingNewest(1))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var token = token
                var isFirst = true
                for await expiry in stream {
                    // Tokens that live no longer than the warning comes before their end would be renewed in a loop.
                    if !isFirst { try await Task.sleep(for: expiry.remaining / 2) }
                    isFirst = false
                    token = try await renewed(token, expiry, tokens, send)
                }
            }
            defer { group.cancelAll() }
            return try await body(Renewer(notices: notices))
        }
    }

    /// Tries until the time is nearly over; gives the token that the stream has then.
    private static func renewed(
        _ token: Token?, _ expiry: Expiry, _ tokens: TokenKeeper,
        _ send: @Sendable (Token, Expiry) async throws -> Void
    ) async throws -> Token? {
        guard tokens.canRefresh else { return token }
        var remaining = expiry.remaining
        var refused = token
        while true {
            do {
                guard let other = try await tokens.fresh(after: refused) else { return token }
                // The same once more would be taken, and warned of again at once.
                if other.text == token?.text { return other }
                refused = other
                try await send(other, expiry)
                return other
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                // What did not arrive was not refused.
                if (error as? HeraldError)?.isTransient == true { refused = token }
                remaining = remaining / 2
                guard remaining >= .seconds(1) else { return token }
                try await Task.sleep(for: remaining)
            }
        }
    }
}
