/// What a client may do, and until when: the meaning of a token or an API key, without the credential itself.
///
/// One grant is shared by all connections that showed the same token.
final class Grant: Sendable {
    /// What a client showed to get a grant.
    enum Source: Sendable, Hashable {
        /// A JSON Web Token
        case token
        /// A key from the API key file
        case apiKey
        /// Nothing, where clients are asked
        case anonymous
        /// Nothing, where nobody is asked
        case open
    }

    /// What the client showed.
    let source: Source

    /// Whom the token was given to (`sub`), or the API key's name.
    let subject: String?

    /// What names the token (`jti`).
    let tokenID: String?

    /// When the token was made (`iat`), in whole seconds since 1970.
    let issuedAt: Int64?

    /// The second since 1970 from which on the grant is void (`exp`), without leeway; nil: never.
    let expiry: Int64?

    /// The first second since 1970 at which the grant counts (`nbf`), without leeway; nil: always.
    let notBefore: Int64?

    /// The topics that may be published to.
    let publish: FilterSet

    /// The filters that may be subscribed to.
    let subscribe: FilterSet

    /// The topics that may be purged; whoever has all of them may revoke tokens, too.
    let manage: FilterSet

    /// Makes a grant.
    init(
        source: Source = .token,
        subject: String? = nil,
        tokenID: String? = nil,
        issuedAt: Int64? = nil,
        expiry: Int64? = nil,
        notBefore: Int64? = nil,
        publish: FilterSet = .none,
        subscribe: FilterSet = .none,
        manage: FilterSet = .none
    ) {
        self.source = source
        self.subject = subject
        self.tokenID = tokenID
        self.issuedAt = issuedAt
        self.expiry = expiry
        self.notBefore = notBefore
        self.publish = publish
        self.subscribe = subscribe
        self.manage = manage
    }

    /// Whether another grants the same to the same.
    func isSame(as other: Grant) -> Bool {
        self === other
            || (source == other.source && subject == other.subject && publish == other.publish
                && subscribe == other.subscribe && manage == other.manage)
    }

    /// Who has the grant, for log lines: escaped, bounded, and never a credential.
    var label: String {
        if let subject { return EscapedText.quoted(subject, limit: Self.labelLength) }
        if let tokenID { return "jti \(EscapedText.quoted(tokenID, limit: Self.labelLength))" }
        return "no subject"
    }

    /// What time has against the grant: it is over, or has not begun; nil when it counts.
    func fault(at now: Int64, leeway: Int64 = 0) -> TokenFault? {
        if let expiry, now - leeway >= expiry { return .expired }
        if let notBefore, now + leeway < notBefore { return .notYetValid }
        return nil
    }

    /// The most characters of a name that a label shows.
    private static let labelLength = 64
}
