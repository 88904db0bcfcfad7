/// Where a client has its token, or API key, from.
///
/// It goes to the server as `Authorization: Bearer`, and stands in no error and no description.
public struct TokenSource: Sendable {
    /// Asks for a token.
    public typealias Provider = @Sendable () async throws -> String

    enum Kind: Sendable {
        case none
        case fixed(String)
        case provided(Provider)
    }

    let kind: Kind

    var isNone: Bool {
        if case .none = kind { return true }
        return false
    }

    /// No token.
    public static let none = TokenSource(kind: .none)

    /// One token. When its time is over, requests and subscriptions end with the server's problem.
    public static func fixed(_ token: String) -> TokenSource { TokenSource(kind: .fixed(token)) }

    /// Tokens that the closure gives.
    ///
    /// It is asked when a token is needed for the first time, when the server says that one runs out or does not
    /// accept it any more, and never by two tasks at once. What it throws ends a request, as `HeraldError.noToken`
    /// unless it is a `HeraldError` itself; a subscription tries again then, if that is transient.
    public static func provided(by provide: @escaping Provider) -> TokenSource {
        TokenSource(kind: .provided(provide))
    }
}

extension TokenSource: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// What kind of source it is, without the token.
    public var description: String {
        switch kind {
        case .none: "no token"
        case .fixed: "a fixed token"
        case .provided: "provided tokens"
        }
    }

    /// The same.
    public var debugDescription: String { description }

    /// Shows no token to `dump` and its like.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
