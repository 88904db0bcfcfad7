import Crypto
import Foundation
import HeraldCore
import Testing

@testable import Herald

/// Tokens that somebody has tampered with, thousands of them from a fixed seed: none is good, and nothing falls over.
@Suite struct TokenFuzzTests {
    private let files: TestFiles

    init() throws { files = try TestFiles() }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `no token that was changed is good`(seed: UInt64) async throws {
        let key = P256.Signing.PrivateKey()
        let path = try files.write("keys", TestTokens.keySet(key.publicKey, id: "k1"))
        let verifier = try await TokenVerifier.ofSecret(files) {
            $0.tokenKeyFiles = [path]
            $0.tokenCache = 100
        }
        let originals = [
            TestTokens.signed(TestTokens.payload(#""sub":"alice","exp":9000000000"#)),
            try TestTokens.signed(TestTokens.payload(), header: #"{"alg":"ES256","kid":"k1"}"#, key: key),
        ]
        for token in originals { #expect(await verifier.fault(token) == nil) }
        var random = Random(state: seed)
        for round in 0..<2000 {
            let token = originals[round % 2]
            let changed = random.change(token)
            guard changed != token else { continue }
            let fault = await verifier.fault(changed)
            #expect(fault != nil, "\(changed)")
            #expect(changed.withBytes { (try? verifier.cached($0, at: TestTokens.now)?.get()) == nil })
        }
        for token in originals { #expect(await verifier.fault(token) == nil) }
    }

    @Test func `any payload that is signed is read or refused`() async throws {
        let verifier = try await TokenVerifier.ofSecret(files)
        let payload = Array(TestTokens.payload(#""sub":"alice","exp":9000000000,"aud":["a"],"mercure":{}"#).utf8)
        var random = Random(state: 4)
        var good = 0
        for _ in 0..<3000 {
            var bytes = payload
            for _ in 0...Int.random(in: 0..<3, using: &random) { random.change(&bytes) }
            let text = String(decoding: bytes, as: UTF8.self)
            switch await verifier.fault(TestTokens.signed(text)) {
            case nil: good += 1
            case .claim?, .noRights?, .expired?: break
            case let fault?: Issue.record("\(fault.text): \(text)")
            }
        }
        #expect(good > 0 && good < 3000)
    }
}

/// A generator that gives the same numbers for the same seed (Steele, Lea & Flood 2014), and changes of tokens by it.
private struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Changes a token in one of the ways that forgers try.
    mutating func change(_ token: String) -> String {
        var bytes = Array(token.utf8)
        var parts = token.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        switch Int.random(in: 0..<7, using: &self) {
        case 0: bytes[Int.random(in: bytes.indices, using: &self)] ^= 1 << UInt8.random(in: 0..<8, using: &self)
        case 1: bytes.removeLast(Int.random(in: 1...bytes.count, using: &self))
        case 2:
            parts[0] = Base64URL.encode(headers[Int.random(in: headers.indices, using: &self)].utf8)
            bytes = Array(parts.joined(separator: ".").utf8)
        case 3:
            let part = Int.random(in: 0..<3, using: &self)
            var inner = Base64URL.decode(parts[part].utf8) ?? []
            change(&inner)
            parts[part] = Base64URL.encode(inner)
            bytes = Array(parts.joined(separator: ".").utf8)
        case 4:
            parts.swapAt(Int.random(in: 0..<3, using: &self), Int.random(in: 0..<3, using: &self))
            bytes = Array(parts.joined(separator: ".").utf8)
        case 5:
            bytes.insert(UInt8.random(in: .min ... .max, using: &self), at: Int.random(in: bytes.indices, using: &self))
        default:
            parts[2] = String(parts[2].prefix(Int.random(in: 0..<parts[2].count, using: &self)))
            bytes = Array(parts.joined(separator: ".").utf8)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Changes, adds or takes away a byte.
    mutating func change(_ bytes: inout [UInt8]) {
        guard !bytes.isEmpty else { return bytes.append(0) }
        let place = Int.random(in: bytes.indices, using: &self)
        switch Int.random(in: 0..<4, using: &self) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &self)
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(bytes[Int.random(in: bytes.indices, using: &self)], at: place)
        default: bytes[place] = Array(#"{}[]",:0e-"#.utf8)[Int.random(in: 0..<10, using: &self)]
        }
    }

    private var headers: [String] {
        [
            #"{"alg":"none"}"#, #"{"alg":"NONE"}"#, #"{"alg":""}"#, #"{"alg":"RS256"}"#, #"{"alg":"ES256"}"#,
            #"{"alg":"HS512","kid":"k1"}"#, #"{"alg":"HS256","kid":"k1"}"#, #"{"alg":"ES384","kid":"k1"}"#,
            #"{"alg":"HS256","crit":[]}"#, #"{"alg":"HS256","jwk":{"kty":"oct","k":"AA"}}"#, #"{"alg":["HS256"]}"#,
            #"{"alg":"HS256","x":1e999}"#, String(repeating: "[", count: 5000), "{}", "", "null",
        ]
    }
}
