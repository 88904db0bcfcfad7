import HeraldCore

/// Who a request comes from, as far as can be told at once.
enum Identity {
    /// Somebody who may do this.
    case known(Grant)
    /// Somebody whose token has to be checked first.
    case unchecked(token: String)
    /// Nobody who can be served.
    case refused(Problem)
}

extension Access {
    /// Finds out who a request comes from: by its `Authorization` header, its `access_token` parameter or its cookie
    /// (RFC 6750 §2), of which the first counts.
    ///
    /// Nothing of a credential ever comes into an answer.
    func identify(_ request: borrowing Request) -> Identity {
        do throws(Problem) {
            if let header = request.header(.authorization) {
                let scheme: StaticString = "Bearer "
                guard header.hasPrefixIgnoringCase(scheme) else {
                    throw Problem(unauthorized: "the Authorization header must be Bearer and a token or an API key")
                }
                return try judge(header.dropFirst(scheme.utf8CodeUnitCount).trimmed())
            }
            var found: Identity?
            try request.forEachQueryPair(fault: { Problem($0) }) { name, value throws(Problem) in
                // That it is given once is for the route to see.
                if name == Parameters.token, found == nil { found = try judge(value) }
            }
            if let found { return found }
            if let cookie = request.cookie(named: cookieName) {
                try Self.refuseForgery(request)
                return try judge(cookie)
            }
        } catch {
            return .refused(error)
        }
        return .known(anonymous)
    }

    /// A browser adds cookies to what other pages ask for, too. Whether a page may ask is decided by its origin, which
    /// browsers name with all that changes something; what comes with a cookie but without an origin is not believed.
    private static func refuseForgery(_ request: borrowing Request) throws(Problem) {
        switch request.method {
        case .get, .head, .options: return
        case .post, .put, .delete, .patch, .other: break
        }
        guard request.header(.origin) == nil else { return }
        throw Problem(.forbidden, "a token in a cookie needs an Origin header for all that is not GET")
    }

    /// Finds out whose a token or an API key is.
    func identity(of credential: borrowing Bytes) -> Identity {
        do throws(Problem) { return try judge(credential) } catch { return .refused(error) }
    }

    private func judge(_ credential: borrowing Bytes) throws(Problem) -> Identity {
        if credential.hasPrefix("hk_") {
            guard let grant = keys.grant(for: credential) else {
                throw Problem(.invalidToken, "the API key is not known here", challenge: .invalid)
            }
            return .known(try admitted(grant))
        }
        guard verifier.isConfigured else {
            throw Problem(.invalidToken, "no tokens are accepted here", challenge: .invalid)
        }
        switch verifier.cached(credential, at: now()) {
        case .success(let grant): return .known(try admitted(grant))
        case .failure(let fault): throw Problem(fault)
        case nil: return .unchecked(token: credential.text())
        }
    }

    /// Has a reader go on by another grant, if that covers what it reads.
    ///
    /// - Parameter maySwitch: whether the grant may be another subject's: the reader's own client asks. Otherwise
    ///   whoever learned a reader's id could keep it alive.
    func renew(_ admission: Admission, by grant: Grant, maySwitch: Bool) throws(Problem) {
        guard grant.source != .anonymous else { throw Problem(unauthorized: "a renewal needs a token") }
        try admissions.renew(admission, by: grant, at: now()) { old, filters throws(Problem) in
            guard maySwitch || (old.source == grant.source && old.subject == grant.subject) else {
                throw Problem(.forbidden, "the token is another subject's than the reader's", challenge: .insufficient)
            }
            for filter in filters where !grant.subscribe.allows(filter: filter) {
                throw Problem(
                    grant, mayNot: "subscribe to \(EscapedText.quoted(filter.text, limit: 80)), which the reader reads")
            }
        }
        // Who revoked it meanwhile has met the reader by its old grant.
        guard !isVoid(grant) else {
            admissions.revoke { self.isVoid($0) }
            throw Problem.revoked
        }
    }

    /// Whether a grant has been taken back: it was revoked, or is a key's that is no more.
    func isVoid(_ grant: Grant) -> Bool {
        revocations.covers(grant) || (grant.source == .apiKey && !keys.has(grant))
    }

    /// A grant that has not been revoked.
    private func admitted(_ grant: Grant) throws(Problem) -> Grant {
        guard !revocations.covers(grant) else { throw Problem.revoked }
        return grant
    }

    /// Checks a token's signature and claims. Off the loops' threads.
    func check(_ token: String) async -> Result<Grant, Problem> {
        let grant: Grant
        do throws(TokenFault) {
            grant = try await verifier.verify(token, at: now())
        } catch {
            return .failure(Problem(error))
        }
        do throws(Problem) { return .success(try admitted(grant)) } catch { return .failure(error) }
    }
}

// MARK: Problems

extension Problem {
    /// What the `WWW-Authenticate` header says besides the scheme (RFC 6750 §3).
    enum Challenge: String, Sendable {
        /// A token is needed.
        case missing = "Bearer realm=\"herald\""
        /// The token is not good.
        case invalid = "Bearer realm=\"herald\", error=\"invalid_token\""
        /// The token does not grant enough.
        case insufficient = "Bearer realm=\"herald\", error=\"insufficient_scope\""
    }

    /// Nobody is named who may do this.
    init(unauthorized detail: String) {
        self.init(.unauthorized, detail, challenge: .missing)
    }

    /// A problem with a challenge.
    init(_ kind: Kind, _ detail: String, challenge: Challenge) {
        self.init(kind, detail)
        self.challenge = challenge
    }

    /// A token that is not accepted.
    init(_ fault: TokenFault) {
        switch fault {
        case .keysUnavailable:
            self.init(.keysUnavailable, "\(fault.text); come back later")
        case .expired:
            self.init(.expiredToken, fault.text, challenge: .invalid)
        default:
            self.init(.invalidToken, fault.text, challenge: .invalid)
        }
    }

    /// A token that was revoked.
    static var revoked: Problem {
        Problem(.revokedToken, "the token has been revoked", challenge: .invalid)
    }

    /// Something that a grant does not cover: whoever names nobody may come back with a token.
    init(_ grant: Grant, mayNot what: String) {
        if grant.source == .anonymous {
            self.init(unauthorized: "without a token nobody may \(what)")
        } else {
            self.init(.forbidden, "the token does not grant to \(what)", challenge: .insufficient)
        }
    }
}
