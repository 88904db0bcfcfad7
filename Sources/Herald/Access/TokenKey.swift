import FoundationEssentials
import JWTKit

/// A key that tokens are checked with, and the algorithms that it may be used for.
///
/// Which algorithms those are follows from the key alone: a signer exists only for what its type is made for. A token can
/// choose among them by its header, but there is no signer that takes an RSA key as a secret, and none for `none`.
struct TokenKey: Sendable {
    /// The name that tokens have for it (`kid`); nil for keys of files that give none, which any token may mean.
    let id: String?

    /// What checks a signature, by the name of its algorithm (`alg`).
    let signers: [String: any JWTAlgorithm]

    /// Whether the key made a signature by an algorithm; false if it is not for that algorithm.
    func made(_ signature: [UInt8], of signed: [UInt8], by algorithm: String) -> Bool {
        guard let signer = signers[algorithm] else { return false }
        return (try? signer.verify(signature, signs: signed)) ?? false
    }

    /// All algorithms that any key can have.
    static let algorithms: Set<String> = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
        "EdDSA",
    ]

    /// The fewest bytes of a secret.
    static let secretLengthMin = 32
}

extension TokenKey {
    /// Makes a key out of a secret; nil if it is too short for any algorithm.
    ///
    /// A secret serves an algorithm whose hash is not longer than itself (RFC 7518 §3.2).
    init?(id: String? = nil, secret: [UInt8], only algorithm: String? = nil) async {
        guard secret.count >= Self.secretLengthMin else { return nil }
        let key = HMACKey(from: secret)
        let fitting = Self.digests.filter { $0.length <= secret.count }
        var signers: [String: any JWTAlgorithm] = [:]
        for (name, digest, _) in fitting where algorithm.map({ $0 == "HS" + name }) ?? true {
            signers["HS" + name] = await Self.signer { await $0.add(hmac: key, digestAlgorithm: digest) }
        }
        self.init(id: id, signers: signers)
    }

    /// Makes a key out of an RSA key of at least 2,048 bits.
    init(id: String? = nil, rsa key: Insecure.RSA.PublicKey, only algorithm: String? = nil) async {
        var signers: [String: any JWTAlgorithm] = [:]
        for (name, digest, _) in Self.digests {
            signers["RS" + name] = await Self.signer { await $0.add(rsa: key, digestAlgorithm: digest) }
            signers["PS" + name] = await Self.signer { await $0.add(pss: key, digestAlgorithm: digest) }
        }
        self.init(id: id, signers: signers.filter { algorithm == nil || $0.key == algorithm })
    }

    /// Makes a key out of a key of a curve, which has one algorithm.
    init(id: String? = nil, ecdsa key: some ECDSAKey, only algorithm: String? = nil) async {
        let signer = await Self.signer { await $0.add(ecdsa: key) }
        self.init(id: id, one: signer, only: algorithm)
    }

    /// Makes a key out of an Ed25519 key.
    init(id: String? = nil, eddsa key: EdDSA.PublicKey, only algorithm: String? = nil) async {
        let signer = await Self.signer { await $0.add(eddsa: key) }
        self.init(id: id, one: signer, only: algorithm)
    }

    private init(id: String?, one signer: (any JWTAlgorithm)?, only algorithm: String?) {
        guard let signer, algorithm == nil || signer.name == algorithm else {
            self.init(id: id, signers: [:])
            return
        }
        self.init(id: id, signers: [signer.name: signer])
    }

    /// The hashes that names of algorithms end with, and the bytes of each.
    private static let digests: [(name: String, digest: DigestAlgorithm, length: Int)] = [
        ("256", .sha256, 32), ("384", .sha384, 48), ("512", .sha512, 64),
    ]

    /// The signer of a collection that has one key: jwt-kit hands its signers out by collections alone.
    private static func signer(_ add: (JWTKeyCollection) async -> Void) async -> (any JWTAlgorithm)? {
        let collection = JWTKeyCollection()
        await add(collection)
        return try? await collection.getKey()
    }
}

/// What is wrong with a file or a document of keys, in words that hold nothing of the keys.
struct KeyFault: Error, Sendable, CustomStringConvertible {
    /// What is wrong.
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
