import Synchronization
import Testing

@testable import Herald

@Suite struct IdempotencyTests {
    private let start = ContinuousClock.now

    private func answer(
        _ cache: IdempotencyCache, _ text: String, content: Int = 1, after: Duration = .zero, body: String
    ) throws -> IdempotencyCache.Answer {
        let key = IdempotencyKey(text: text, fingerprint: content)
        return try cache.answer(to: key, at: start + after) { () throws(Problem) -> [UInt8] in Array(body.utf8) }
    }

    @Test func `a repeated request gets the first answer`() throws {
        let cache = IdempotencyCache(window: .seconds(10), limit: 10)
        #expect(try answer(cache, "k", body: "one") == .first(Array("one".utf8)))
        #expect(try answer(cache, "k", after: .seconds(9), body: "two") == .repeated(Array("one".utf8)))
    }

    @Test func `a key with other content is a conflict and publishes nothing`() throws {
        let cache = IdempotencyCache(window: .seconds(10), limit: 10)
        _ = try answer(cache, "k", body: "one")
        let count = Mutex(0)
        let key = IdempotencyKey(text: "k", fingerprint: 2)
        let result = try cache.answer(to: key, at: start) { () throws(Problem) -> [UInt8] in
            count.withLock { $0 += 1 }
            return []
        }
        #expect(result == .conflict)
        #expect(count.withLock { $0 } == 0)
    }

    @Test func `a key is forgotten when its window is over`() throws {
        let cache = IdempotencyCache(window: .seconds(10), limit: 10)
        _ = try answer(cache, "k", body: "one")
        #expect(try answer(cache, "k", content: 2, after: .seconds(10), body: "two") == .first(Array("two".utf8)))
        #expect(cache.count == 1)
    }

    @Test func `a refused publish does not use up its key`() throws {
        let cache = IdempotencyCache(window: .seconds(10), limit: 10)
        let key = IdempotencyKey(text: "k", fingerprint: 1)
        #expect(throws: Problem.self) {
            try cache.answer(to: key, at: start) { () throws(Problem) -> [UInt8] in throw Problem(.memoryLimit, "x") }
        }
        #expect(try answer(cache, "k", body: "one") == .first(Array("one".utf8)))
    }

    @Test func `one key past the bound forgets the oldest`() throws {
        let cache = IdempotencyCache(window: .seconds(10), limit: 3)
        for key in ["a", "b", "c", "d"] { _ = try answer(cache, key, body: key) }
        #expect(cache.count == 3)
        #expect(try answer(cache, "b", body: "again") == .repeated(Array("b".utf8)))
        #expect(try answer(cache, "a", body: "again") == .first(Array("again".utf8)))
    }

    @Test func `answers are bounded by bytes too`() throws {
        let cache = IdempotencyCache(window: .seconds(10), limit: 1000, byteLimit: 10_000)
        for number in 0..<100 { _ = try answer(cache, "k\(number)", body: String(repeating: "x", count: 1000)) }
        #expect(cache.count < 10)
    }

    @Test func `many keys over many windows stay within the bound`() throws {
        let cache = IdempotencyCache(window: .milliseconds(50), limit: 20_000)
        for number in 0..<5000 {
            _ = try answer(cache, "k\(number)", after: .milliseconds(number), body: "x")
        }
        // Each of the shards lets go of what has expired when it is asked again.
        #expect(cache.count < 5000 / 4)
    }

    @Test func `a limit of none remembers nothing`() throws {
        let cache = IdempotencyCache(window: .seconds(10), limit: 0)
        _ = try answer(cache, "k", body: "one")
        #expect(try answer(cache, "k", body: "two") == .first(Array("two".utf8)))
    }

    @Test func `requests of one key at the same time publish once`() async throws {
        let cache = IdempotencyCache(window: .seconds(10), limit: 100_000)
        let published = Published()
        let now = start
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<64 {
                group.addTask {
                    let key = IdempotencyKey(text: "k", fingerprint: 1)
                    _ = try? cache.answer(to: key, at: now) { () throws(Problem) -> [UInt8] in
                        published.count.add(1, ordering: .relaxed)
                        return []
                    }
                }
            }
        }
        #expect(published.count.load(ordering: .relaxed) == 1)
    }

    private final class Published: Sendable {
        let count = Atomic(0)
    }
}
