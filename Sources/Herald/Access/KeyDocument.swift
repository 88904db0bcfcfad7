import FoundationEssentials
import HeraldCore
import JWTKit
import X509

/// Reads the documents that keys come in: PEM, JSON Web Key Sets and secrets.
enum KeyDocument {
    /// The most keys of one document: with none named by a token, each of them is tried.
    static let keyCountMax = 100

    /// The most bytes of a document.
    static let lengthMax = 1 << 20

    // MARK: Secrets

    /// A file's bytes without the line break at their end, which does not belong to a secret.
    static func withoutLineBreak(_ bytes: [UInt8]) -> [UInt8] {
        var secret = bytes[...]
        if secret.last == UInt8(ascii: "\n") { secret.removeLast() }
        if secret.last == UInt8(ascii: "\r") { secret.removeLast() }
        return Array(secret)
    }

    /// Reads a file's secret.
    static func secret(_ bytes: [UInt8]) async throws(KeyFault) -> TokenKey {
        let secret = withoutLineBreak(bytes)
        guard !secret.starts(with: Self.pemStart.utf8) else {
            throw KeyFault("holds a PEM key and no secret; token-key-file is for keys")
        }
        guard let key = await TokenKey(secret: secret) else {
            throw KeyFault("holds \(secret.count) bytes; a secret needs at least \(TokenKey.secretLengthMin)")
        }
        return key
    }

    // MARK: Files of public keys

    /// Reads a file of public keys: PEM, or a JSON Web Key Set.
    static func keys(_ bytes: [UInt8]) async throws(KeyFault) -> [TokenKey] {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw KeyFault("is not UTF-8 text") }
        if text.drop(while: \.isWhitespace).first == "{" {
            return try await KeySet(bytes, acceptsSecrets: true).keys
        }
        return try await pem(text)
    }

    private static let pemStart = "-----BEGIN "

    /// Reads the public keys and certificates of a PEM text; of a certificate its key counts, not its dates.
    private static func pem(_ text: String) async throws(KeyFault) -> [TokenKey] {
        var keys: [TokenKey] = []
        for block in pemBlocks(text) {
            guard keys.count < keyCountMax else { throw KeyFault("holds more than \(keyCountMax) keys") }
            keys.append(try await key(block))
        }
        guard !keys.isEmpty else { throw KeyFault("holds neither a PEM key or certificate nor a JSON Web Key Set") }
        return keys
    }

    /// The blocks of a PEM text; what stands between them is a comment.
    static func pemBlocks(_ text: String) -> [String] {
        var blocks: [String] = []
        var lines: [Substring]?
        for line in text.split(omittingEmptySubsequences: true, whereSeparator: \.isNewline) {
            if line.hasPrefix(pemStart) { lines = [] }
            lines?.append(line)
            if line.hasPrefix("-----END "), let block = lines {
                blocks.append(block.joined(separator: "\n") + "\n")
                lines = nil
            }
        }
        return blocks
    }

    private static func key(_ block: String) async throws(KeyFault) -> TokenKey {
        var pem = block
        let label = block.prefix { !$0.isNewline }
        if label.contains("PRIVATE KEY") {
            throw KeyFault("holds a private key; tokens are checked with the public key, and only that belongs here")
        }
        if label.contains("CERTIFICATE") {
            guard let certificate = try? Certificate(pemEncoded: block),
                let publicKey = try? certificate.publicKey.serializeAsPEM().pemString
            else { throw KeyFault("holds a certificate that cannot be read") }
            pem = publicKey
        }
        if let key = try? ES256PublicKey(pem: pem) { return await TokenKey(ecdsa: key) }
        if let key = try? ES384PublicKey(pem: pem) { return await TokenKey(ecdsa: key) }
        if let key = try? ES512PublicKey(pem: pem) { return await TokenKey(ecdsa: key) }
        if let key = try? EdDSA.PublicKey(pem: pem) { return await TokenKey(eddsa: key) }
        if let key = try? Insecure.RSA.PublicKey(pem: pem) { return await TokenKey(rsa: key) }
        throw KeyFault(
            "holds a key that cannot be used; expected RSA of at least 2048 bits, P-256, P-384, P-521 or Ed25519")
    }
}

/// A JSON Web Key Set (RFC 7517): the keys of it that tokens can be checked with.
struct KeySet: Sendable {
    /// The keys.
    let keys: [TokenKey]

    /// Why the others are passed over, one line each.
    let skipped: [String]

    /// Reads a document. Secrets (`oct`) count only in files: whoever can fetch one from a URL could make tokens.
    init(_ document: [UInt8], acceptsSecrets: Bool) async throws(KeyFault) {
        let set: JSONValue
        do throws(JSONFault) {
            set = try JSONValue(parsing: document)
        } catch {
            throw KeyFault("is no JSON: \(error.what)")
        }
        guard let items = set["keys"]?.asList else { throw KeyFault("is no key set: it has no list \"keys\"") }
        guard items.count <= KeyDocument.keyCountMax else {
            throw KeyFault("holds more than \(KeyDocument.keyCountMax) keys")
        }
        var keys: [TokenKey] = []
        var skipped: [String] = []
        for (index, item) in items.enumerated() {
            do throws(KeyFault) {
                keys.append(try await Self.key(item, acceptsSecrets: acceptsSecrets))
            } catch {
                skipped.append("key \(index + 1) \(error)")
            }
        }
        guard !keys.isEmpty else {
            throw KeyFault(
                (["holds no key that tokens can be checked with"] + skipped.prefix(3)).joined(separator: "; "))
        }
        self.keys = keys
        self.skipped = skipped
    }

    private static func key(_ item: JSONValue, acceptsSecrets: Bool) async throws(KeyFault) -> TokenKey {
        guard let type = item["kty"]?.asText else { throw KeyFault("has no type (kty)") }
        if let use = item["use"], use.asText != "sig" { throw KeyFault("is not for signatures (use)") }
        if let operations = item["key_ops"], operations.asList?.contains(.text("verify")) != true {
            throw KeyFault("is not for checking signatures (key_ops)")
        }
        let id = item["kid"]?.asText
        let algorithm = item["alg"]?.asText
        guard item["kid"] == nil || id != nil, item["alg"] == nil || algorithm != nil else {
            throw KeyFault("has a kid or an alg that is no text")
        }
        let key: TokenKey
        switch type {
        case "RSA": key = try await rsa(item, id, algorithm)
        case "EC": key = try await curve(item, id, algorithm)
        case "OKP": key = try await edwards(item, id, algorithm)
        case "oct" where acceptsSecrets: key = try await secret(item, id, algorithm)
        case "oct": throw KeyFault("is a secret, which no URL may give away")
        default: throw KeyFault("is of another type than RSA, EC and OKP")
        }
        guard !key.signers.isEmpty else { throw KeyFault("is for an algorithm (alg) that its type does not have") }
        return key
    }

    private static func rsa(_ item: JSONValue, _ id: String?, _ algorithm: String?) async throws(KeyFault) -> TokenKey {
        guard let modulus = item["n"]?.asText, let exponent = item["e"]?.asText,
            let key = try? Insecure.RSA.PublicKey(modulus: modulus, exponent: exponent)
        else { throw KeyFault("is no RSA key of at least 2048 bits") }
        return await TokenKey(id: id, rsa: key, only: algorithm)
    }

    private static func curve(
        _ item: JSONValue, _ id: String?, _ algorithm: String?
    ) async throws(KeyFault) -> TokenKey {
        guard let x = item["x"]?.asText, let y = item["y"]?.asText else { throw KeyFault("has no coordinates") }
        switch item["crv"]?.asText {
        case "P-256":
            if let key = try? ES256PublicKey(parameters: (x, y)) {
                return await TokenKey(id: id, ecdsa: key, only: algorithm)
            }
        case "P-384":
            if let key = try? ES384PublicKey(parameters: (x, y)) {
                return await TokenKey(id: id, ecdsa: key, only: algorithm)
            }
        case "P-521":
            if let key = try? ES512PublicKey(parameters: (x, y)) {
                return await TokenKey(id: id, ecdsa: key, only: algorithm)
            }
        default: throw KeyFault("is of another curve than P-256, P-384 and P-521")
        }
        throw KeyFault("is no point of its curve")
    }

    private static func edwards(
        _ item: JSONValue, _ id: String?, _ algorithm: String?
    ) async throws(KeyFault) -> TokenKey {
        guard item["crv"]?.asText == "Ed25519" else { throw KeyFault("is of another curve than Ed25519") }
        guard let x = item["x"]?.asText, let key = try? EdDSA.PublicKey(x: x, curve: .ed25519) else {
            throw KeyFault("is no Ed25519 key")
        }
        return await TokenKey(id: id, eddsa: key, only: algorithm)
    }

    private static func secret(
        _ item: JSONValue, _ id: String?, _ algorithm: String?
    ) async throws(KeyFault) -> TokenKey {
        guard let text = item["k"]?.asText, let bytes = Base64URL.decode(text.utf8),
            let key = await TokenKey(id: id, secret: bytes, only: algorithm)
        else { throw KeyFault("is no secret of at least \(TokenKey.secretLengthMin) bytes") }
        return key
    }
}
