/// Why a token is refused.
///
/// The texts are for people who see the answer or the log; none of them holds any of the token but, escaped and
/// bounded, the piece of a claim that is wrong, and that only of tokens whose signature is good.
enum TokenFault: Error, Sendable, Hashable {
    /// It is no token: not three parts of base64url, or a part that is not what it should be.
    case malformed
    /// It is longer than any token of use.
    case tooLong
    /// It is signed in a way that none of the keys is for, or not at all (`none`).
    case unsupportedAlgorithm
    /// Its header demands an extension (`crit`), and no extension is known.
    case criticalHeader
    /// Its header names a key (`kid`) that is not there.
    case unknownKey
    /// No key of its kind made its signature.
    case badSignature
    /// Its time is over.
    case expired
    /// Its time has not begun.
    case notYetValid
    /// Somebody else issued it.
    case wrongIssuer
    /// It is for somebody else.
    case wrongAudience
    /// A claim is not what it has to be: its name, and the reason, to follow the name.
    case claim(String, String)
    /// It says nothing of what its owner may do here.
    case noRights
    /// The keys could not be fetched yet: it may be good, but nobody can tell.
    case keysUnavailable

    /// What is wrong, as a sentence without a full stop.
    var text: String {
        switch self {
        case .malformed: "the token is malformed"
        case .tooLong: "the token is longer than \(TokenFault.lengthMax) bytes"
        case .unsupportedAlgorithm: "the token is signed with an algorithm that is not accepted here"
        case .criticalHeader: "the token's header demands an extension (crit), and none is known here"
        case .unknownKey: "the token is signed with a key (kid) that is not known here"
        case .badSignature: "the token's signature is wrong"
        case .expired: "the token has expired"
        case .notYetValid: "the token is not valid yet"
        case .wrongIssuer: "the token's issuer is not accepted here"
        case .wrongAudience: "the token is meant for another audience"
        case .claim(let name, let reason): "the token's claim \(name) \(reason)"
        case .noRights: "the token has no claim \"herald\" that says what its owner may do"
        case .keysUnavailable: "the keys that tokens are checked with could not be fetched yet"
        }
    }

    /// The fault without its details, as a metric's label names it.
    var kind: Kind {
        switch self {
        case .malformed: .malformed
        case .tooLong: .tooLong
        case .unsupportedAlgorithm: .unsupportedAlgorithm
        case .criticalHeader: .criticalHeader
        case .unknownKey: .unknownKey
        case .badSignature: .badSignature
        case .expired: .expired
        case .notYetValid: .notYetValid
        case .wrongIssuer: .wrongIssuer
        case .wrongAudience: .wrongAudience
        case .claim: .claim
        case .noRights: .noRights
        case .keysUnavailable: .keysUnavailable
        }
    }

    /// A fault without its details.
    enum Kind: String, Sendable, Hashable, CaseIterable {
        /// No token
        case malformed
        /// Too many bytes
        case tooLong = "too_long"
        /// No key is for its algorithm
        case unsupportedAlgorithm = "unsupported_algorithm"
        /// A demand for an extension
        case criticalHeader = "critical_header"
        /// A key that is not there
        case unknownKey = "unknown_key"
        /// A wrong signature
        case badSignature = "bad_signature"
        /// Over
        case expired
        /// Not begun
        case notYetValid = "not_yet_valid"
        /// Another issuer
        case wrongIssuer = "wrong_issuer"
        /// Another audience
        case wrongAudience = "wrong_audience"
        /// A claim that is malformed
        case claim
        /// No claim about rights
        case noRights = "no_rights"
        /// No keys yet
        case keysUnavailable = "keys_unavailable"
    }

    /// The most bytes of a token.
    static let lengthMax = 64 << 10
}
