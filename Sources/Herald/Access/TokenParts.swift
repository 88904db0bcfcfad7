import HeraldCore

/// A token taken apart (RFC 7515 §7.1): what is signed, by what, and the signature. Nothing of it is proved yet.
struct TokenParts: Sendable {
    /// The bytes that are signed: the header and the payload as they were sent.
    let signed: [UInt8]

    /// The payload.
    let payload: [UInt8]

    /// The signature.
    let signature: [UInt8]

    /// What the header says.
    let header: TokenHeader

    /// Takes a token apart.
    init(_ token: String) throws(TokenFault) {
        let utf8 = token.utf8
        guard utf8.count <= TokenFault.lengthMax else { throw .tooLong }
        let pieces = utf8.split(separator: UInt8(ascii: "."), maxSplits: 3, omittingEmptySubsequences: false)
        guard pieces.count == 3, let head = Base64URL.decode(pieces[0]), let payload = Base64URL.decode(pieces[1]),
            let signature = Base64URL.decode(pieces[2])
        else { throw .malformed }
        header = try TokenHeader(head)
        signed = Array(utf8[..<pieces[1].endIndex])
        self.payload = payload
        self.signature = signature
    }
}

/// What a token's header says of how it is signed.
struct TokenHeader: Sendable, Hashable {
    /// The algorithm (`alg`).
    let algorithm: String

    /// The name of the key (`kid`).
    let keyID: String?

    /// Reads a header. It is nobody's word yet: it chooses among the keys, and says nothing else.
    init(_ bytes: [UInt8]) throws(TokenFault) {
        guard let header = try? JSONValue(parsing: bytes), case .text(let algorithm)? = header["alg"] else {
            throw .malformed
        }
        guard header["crit"] == nil else { throw .criticalHeader }
        switch header["kid"] {
        case nil: keyID = nil
        case .text(let text)?: keyID = text
        default: throw .malformed
        }
        self.algorithm = algorithm
    }
}
