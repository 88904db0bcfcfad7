import HeraldCore

/// The claims of a token whose signature is good, read into what they grant.
///
/// Rights are those of the claim `herald`: lists of filters named `publish`, `subscribe` and `manage`. A token without it
/// may have Mercure's claim (``MercureClaim``) instead. With both `herald` counts alone: whoever wrote it knew this
/// server, and what it leaves out must not come back through rights that were meant for another hub.
struct TokenClaims {
    /// What the token grants.
    let grant: Grant

    /// Who issued it (`iss`).
    let issuer: String?

    /// For whom it is (`aud`); nil if it does not say.
    let audience: [String]?

    /// The most filters of one right.
    static let filterCountMax = 1000

    /// The most bytes of a claim that is a text.
    static let textLengthMax = 1024

    /// Reads a payload.
    init(_ payload: [UInt8]) throws(TokenFault) {
        let claims: JSONValue
        do throws(JSONFault) {
            claims = try JSONValue(parsing: payload)
        } catch {
            throw .claim("set", "is no JSON: \(error.what)")
        }
        guard case .object = claims else { throw .claim("set", "is not an object") }
        let rights = try Self.rights(claims)
        issuer = try Self.text("iss", claims)
        audience = try Self.audience(claims)
        grant = Grant(
            subject: try Self.text("sub", claims), tokenID: try Self.text("jti", claims),
            issuedAt: try Self.date("iat", claims, .down), expiry: try Self.date("exp", claims, .down),
            notBefore: try Self.date("nbf", claims, .up),
            publish: rights.publish, subscribe: rights.subscribe, manage: rights.manage)
    }

    /// The three rights.
    struct Rights {
        /// What may be published to.
        var publish = FilterSet.none
        /// What may be subscribed to.
        var subscribe = FilterSet.none
        /// What may be purged.
        var manage = FilterSet.none
    }

    private static func rights(_ claims: JSONValue) throws(TokenFault) -> Rights {
        if let claim = claims["herald"] {
            guard case .object = claim else { throw .claim("herald", "is not an object") }
            return Rights(
                publish: try filters("publish", claim), subscribe: try filters("subscribe", claim),
                manage: try filters("manage", claim))
        }
        guard let claim = claims["mercure"] else { throw .noRights }
        guard case .object = claim else { throw .claim("mercure", "is not an object") }
        return Rights(
            publish: MercureClaim.filters(try texts("publish", claim, of: "mercure")),
            subscribe: MercureClaim.filters(try texts("subscribe", claim, of: "mercure")))
    }

    private static func filters(_ right: String, _ claim: JSONValue) throws(TokenFault) -> FilterSet {
        var filters: [FilterName] = []
        for (index, text) in try texts(right, claim, of: "herald").enumerated() {
            do throws(NameFault) {
                filters.append(try FilterName(text))
            } catch {
                let part = error.segment > 0 ? "segment \(error.segment) " : ""
                throw .claim(
                    "herald.\(right)", "item \(index + 1), \(EscapedText.quoted(text, limit: 64)): \(part)\(error.what)"
                )
            }
        }
        return FilterSet(filters)
    }

    /// A list of texts, none if there is no such member.
    private static func texts(_ name: String, _ claim: JSONValue, of parent: String) throws(TokenFault) -> [String] {
        guard let value = claim[name] else { return [] }
        guard let items = value.asList else { throw .claim("\(parent).\(name)", "is not a list") }
        guard items.count <= filterCountMax else {
            throw .claim("\(parent).\(name)", "has more than \(filterCountMax) items")
        }
        let texts = items.compactMap(\.asText)
        guard texts.count == items.count else { throw .claim("\(parent).\(name)", "has an item that is no text") }
        return texts
    }

    private static func text(_ name: String, _ claims: JSONValue) throws(TokenFault) -> String? {
        guard let value = claims[name] else { return nil }
        guard let text = value.asText else { throw .claim(name, "is not a text") }
        guard text.utf8.count <= textLengthMax else { throw .claim(name, "is longer than \(textLengthMax) bytes") }
        return text
    }

    private static func audience(_ claims: JSONValue) throws(TokenFault) -> [String]? {
        switch claims["aud"] {
        case nil: return nil
        case .text(let one)?: return [one]
        case .list(let items)?:
            let texts = items.compactMap(\.asText)
            guard texts.count == items.count else { throw .claim("aud", "has an item that is no text") }
            return texts
        default: throw .claim("aud", "is neither a text nor a list of texts")
        }
    }

    /// A NumericDate (RFC 7519 §2) in whole seconds, a fraction rounded so that it never lengthens a token's life.
    private static func date(
        _ name: String, _ claims: JSONValue, _ rounding: FloatingPointRoundingRule
    ) throws(TokenFault) -> Int64? {
        guard let value = claims[name] else { return nil }
        guard case .number(let digits) = value else { throw .claim(name, "is not a number of seconds") }
        // Beyond 2^53 a fraction's double would not hold whole seconds; no date is there.
        let limit = Int64(1) << 53
        let seconds = Int64(digits) ?? Double(digits).flatMap { Int64(exactly: $0.rounded(rounding)) }
        guard let seconds, seconds > -limit, seconds < limit else { throw .claim(name, "is out of range") }
        return seconds
    }
}
