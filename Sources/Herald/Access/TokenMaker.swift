import FoundationEssentials
import HeraldCore
import JWTKit

/// What a new token is to say.
public struct TokenRequest: Sendable {
    /// Whom it is given to.
    public var subject: String?
    /// What names it.
    public var tokenID: String?
    /// Who issues it.
    public var issuer: String?
    /// For whom it is.
    public var audience: String?
    /// The second since 1970 at which it is made.
    public var issuedAt: Int64?
    /// The second since 1970 from which on it is void.
    public var expiry: Int64?
    /// The first second since 1970 at which it counts.
    public var notBefore: Int64?
    /// The filters that may be published to.
    public var publish: [String] = []
    /// The filters that may be subscribed to.
    public var subscribe: [String] = []
    /// The filters that may be purged.
    public var manage: [String] = []

    /// Makes a request for a token that grants nothing.
    public init() {}
}

/// Why a token could not be made or read, in words that hold nothing of keys or tokens.
public struct TokenToolFailure: Error, Sendable, CustomStringConvertible {
    /// What is wrong.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Makes tokens, with a secret or with a private key.
public struct TokenMaker: Sendable {
    private let collection: JWTKeyCollection

    /// The name of the key that tokens give.
    private let keyID: String?

    /// Makes a maker out of a file's secret. Algorithms: HS256, which is the default, HS384 and HS512.
    public init(secretFile path: String, algorithm: String? = nil, keyID: String? = nil) async throws(TokenToolFailure)
    {
        let secret = KeyDocument.withoutLineBreak(try Self.read(path))
        let name = algorithm ?? "HS256"
        let digests: [String: (DigestAlgorithm, Int)] = [
            "HS256": (.sha256, 32), "HS384": (.sha384, 48), "HS512": (.sha512, 64),
        ]
        guard let (digest, length) = digests[name] else {
            throw TokenToolFailure("A secret serves HS256, HS384 and HS512, not \(EscapedText.quoted(name)).")
        }
        guard secret.count >= length else {
            throw TokenToolFailure(
                "\(path): holds \(secret.count) bytes; \(name) needs a secret of at least \(length).")
        }
        collection = JWTKeyCollection()
        self.keyID = keyID
        await collection.add(hmac: HMACKey(from: secret), digestAlgorithm: digest)
    }

    /// Makes a maker out of a file's private key in PEM. The default algorithm is the key's only one, RS256 for RSA.
    public init(keyFile path: String, algorithm: String? = nil, keyID: String? = nil) async throws(TokenToolFailure) {
        let text = String(decoding: try Self.read(path), as: UTF8.self)
        guard let pem = KeyDocument.pemBlocks(text).first(where: { $0.contains("PRIVATE KEY") }) else {
            throw TokenToolFailure("\(path): holds no private key in PEM.")
        }
        collection = JWTKeyCollection()
        self.keyID = keyID
        let own: String
        if let key = try? ES256PrivateKey(pem: pem) {
            own = "ES256"
            await collection.add(ecdsa: key)
        } else if let key = try? ES384PrivateKey(pem: pem) {
            own = "ES384"
            await collection.add(ecdsa: key)
        } else if let key = try? ES512PrivateKey(pem: pem) {
            own = "ES512"
            await collection.add(ecdsa: key)
        } else if let key = try? EdDSA.PrivateKey(pem: pem) {
            own = "EdDSA"
            await collection.add(eddsa: key)
        } else if let key = try? Insecure.RSA.PrivateKey(pem: pem) {
            own = try await Self.add(key, algorithm ?? "RS256", to: collection)
        } else {
            throw TokenToolFailure(
                "\(path): the key cannot be used; expected RSA of at least 2048 bits, P-256, P-384, P-521 or Ed25519, "
                    + "without a passphrase.")
        }
        guard algorithm == nil || algorithm == own else {
            throw TokenToolFailure("\(path): the key is for \(own), not for \(EscapedText.quoted(algorithm ?? "")).")
        }
    }

    private static func add(
        _ key: Insecure.RSA.PrivateKey, _ algorithm: String, to collection: JWTKeyCollection
    ) async throws(TokenToolFailure) -> String {
        let digests: [String: DigestAlgorithm] = ["256": .sha256, "384": .sha384, "512": .sha512]
        guard let digest = digests[String(algorithm.suffix(3))], ["RS", "PS"].contains(algorithm.dropLast(3)) else {
            throw TokenToolFailure(
                "An RSA key is for RS256, RS384, RS512, PS256, PS384 and PS512, not \(EscapedText.quoted(algorithm)).")
        }
        if algorithm.hasPrefix("PS") {
            await collection.add(pss: key, digestAlgorithm: digest)
        } else {
            await collection.add(rsa: key, digestAlgorithm: digest)
        }
        return algorithm
    }

    /// Makes a token.
    public func make(_ request: TokenRequest) async throws(TokenToolFailure) -> String {
        for filter in request.publish + request.subscribe + request.manage {
            if let problem = ServerRunner.filterProblem(filter) {
                throw TokenToolFailure("\(EscapedText.quoted(filter, limit: 100)) is not a filter: \(problem).")
            }
        }
        let header: JWTHeader = keyID.map { ["kid": .string($0)] } ?? [:]
        do {
            return try await collection.sign(Payload(request), header: header)
        } catch {
            throw TokenToolFailure("The token could not be signed.")
        }
    }

    private static func read(_ path: String) throws(TokenToolFailure) -> [UInt8] {
        do throws(KeyFault) {
            return try SmallFile.read(path, lengthMax: KeyDocument.lengthMax)
        } catch {
            throw TokenToolFailure("\(path): \(error).")
        }
    }

    /// The claims as they are written.
    private struct Payload: JWTPayload {
        struct Rights: Codable {
            var publish: [String]?
            var subscribe: [String]?
            var manage: [String]?
        }

        var sub, jti, iss, aud: String?
        var iat, exp, nbf: Int64?
        var herald: Rights

        init(_ request: TokenRequest) {
            (sub, jti, iss, aud) = (request.subject, request.tokenID, request.issuer, request.audience)
            (iat, exp, nbf) = (request.issuedAt, request.expiry, request.notBefore)
            func given(_ filters: [String]) -> [String]? { filters.isEmpty ? nil : filters }
            herald = Rights(
                publish: given(request.publish), subscribe: given(request.subscribe), manage: given(request.manage))
        }

        /// Nobody reads tokens by this type.
        func verify(using algorithm: some JWTAlgorithm) async throws {}
    }
}

/// Makes API keys.
public enum APIKeyMaker {
    /// Makes a key, and its entry for the file of keys.
    public static func make(
        name: String, publish: [String], subscribe: [String], manage: [String]
    ) throws(TokenToolFailure) -> (key: String, entry: String) {
        func set(_ filters: [String]) throws(TokenToolFailure) -> FilterSet {
            var names: [FilterName] = []
            for filter in filters {
                do throws(NameFault) {
                    names.append(try FilterName(filter))
                } catch {
                    let problem = ServerRunner.filterProblem(filter) ?? error.what
                    throw TokenToolFailure("\(EscapedText.quoted(filter, limit: 100)) is not a filter: \(problem).")
                }
            }
            return FilterSet(names)
        }
        let key = APIKeys.make()
        let entry = APIKeys.entry(
            name: name, key: key, publish: try set(publish), subscribe: try set(subscribe), manage: try set(manage))
        return (key, entry)
    }
}
