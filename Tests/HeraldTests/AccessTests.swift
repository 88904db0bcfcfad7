import Foundation
import HeraldCore
import Testing

@testable import Herald

@Suite struct AccessTests {
    private let files: TestFiles

    init() throws { files = try TestFiles() }

    private func access(_ change: (inout ServerSettings) -> Void = { _ in }) async throws -> Access {
        var settings = ServerSettings()
        change(&settings)
        return try await Access(settings, TestTokens.logger, now: { TestTokens.now })
    }

    private func entry(_ target: Revocations.Target) -> Revocations.Entry {
        Revocations.Entry(target: target, issuedUntil: TestTokens.now, keptUntil: TestTokens.now + 100)
    }

    // MARK: Settings

    @Test(arguments: [false, true])
    func `without any setting everybody may do everything`(isToldOtherwise: Bool) async throws {
        let access = try await access { $0.allowAnonymous = isToldOtherwise }
        #expect(!access.isOn && !access.counts.isOn)
        let grant = access.anonymous
        #expect(grant.source == .open)
        #expect(grant.publish.isEverything && grant.subscribe.isEverything && grant.manage.isEverything)
    }

    @Test func `with tokens whoever shows none may do nothing`() async throws {
        let secret = try files.write("secret", TestTokens.secret)
        let access = try await access { $0.tokenSecretFile = secret }
        #expect(access.isOn && access.counts.isOn)
        let grant = access.anonymous
        #expect(grant.source == .anonymous)
        #expect(grant.publish.isEmpty && grant.subscribe.isEmpty && grant.manage.isEmpty)
    }

    @Test func `a key set's URL or a file of API keys is enough to ask`() async throws {
        let file = try files.write("keys.yaml", "")
        #expect(try await access { $0.apiKeyFile = file }.isOn)
        #expect(try await access { $0.tokenJWKS = "http://127.0.0.1:1/keys" }.isOn)
    }

    @Test func `rules say what whoever shows no token may do`() async throws {
        let access = try await access {
            $0.anonymousPublish = ["in/*"]
            $0.anonymousSubscribe = ["out/**", "a"]
        }
        #expect(access.isOn)
        #expect(access.anonymous.publish.filters.map(\.text) == ["in/*"])
        #expect(access.anonymous.subscribe.filters.map(\.text) == ["out/**", "a"])
        #expect(access.anonymous.manage.isEmpty)
        let one = try await self.access { $0.anonymousSubscribe = ["a"] }
        #expect(one.isOn && one.anonymous.publish.isEmpty)
    }

    @Test func `where anybody may, nobody without a token may manage`() async throws {
        let secret = try files.write("secret", TestTokens.secret)
        let access = try await access {
            $0.tokenSecretFile = secret
            $0.allowAnonymous = true
            $0.anonymousPublish = ["narrower"]
        }
        let grant = access.anonymous
        #expect(access.isOn && grant.source == .anonymous)
        #expect(grant.publish.isEverything && grant.subscribe.isEverything && grant.manage.isEmpty)
    }

    // MARK: Revocations

    @Test func `what is wrong with the file of revocations is named with its path`() async throws {
        for (path, reason) in [
            (try files.write("bad", "{\"jti\":\"1\",\"until\":1}\nx\n"), "line 2 is no revocation"),
            (files.folder + "nowhere/file", "open: "), (files.folder, "it can't be read"),
        ] {
            let failure = await #expect(throws: StartFailure.self) { try await access { $0.revocationFile = path } }
            let text = failure?.description ?? ""
            #expect(text.hasPrefix("cannot use the revocation file \"\(path)\": \(reason)"), "\(text)")
        }
    }

    @Test func `what the file holds is revoked, up to the bound and not one more`() async throws {
        let file = RevocationFile(files.folder + "revocations")
        for id in ["1", "2"] { try file.append(entry(.token(id))) }
        // What has lapsed, and what is there twice, does not count.
        try file.append(Revocations.Entry(target: .token("0"), issuedUntil: 0, keptUntil: TestTokens.now))
        try file.append(entry(.token("2")))
        let access = try await access {
            $0.revocationFile = file.path
            $0.maxRevocations = 2
        }
        #expect(access.counts.revocations == 2)
        #expect(access.revocations.covers(Grant(tokenID: "1")) && access.revocations.covers(Grant(tokenID: "2")))
        try file.append(entry(.token("3")))
        let failure = await #expect(throws: StartFailure.self) {
            try await self.access {
                $0.revocationFile = file.path
                $0.maxRevocations = 2
            }
        }
        #expect(failure?.description.contains("more than max-revocations, 2") == true, "\(failure?.description ?? "")")
    }

    @Test func `a revocation that was made outlives the server`() async throws {
        let path = files.folder + "revocations"
        let first = try await access { $0.revocationFile = path }
        try first.revoke(entry(.subject("alice")))
        #expect(first.revocations.covers(Grant(subject: "alice")))
        let second = try await access { $0.revocationFile = path }
        #expect(second.revocations.covers(Grant(subject: "alice", issuedAt: TestTokens.now)))
        #expect(!second.revocations.covers(Grant(subject: "alice", issuedAt: TestTokens.now + 1)))
    }

    @Test func `nothing is revoked that could not be written down`() async throws {
        let path = files.folder + "revocations"
        let access = try await access { $0.revocationFile = path }
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/full")
        let problem = #expect(throws: Problem.self) { try access.revoke(entry(.token("1"))) }
        #expect(problem?.kind == .internalError)
        #expect(!access.revocations.covers(Grant(tokenID: "1")))
    }

    @Test func `however many revoke at once, no more is written down than there is room for`() async throws {
        let path = files.folder + "revocations"
        let change: @Sendable (inout ServerSettings) -> Void = {
            $0.revocationFile = path
            $0.maxRevocations = 3
        }
        let access = try await access(change)
        let refused = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<16 {
                let entry = entry(.token("\(number)"))
                group.addTask {
                    do throws(Problem) {
                        try access.revoke(entry)
                        return false
                    } catch {
                        return error.kind == .overloaded
                    }
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(refused == 13)
        #expect(access.counts.revocations == 3)
        #expect(try await self.access(change).counts.revocations == 3, "the server starts with the file again")
    }

    // MARK: Grants

    @Test func `what somebody leaves behind is theirs alone`() {
        let owners = [
            Grant(subject: "a").owner, Grant(tokenID: "a").owner, Grant(source: .apiKey, subject: "a").owner,
            Grant(subject: "jti a").owner, Grant(subject: "key a").owner, Grant(subject: "b").owner,
        ]
        #expect(!owners.contains(nil))
        #expect(Grant().owner == nil, "nobody can be told from another")
        #expect(Set(owners).count == owners.count, "\(owners)")
        #expect(Grant(subject: "a", tokenID: "1").owner == Grant(subject: "a", tokenID: "2").owner)
        #expect(Grant.open.owner == nil && Grant.nothing.owner == nil)
    }

    @Test func `a grant is the same if it gives the same to the same`() throws {
        let one = FilterSet([try FilterName("a")])
        let grant = Grant(source: .apiKey, subject: "ci", publish: one)
        #expect(grant.isSame(as: grant) && grant.isSame(as: Grant(source: .apiKey, subject: "ci", publish: one)))
        for other in [
            Grant(source: .token, subject: "ci", publish: one), Grant(source: .apiKey, subject: "other", publish: one),
            Grant(source: .apiKey, subject: "ci"), Grant(source: .apiKey, subject: "ci", publish: one, subscribe: one),
            Grant(source: .apiKey, subject: "ci", publish: one, manage: one),
        ] {
            #expect(!grant.isSame(as: other))
        }
    }

    @Test func `keys of different owners are different keys`() throws {
        let cache = IdempotencyCache(window: .seconds(10), limit: 10)
        func answer(_ owner: String?, _ text: String, _ body: String) throws -> IdempotencyCache.Answer {
            let key = IdempotencyKey(owner: owner, text: text, fingerprint: 1)
            return try cache.answer(to: key, at: .now) { () throws(Problem) -> [UInt8] in Array(body.utf8) }
        }
        #expect(try answer("alice", "k", "1") == .first(Array("1".utf8)))
        #expect(try answer("bob", "k", "2") == .first(Array("2".utf8)))
        #expect(try answer(nil, "k", "3") == .first(Array("3".utf8)))
        #expect(try answer(nil, "alicek", "4") == .first(Array("4".utf8)))
        #expect(try answer("alice", "k", "5") == .repeated(Array("1".utf8)))
    }

    // MARK: API keys

    @Test func `a key whose entry was changed is another, one that was kept is not`() throws {
        func entry(_ name: String, _ key: String, _ publish: [String]) throws -> String {
            APIKeys.entry(
                name: name, key: key, publish: FilterSet(try publish.map { try FilterName($0) }), subscribe: .none,
                manage: .none)
        }
        let made = (0..<5).map { _ in APIKeys.make() }
        var settings = ServerSettings()
        settings.apiKeyFile = try files.write(
            "keys.yaml", try (0..<4).map { try entry("\($0)", made[$0], ["a"]) }.joined())
        let keys = try APIKeys(settings, TestTokens.logger)
        #expect(!keys.takeChange())
        let grants = try (0..<4).map { number in try #require(made[number].withBytes { keys.grant(for: $0) }) }
        #expect(grants.allSatisfy { keys.has($0) })
        #expect(!keys.has(Grant(source: .apiKey, subject: "0")))
        // The first stays, the second gets other rights, the third another secret; the fourth goes.
        try files.write(
            "keys.yaml",
            try entry("0", made[0], ["a"]) + entry("1", made[1], ["b"]) + entry("2", made[4], ["a"]))
        keys.reload(because: "a test")
        #expect(grants.map { keys.has($0) } == [true, false, false, false])
        #expect(keys.takeChange())
        #expect(!keys.takeChange(), "it is told once")
        try files.write("keys.yaml", "[")
        keys.reload(because: "a test")
        #expect(!keys.takeChange() && keys.has(grants[0]), "a bad file changes nothing")
    }

    // MARK: Texts

    @Test func `a reader's id is 32 digits that only it has`() {
        let ids = (0..<1000).map { _ in ReaderID() }
        #expect(Set(ids).count == ids.count)
        for id in ids {
            #expect(id.description.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) })
            #expect(id.description.utf8.count == 32)
            #expect(ReaderID(id.description) == id)
        }
    }

    @Test(arguments: [
        "", "0", String(repeating: "0", count: 31), String(repeating: "0", count: 33),
        String(repeating: "A", count: 32),
        "+" + String(repeating: "0", count: 31), "-" + String(repeating: "0", count: 31),
        String(repeating: "0", count: 16) + "+" + String(repeating: "0", count: 15), String(repeating: "g", count: 32),
        " " + String(repeating: "0", count: 31), String(repeating: "0", count: 31) + " ",
        String(repeating: "é", count: 16),
        "00000000-0000-0000-0000-000000000000", "0x" + String(repeating: "0", count: 30),
    ])
    func `no other text is an id`(text: String) {
        #expect(ReaderID(text) == nil)
    }

    @Test func `leading zeros are part of an id`() {
        for text in [
            String(repeating: "0", count: 32),
            "0" + String(repeating: "f", count: 16) + String(repeating: "0", count: 15),
        ] {
            #expect(ReaderID(text)?.description == text)
        }
    }

    @Test func `a problem's members and challenge stand by themselves`() throws {
        let problem = Problem(.expired)
        let members = String(decoding: problem.members, as: UTF8.self)
        #expect(members.hasPrefix(#""type":"/problems/expired-token","title":"#) && members.hasSuffix("\""))
        #expect(Array("{\(members)}".utf8) == problem.response.body)
        let header = problem.response.headers.first { $0.name == "WWW-Authenticate" }
        #expect(header?.value == #"Bearer realm="herald", error="invalid_token""#)
        #expect(!Problem(.badTopic, "x").response.headers.contains { $0.name == "WWW-Authenticate" })
        #expect(Problem(.keysUnavailable).challenge == nil)
        #expect(Problem(Grant(), mayNot: "x").challenge == .insufficient)
        #expect(Problem(.nothing, mayNot: "x").kind == .unauthorized)
    }
}
