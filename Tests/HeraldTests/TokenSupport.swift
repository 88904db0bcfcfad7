import Crypto
import CryptoExtras
import Foundation
import JWTKit
import Logging

@testable import Herald

/// The secrets and the time of these tests.
enum TestTokens {
    static let secret = Array("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".utf8)
    static let now: Int64 = 1_700_000_000

    /// A token with any header and payload, signed as HS256 asks for.
    static func signed(
        _ payload: String, header: String = #"{"alg":"HS256","typ":"JWT"}"#, secret: [UInt8] = secret
    ) -> String {
        let text = Base64URL.encode(header.utf8) + "." + Base64URL.encode(payload.utf8)
        return text + "." + Base64URL.encode(code(text, secret))
    }

    /// The same, signed with a curve's key.
    static func signed(_ payload: String, header: String, key: P256.Signing.PrivateKey) throws -> String {
        let text = Base64URL.encode(header.utf8) + "." + Base64URL.encode(payload.utf8)
        return text + "." + Base64URL.encode(try key.signature(for: Data(text.utf8)).rawRepresentation)
    }

    private static func code(_ text: String, _ secret: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: SymmetricKey(data: secret)))
    }

    /// A payload of a claim `herald`.
    static func payload(_ more: String = "") -> String {
        #"{"herald":{"publish":["a/*"],"subscribe":["a/**"]}\#(more.isEmpty ? "" : ",\(more)")}"#
    }

    /// A key set of one curve's key.
    static func keySet(_ key: P256.Signing.PublicKey, id: String, more: String = "") -> [UInt8] {
        let raw = key.rawRepresentation
        let (x, y) = (Base64URL.encode(raw.prefix(32)), Base64URL.encode(raw.suffix(32)))
        return Array(#"{"keys":[{"kty":"EC","crv":"P-256","x":"\#(x)","y":"\#(y)","kid":"\#(id)"\#(more)}]}"#.utf8)
    }

    /// A logger that writes nothing.
    static var logger: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }
}

/// Files of a test, in a folder of their own that goes with them.
final class TestFiles {
    let folder = NSTemporaryDirectory() + "herald-\(UUID().uuidString)/"

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Writes a file, as a whole, and answers its path.
    @discardableResult
    func write(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
        try Data(bytes).write(to: URL(filePath: folder + name), options: .atomic)
        return folder + name
    }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String { try write(name, text.utf8) }
}

extension TokenVerifier {
    /// A verifier with the tests' secret.
    static func ofSecret(_ files: TestFiles, _ change: (inout ServerSettings) -> Void = { _ in }) async throws
        -> TokenVerifier
    {
        var settings = ServerSettings()
        settings.tokenSecretFile = try files.write("secret", TestTokens.secret + [0x0A])
        change(&settings)
        return try await TokenVerifier(settings, TestTokens.logger)
    }

    /// Why a token is refused; nil when it is good.
    func fault(_ token: String, at now: Int64 = TestTokens.now) async -> TokenFault? {
        do throws(TokenFault) {
            _ = try await verify(token, at: now)
            return nil
        } catch {
            return error
        }
    }
}

/// Keys of the kinds that are slow to make or that no library makes any more.
enum TestKeys {
    /// A new RSA key.
    static func rsa() throws -> String {
        try _RSA.Signing.PrivateKey(keySize: .bits2048).pemRepresentation
    }

    /// A public RSA key of 1,024 bits.
    static let shortRSA = """
        -----BEGIN PUBLIC KEY-----
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCY9rYq3PWH08Y2FOJEx5hJYEfz
        fPJ5JXFd3qVP/0hOUdqxu+i7X5EbSqCPURXQ0ezs6XraSGp08e9Ds0KB36Mu9vxZ
        SD4OzfsAgNnhxWp/1dopCoGkkxYf+Hpxf2CePFh6BiQHh4YBPQb283Y668wk2Z5w
        l2td9e7O1gowUjwxiwIDAQAB
        -----END PUBLIC KEY-----

        """

    /// The public half of a private key.
    static func publicPEM(ofPrivate pem: String) throws -> String {
        if let key = try? ES256PrivateKey(pem: pem) { return key.publicKey.pemRepresentation }
        if let key = try? ES384PrivateKey(pem: pem) { return key.publicKey.pemRepresentation }
        if let key = try? ES512PrivateKey(pem: pem) { return key.publicKey.pemRepresentation }
        if let key = try? EdDSA.PrivateKey(pem: pem) { return key.publicKey.pemRepresentation }
        return try JWTKit.Insecure.RSA.PrivateKey(pem: pem).publicKey.pemRepresentation
    }
}
