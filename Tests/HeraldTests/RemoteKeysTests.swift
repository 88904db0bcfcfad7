import Crypto
import Foundation
import HeraldCore
import Synchronization
import Testing

@testable import Herald

/// A document of keys that a test changes, and what was asked for it.
private final class Source: Sendable {
    private let state = Mutex<(answers: [Result<RemoteKeys.Answer, KeyFault>], tags: [String?])>(([], []))

    /// Sets what the next fetches bring; the last answer stays.
    func answer(_ answers: [Result<RemoteKeys.Answer, KeyFault>]) {
        state.withLock { $0.answers = answers }
    }

    func answer(_ document: [UInt8], tag: String? = nil, maxAge: Duration? = nil) {
        answer([.success(RemoteKeys.Answer(document: document, entityTag: tag, maxAge: maxAge))])
    }

    /// The entity tags that came with the fetches so far.
    var tags: [String?] { state.withLock { $0.tags } }

    func fetch(_ tag: String?) throws(KeyFault) -> RemoteKeys.Answer {
        let answer = state.withLock { state in
            state.tags.append(tag)
            return state.answers.count > 1 ? state.answers.removeFirst() : state.answers.first
        }
        guard let answer else { throw KeyFault("nobody is there") }
        return try answer.get()
    }
}

@Suite struct RemoteKeysTests {
    private let source = Source()
    private let key = P256.Signing.PrivateKey()
    private let now = TestTokens.now

    private func verifier(gap: Duration = .zero) async throws -> TokenVerifier {
        var settings = ServerSettings()
        settings.tokenJWKS = "http://127.0.0.1:1/keys"
        let source = source
        return try await TokenVerifier(settings, TestTokens.logger, unknownKeyGap: gap) { tag throws(KeyFault) in
            try source.fetch(tag)
        }
    }

    private func token(_ id: String = "k1", key: P256.Signing.PrivateKey? = nil) throws -> String {
        try TestTokens.signed(TestTokens.payload(), header: #"{"alg":"ES256","kid":"\#(id)"}"#, key: key ?? self.key)
    }

    @Test func `without any keys nobody can tell, and later somebody can`() async throws {
        let verifier = try await verifier()
        #expect(await verifier.fault(try token()) == .keysUnavailable)
        #expect(try token().withBytes { verifier.cached($0, at: now) } == nil)
        #expect(await verifier.fault("nonsense") == .malformed)
        source.answer(TestTokens.keySet(key.publicKey, id: "k1"))
        #expect(await verifier.fault(try token()) == nil)
        #expect(verifier.counts.fetches == RemoteKeys.Counts(fetched: 2, failed: 1))
    }

    @Test func `a key that is not there yet is fetched, but not for each token`() async throws {
        source.answer(TestTokens.keySet(key.publicKey, id: "k1"))
        let verifier = try await verifier(gap: .seconds(3600))
        #expect(await verifier.fetchKeys())
        let next = P256.Signing.PrivateKey()
        source.answer(TestTokens.keySet(next.publicKey, id: "k2"))
        for index in 0..<20 {
            #expect(await verifier.fault(try token("k2", key: next)) == .unknownKey, "\(index)")
        }
        #expect(source.tags.count == 1)
        let eager = try await self.verifier(gap: .zero)
        source.answer(TestTokens.keySet(key.publicKey, id: "k1"))
        #expect(await eager.fetchKeys())
        source.answer(TestTokens.keySet(next.publicKey, id: "k2"))
        #expect(await eager.fault(try token("k2", key: next)) == nil)
        #expect(await eager.fault(try token("k1")) == .unknownKey)
    }

    @Test func `a key that was taken out of the set works no more`() async throws {
        source.answer(TestTokens.keySet(key.publicKey, id: "k1"))
        let verifier = try await verifier(gap: .seconds(3600))
        #expect(await verifier.fetchKeys())
        let token = try token()
        _ = try await verifier.verify(token, at: now)
        #expect(token.withBytes { verifier.cached($0, at: now) } != nil)
        source.answer(TestTokens.keySet(P256.Signing.PrivateKey().publicKey, id: "k2"))
        #expect(await verifier.fetchKeys())
        #expect(token.withBytes { verifier.cached($0, at: now) } == nil)
        #expect(await verifier.fault(token) == .unknownKey)
    }

    @Test func `a fetch that fails takes no key away`() async throws {
        source.answer(TestTokens.keySet(key.publicKey, id: "k1"))
        let verifier = try await verifier()
        #expect(await verifier.fetchKeys())
        for bad in [Array("{}".utf8), Array("nonsense".utf8), []] {
            source.answer(bad)
            #expect(await !verifier.fetchKeys())
        }
        source.answer([.failure(KeyFault("nobody is there"))])
        #expect(await !verifier.fetchKeys())
        #expect(await verifier.fault(try token()) == nil)
        #expect(verifier.counts.fetches == RemoteKeys.Counts(fetched: 5, failed: 4))
    }

    @Test func `the entity tag is given back, and a document that is the same changes nothing`() async throws {
        source.answer(TestTokens.keySet(key.publicKey, id: "k1"), tag: "\"1\"")
        let verifier = try await verifier()
        #expect(await verifier.fetchKeys())
        let token = try token()
        _ = try await verifier.verify(token, at: now)
        source.answer([.success(RemoteKeys.Answer(document: nil, entityTag: nil, maxAge: nil))])
        #expect(await verifier.fetchKeys())
        source.answer(TestTokens.keySet(key.publicKey, id: "k1"), tag: "\"2\"")
        #expect(await verifier.fetchKeys())
        #expect(await verifier.fetchKeys())
        #expect(source.tags == [nil, "\"1\"", "\"1\"", "\"2\""])
        #expect(token.withBytes { verifier.cached($0, at: now) } != nil)
    }

    @Test func `keys are fetched when they are old, and soon after a failure`() async throws {
        let source = source
        let remote = RemoteKeys(interval: .seconds(300), logger: TestTokens.logger) { tag throws(KeyFault) in
            try source.fetch(tag)
        } use: { _ in
        }
        var delays: [Duration] = []
        for _ in 0..<7 {
            await remote.refresh()
            delays.append(await remote.delay)
        }
        #expect(delays == [1, 2, 4, 8, 16, 30, 30].map { .seconds($0) })
        let document = TestTokens.keySet(key.publicKey, id: "k1")
        for (maxAge, delay) in [(nil, 300), (60, 60), (1, 10), (86_400, 300)] as [(Int?, Int)] {
            source.answer(document, maxAge: maxAge.map { .seconds($0) })
            await remote.refresh()
            #expect(await remote.delay == .seconds(delay))
        }
        source.answer([.failure(KeyFault("nobody is there"))])
        await remote.refresh()
        #expect(await remote.delay == .seconds(30))
    }

    @Test(arguments: [
        (["max-age=60"], 60), (["public", "Max-Age=5"], 5), (["no-store"], nil), (["max-age=x"], nil),
        (["max-age"], nil),
        (["max-age=99999999999"], 31_536_000), (["max-age=-1"], nil), ([], nil),
    ])
    func `the age of an answer is read`(items: [String], seconds: Int?) {
        #expect(KeyFetcher.maxAge(items) == seconds.map { .seconds($0) })
    }
}
