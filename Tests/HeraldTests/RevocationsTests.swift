import Synchronization
import Testing

@testable import Herald

@Suite struct RevocationsTests {
    private func entry(_ target: Revocations.Target, issuedUntil: Int64 = 100, keptUntil: Int64 = 200)
        -> Revocations.Entry
    {
        Revocations.Entry(target: target, issuedUntil: issuedUntil, keptUntil: keptUntil)
    }

    @Test func `nothing is revoked by itself`() {
        let revocations = Revocations(limit: 10)
        #expect(!revocations.covers(Grant(subject: "alice", tokenID: "1")))
        #expect(!revocations.covers(Grant()))
        #expect(revocations.entryCount == 0)
    }

    @Test func `a token is revoked by its id, whenever it was made`() {
        let revocations = Revocations(limit: 10)
        #expect(revocations.add(entry(.token("1")), at: 100))
        #expect(revocations.covers(Grant(subject: "alice", tokenID: "1", issuedAt: 500)))
        #expect(!revocations.covers(Grant(subject: "alice", tokenID: "2")))
        #expect(!revocations.covers(Grant(subject: "1")), "an id is no subject")
        #expect(!revocations.covers(Grant(subject: "alice")))
    }

    @Test(arguments: [(99, true), (100, true), (101, false), (nil, true)] as [(Int64?, Bool)])
    func `a subject's tokens are revoked up to a second`(issuedAt: Int64?, isRevoked: Bool) {
        let revocations = Revocations(limit: 10)
        #expect(revocations.add(entry(.subject("alice")), at: 100))
        #expect(revocations.covers(Grant(subject: "alice", tokenID: "1", issuedAt: issuedAt)) == isRevoked)
        #expect(!revocations.covers(Grant(subject: "bob", tokenID: "alice", issuedAt: issuedAt)))
    }

    @Test func `there are as many as the limit and not one more`() {
        let revocations = Revocations(limit: 2)
        #expect(revocations.add(entry(.token("1")), at: 100))
        #expect(revocations.hasRoom(for: .token("2"), at: 100))
        #expect(revocations.add(entry(.token("2")), at: 100))
        #expect(!revocations.hasRoom(for: .token("3"), at: 100))
        #expect(!revocations.add(entry(.token("3")), at: 100))
        #expect(!revocations.covers(Grant(tokenID: "3")))
        #expect(revocations.entryCount == 2)
    }

    @Test func `a limit of none takes none`() {
        let revocations = Revocations(limit: 0)
        #expect(!revocations.hasRoom(for: .token("1"), at: 0) && !revocations.add(entry(.token("1")), at: 0))
    }

    @Test func `what has lapsed makes room`() {
        let revocations = Revocations(limit: 2)
        #expect(revocations.add(entry(.token("1"), keptUntil: 150), at: 100))
        #expect(revocations.add(entry(.token("2"), keptUntil: 151), at: 100))
        #expect(!revocations.hasRoom(for: .token("3"), at: 149))
        #expect(revocations.hasRoom(for: .token("3"), at: 150))
        #expect(revocations.entryCount == 1, "what was forgotten is not counted")
        #expect(revocations.add(entry(.token("3")), at: 150))
        #expect(!revocations.covers(Grant(tokenID: "1")) && revocations.covers(Grant(tokenID: "2")))
        #expect(revocations.add(entry(.token("4")), at: 151))
        #expect(!revocations.covers(Grant(tokenID: "2")) && revocations.covers(Grant(tokenID: "4")))
    }

    @Test func `the same again needs no room, and the later counts`() {
        let revocations = Revocations(limit: 1)
        #expect(revocations.add(entry(.subject("alice"), issuedUntil: 100), at: 100))
        #expect(revocations.hasRoom(for: .subject("alice"), at: 110))
        #expect(revocations.add(entry(.subject("alice"), issuedUntil: 110), at: 110))
        #expect(revocations.covers(Grant(subject: "alice", issuedAt: 105)))
        #expect(revocations.entryCount == 1)
    }

    @Test func `what has lapsed is forgotten by a sweep, at its second`() {
        let revocations = Revocations(limit: 10)
        #expect(revocations.add(entry(.token("1"), keptUntil: 150), at: 100))
        revocations.sweep(at: 149)
        #expect(revocations.covers(Grant(tokenID: "1")))
        revocations.sweep(at: 150)
        #expect(!revocations.covers(Grant(tokenID: "1")))
        #expect(revocations.entryCount == 0)
    }

    @Test func `many threads add and ask at once`() async {
        let revocations = Revocations(limit: 1000)
        let missed = Counter()
        let added = Counter()
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                group.addTask {
                    for number in 0..<200 {
                        let id = "\(worker)-\(number)"
                        let isAdded = revocations.add(
                            Revocations.Entry(target: .token(id), issuedUntil: 0, keptUntil: 200), at: 100)
                        if isAdded { added.count.add(1, ordering: .relaxed) }
                        // Whoever has added one finds it.
                        if revocations.covers(Grant(tokenID: id)) != isAdded { missed.count.add(1, ordering: .relaxed) }
                        revocations.sweep(at: Int64(number))
                    }
                }
            }
        }
        #expect(missed.count.load(ordering: .relaxed) == 0)
        #expect(added.count.load(ordering: .relaxed) == 1000)
        #expect(revocations.entryCount == 1000)
    }

    private final class Counter: Sendable {
        let count = Atomic(0)
    }
}
