import Crypto
import Foundation
import HeraldCore
import JWTKit
import Synchronization
import Testing

@testable import Herald

@Suite struct TokenVerifierTests {
    private let files: TestFiles
    private let now = TestTokens.now

    init() throws { files = try TestFiles() }

    @Test func `a token of the secret is good`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        let grant = try await verifier.verify(TestTokens.signed(TestTokens.payload(#""sub":"alice""#)), at: now)
        #expect(grant.subject == "alice")
        #expect(grant.publish.allows(topic: try TopicName("a/b")))
        #expect(verifier.isConfigured)
        #expect(verifier.counts.verified == 1)
    }

    @Test func `a token of another secret is not`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        let other = [UInt8](repeating: 1, count: 64)
        #expect(await verifier.fault(TestTokens.signed(TestTokens.payload(), secret: other)) == .badSignature)
        #expect(verifier.counts.faults == [.badSignature: 1])
    }

    @Test(arguments: [
        (#"{"alg":"none"}"#, TokenFault.unsupportedAlgorithm), (#"{"alg":"None"}"#, .unsupportedAlgorithm),
        (#"{"alg":"RS256"}"#, .unsupportedAlgorithm), (#"{"alg":"hs256"}"#, .unsupportedAlgorithm),
        (#"{"alg":"HS256","crit":["exp"]}"#, .criticalHeader), (#"{"alg":"HS256","crit":null}"#, .criticalHeader),
        (#"{"alg":"HS512"}"#, .badSignature), (#"{"alg":1}"#, .malformed), ("{}", .malformed), ("[]", .malformed),
        (#"{"alg":"HS256","alg":"HS256"}"#, .malformed), (#"{"alg":"HS256","kid":1}"#, .malformed), ("", .malformed),
        (#"{"alg":"HS256","x":1e300,"y":[[[[]]]]}"#, nil), (#"{"alg":"HS256","kid":"any"}"#, nil),
    ])
    func `a header chooses among the keys and no more`(header: String, fault: TokenFault?) async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        #expect(await verifier.fault(TestTokens.signed(TestTokens.payload(), header: header)) == fault)
    }

    @Test func `no token is good without a signature`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        let token = TestTokens.signed(TestTokens.payload())
        let unsigned = token.prefix(through: try #require(token.lastIndex(of: ".")))
        #expect(await verifier.fault(String(unsigned)) == .badSignature)
        #expect(await verifier.fault(String(unsigned.dropLast())) == .malformed)
        #expect(await verifier.fault(token + ".") == .malformed)
        #expect(await verifier.fault(token + "=") == .malformed)
        #expect(await verifier.fault("") == .malformed)
        #expect(await verifier.fault(String(repeating: "a", count: TokenFault.lengthMax + 1)) == .tooLong)
    }

    @Test func `the public key's text is no secret`() async throws {
        let key = P256.Signing.PrivateKey()
        let pem = key.publicKey.pemRepresentation
        var settings = ServerSettings()
        settings.tokenKeyFiles = [try files.write("key.pem", pem)]
        let verifier = try await TokenVerifier(settings, TestTokens.logger)
        for text in [pem, pem + "\n", String(pem.dropLast())] {
            let forged = TestTokens.signed(TestTokens.payload(), secret: Array(text.utf8))
            #expect(await verifier.fault(forged) == .unsupportedAlgorithm)
        }
        let good = try TestTokens.signed(TestTokens.payload(), header: #"{"alg":"ES256"}"#, key: key)
        #expect(await verifier.fault(good) == nil)
        settings.tokenSecretFile = settings.tokenKeyFiles[0]
        settings.tokenKeyFiles = []
        await #expect(throws: StartFailure.self) { try await TokenVerifier(settings, TestTokens.logger) }
    }

    @Test func `dates count to the second, with leeway`() async throws {
        let token = TestTokens.signed(TestTokens.payload(#""exp":1000,"nbf":500"#))
        let strict = try await TokenVerifier.ofSecret(files)
        #expect(await strict.fault(token, at: 499) == .notYetValid)
        #expect(await strict.fault(token, at: 500) == nil)
        #expect(await strict.fault(token, at: 999) == nil)
        #expect(await strict.fault(token, at: 1000) == .expired)
        let lenient = try await TokenVerifier.ofSecret(files) { $0.tokenLeeway = .seconds(5) }
        #expect(await lenient.fault(token, at: 495) == nil)
        #expect(await lenient.fault(token, at: 1004) == nil)
        #expect(await lenient.fault(token, at: 1005) == .expired)
        #expect(lenient.end(of: Grant(expiry: 1000)) == 1005)
    }

    @Test func `issuer and audience are checked when they are set`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files) { ($0.tokenIssuer, $0.tokenAudience) = ("us", "them") }
        func fault(_ claims: String) async -> TokenFault? {
            await verifier.fault(TestTokens.signed(TestTokens.payload(claims)))
        }
        #expect(await fault(#""iss":"us","aud":"them""#) == nil)
        #expect(await fault(#""iss":"us","aud":["others","them"]"#) == nil)
        #expect(await fault(#""iss":"me","aud":"them""#) == .wrongIssuer)
        #expect(await fault(#""aud":"them""#) == .wrongIssuer)
        #expect(await fault(#""iss":"us","aud":["others"]"#) == .wrongAudience)
        #expect(await fault(#""iss":"us""#) == .wrongAudience)
    }

    @Test(arguments: [(31, 0), (32, 1), (47, 1), (48, 2), (63, 2), (64, 3)])
    func `a secret serves what it is long enough for`(length: Int, count: Int) async throws {
        let key = await TokenKey(secret: [UInt8](repeating: 7, count: length))
        #expect((key?.signers.count ?? 0) == count)
        var settings = ServerSettings()
        settings.tokenSecretFile = try files.write("secret", [UInt8](repeating: 7, count: length) + [0x0D, 0x0A])
        let isUsable = (try? await TokenVerifier(settings, TestTokens.logger)) != nil
        #expect(isUsable == (count > 0))
    }

    @Test func `a file that cannot be used is named without what it holds`() async throws {
        for (name, text) in [("short", "hunter2"), ("private", P256.Signing.PrivateKey().pemRepresentation)] {
            var settings = ServerSettings()
            let path = try files.write(name, text)
            if name == "short" { settings.tokenSecretFile = path } else { settings.tokenKeyFiles = [path] }
            let failure = await #expect(throws: StartFailure.self) {
                try await TokenVerifier(settings, TestTokens.logger)
            }
            #expect(failure?.description.contains(path) == true)
            #expect(failure?.description.contains(text.prefix(30)) == false)
        }
    }

    @Test func `a new secret replaces the old one, and a bad one does not`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        let (old, new) = (TestTokens.signed(TestTokens.payload()), [UInt8](repeating: 9, count: 40))
        let fresh = TestTokens.signed(TestTokens.payload(), secret: new)
        #expect(await verifier.fault(old) == nil)
        #expect(await verifier.fault(fresh) == .badSignature)
        try files.write("secret", "too short")
        await verifier.reload(because: "a test")
        #expect(await verifier.fault(old) == nil)
        try files.write("secret", new)
        await verifier.reload(because: "a test")
        #expect(old.withBytes { verifier.cached($0, at: now) } == nil)
        #expect(fresh.withBytes { verifier.cached($0, at: now) } == nil)
        #expect(await verifier.fault(fresh) == nil)
        #expect(await verifier.fault(old) == .badSignature)
    }

    @Test func `a file that changes is read again by itself`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        let running = Task { await verifier.run() }
        let new = [UInt8](repeating: 9, count: 40)
        try files.write("secret", new)
        let fresh = TestTokens.signed(TestTokens.payload(), secret: new)
        while await verifier.fault(fresh) != nil { try await Task.sleep(for: .milliseconds(50)) }
        running.cancel()
        await running.value
    }
}

@Suite struct TokenRemembranceTests {
    private let files: TestFiles
    private let now = TestTokens.now

    init() throws { files = try TestFiles() }

    private func cached(_ verifier: TokenVerifier, _ token: String, at now: Int64) -> Result<Grant, TokenFault>? {
        token.withBytes { verifier.cached($0, at: now) }
    }

    @Test func `a good token is known until it expires`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        let token = TestTokens.signed(TestTokens.payload(#""exp":\#(now + 100)"#))
        #expect(cached(verifier, token, at: now) == nil)
        let grant = try await verifier.verify(token, at: now)
        #expect(try cached(verifier, token, at: now + 99)?.get() === grant)
        #expect(throws: TokenFault.expired) { try cached(verifier, token, at: now + 100)?.get() }
        #expect(verifier.counts.cacheHits == 2)
        #expect(verifier.counts.cachedCount == 1)
    }

    @Test func `a token that is too early is known, too`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        let token = TestTokens.signed(TestTokens.payload(#""nbf":\#(now + 100)"#))
        #expect(await verifier.fault(token) == .notYetValid)
        #expect(throws: TokenFault.notYetValid) { try cached(verifier, token, at: now + 99)?.get() }
        #expect(try cached(verifier, token, at: now + 100)?.get() != nil)
    }

    @Test func `a bad token is known for a short time`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        let token = TestTokens.signed(TestTokens.payload(), secret: [UInt8](repeating: 1, count: 40))
        #expect(await verifier.fault(token) == .badSignature)
        #expect(throws: TokenFault.badSignature) { try cached(verifier, token, at: now + 9)?.get() }
        #expect(cached(verifier, token, at: now + 10) == nil)
    }

    @Test func `nothing is remembered without a cache, nor of what is too long`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files) { $0.tokenCache = 0 }
        let token = TestTokens.signed(TestTokens.payload())
        _ = try await verifier.verify(token, at: now)
        #expect(cached(verifier, token, at: now) == nil)
        let long = String(repeating: "a", count: TokenFault.lengthMax + 1)
        #expect(throws: TokenFault.tooLong) { try cached(verifier, long, at: now)?.get() }
    }

    @Test(arguments: [1, 7, 16, 100])
    func `the cache keeps what it may, and what is used`(capacity: Int) {
        let cache = TokenCache(entryCountMax: capacity)
        let used = TokenDigest("used")
        cache.insert(.grant(Grant(subject: "used")), for: used, generation: 1)
        for index in 0..<1000 {
            if capacity == 100 { #expect(cache.find(used, generation: 1) != nil) }
            cache.insert(.grant(Grant()), for: TokenDigest("\(index)"), generation: 1)
        }
        #expect(cache.count == capacity)
        cache.removeAll()
        #expect(cache.count == 0)
    }

    @Test func `bad tokens do not push out good ones`() {
        let cache = TokenCache(entryCountMax: 16)
        let good = TokenDigest("good")
        cache.insert(.grant(Grant()), for: good, generation: 1)
        for index in 0..<1000 {
            cache.insert(.fault(.badSignature, until: 10), for: TokenDigest("\(index)"), generation: 1)
        }
        #expect(cache.find(good, generation: 1) != nil)
        #expect(cache.find(good, generation: 2) == nil)
    }

    @Test func `a digest is the SHA-256`() throws {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        #expect(TokenDigest("abc").hexadecimal == text)
        #expect(TokenDigest(hexadecimal: text.uppercased()) == TokenDigest("abc"))
        #expect(TokenDigest("abd") != TokenDigest("abc"))
        for bad in ["", String(text.dropLast()), text + "0", "+" + text.dropFirst(), "g" + text.dropFirst()] {
            #expect(TokenDigest(hexadecimal: bad) == nil)
        }
    }
}

@Suite struct TokenKeyTests {
    private let files: TestFiles

    init() throws { files = try TestFiles() }

    private func verifier(keys text: some Sequence<UInt8>) async throws -> TokenVerifier {
        var settings = ServerSettings()
        settings.tokenKeyFiles = [try files.write("keys", text)]
        return try await TokenVerifier(settings, TestTokens.logger)
    }

    @Test func `each kind of key checks its own tokens and no others`() async throws {
        let request = {
            var request = TokenRequest()
            request.publish = ["a"]
            return request
        }()
        let pairs: [(String, [String])] = [
            (P256.Signing.PrivateKey().pemRepresentation, ["ES256"]),
            (P384.Signing.PrivateKey().pemRepresentation, ["ES384"]),
            (P521.Signing.PrivateKey().pemRepresentation, ["ES512"]),
            (try EdDSA.PrivateKey().pemRepresentation, ["EdDSA"]),
            (try TestKeys.rsa(), ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        ]
        var tokens: [(index: Int, token: String)] = []
        var verifiers: [TokenVerifier] = []
        for (index, (pem, algorithms)) in pairs.enumerated() {
            let path = try files.write("private\(index)", pem)
            for algorithm in algorithms {
                let maker = try await TokenMaker(keyFile: path, algorithm: algorithm)
                tokens.append((index, try await maker.make(request)))
            }
            verifiers.append(try await verifier(keys: try TestKeys.publicPEM(ofPrivate: pem).utf8))
        }
        for (owner, verifier) in verifiers.enumerated() {
            for (index, token) in tokens {
                let fault = await verifier.fault(token)
                #expect(fault == (owner == index ? nil : .unsupportedAlgorithm), "\(owner) \(token)")
            }
        }
    }

    @Test func `an RSA key of less than 2048 bits is refused`() async throws {
        let pem = TestKeys.shortRSA
        await #expect(throws: StartFailure.self) { try await verifier(keys: pem.utf8) }
    }

    @Test func `a file may hold several keys`() async throws {
        let (one, other) = (P256.Signing.PrivateKey(), P256.Signing.PrivateKey())
        let both = "first\n" + one.publicKey.pemRepresentation + "\nsecond\n" + other.publicKey.pemRepresentation
        let verifier = try await verifier(keys: both.utf8)
        #expect(verifier.counts.keyCount == 2)
        for key in [one, other] {
            let token = try TestTokens.signed(TestTokens.payload(), header: #"{"alg":"ES256"}"#, key: key)
            #expect(await verifier.fault(token) == nil)
        }
    }

    @Test func `a key of a set is used by its name and for its algorithm`() async throws {
        let key = P256.Signing.PrivateKey()
        let verifier = try await verifier(keys: TestTokens.keySet(key.publicKey, id: "k1", more: #","alg":"ES256""#))
        func fault(_ header: String) async throws -> TokenFault? {
            await verifier.fault(try TestTokens.signed(TestTokens.payload(), header: header, key: key))
        }
        #expect(try await fault(#"{"alg":"ES256","kid":"k1"}"#) == nil)
        #expect(try await fault(#"{"alg":"ES256"}"#) == nil)
        #expect(try await fault(#"{"alg":"ES256","kid":"k2"}"#) == .unknownKey)
        #expect(try await fault(#"{"alg":"ES384","kid":"k1"}"#) == .unsupportedAlgorithm)
    }

    @Test(arguments: [
        #","alg":"ES384""#, #","use":"enc""#, #","key_ops":["sign"]"#, #","alg":1"#, #","alg":"none""#,
        #","alg":"HS256""#,
    ])
    func `a key that is not for checking tokens is passed over`(more: String) async throws {
        let set = TestTokens.keySet(P256.Signing.PrivateKey().publicKey, id: "k", more: more)
        await #expect(throws: KeyFault.self) { try await KeySet(set, acceptsSecrets: true) }
    }

    @Test func `a secret in a set counts in files alone`() async throws {
        let set = Array(#"{"keys":[{"kty":"oct","k":"\#(Base64URL.encode(TestTokens.secret))"}]}"#.utf8)
        #expect(try await KeySet(set, acceptsSecrets: true).keys.count == 1)
        await #expect(throws: KeyFault.self) { try await KeySet(set, acceptsSecrets: false) }
    }

    @Test func `keys that cannot be used do not take the others with them`() async throws {
        let good = String(decoding: TestTokens.keySet(P256.Signing.PrivateKey().publicKey, id: "k"), as: UTF8.self)
        let bad = #"{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"X"},1,"#
        let set = try await KeySet(Array(good.replacing("[{", with: "[" + bad + "{").utf8), acceptsSecrets: false)
        #expect(set.keys.count == 1)
        #expect(set.skipped.count == 4)
    }

    @Test(arguments: ["", "{}", "[]", #"{"keys":{}}"#, #"{"keys":[]}"#, "{", "-----BEGIN PUBLIC KEY-----", "nonsense"])
    func `a document without keys is refused`(text: String) async {
        await #expect(throws: KeyFault.self) { try await KeyDocument.keys(Array(text.utf8)) }
    }
}
