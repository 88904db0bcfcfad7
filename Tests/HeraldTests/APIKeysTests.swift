import Foundation
import HeraldCore
import Testing

@testable import Herald

@Suite struct APIKeysTests {
    private let files: TestFiles

    init() throws { files = try TestFiles() }

    private func keys(_ text: String) throws -> APIKeys {
        var settings = ServerSettings()
        settings.apiKeyFile = try files.write("keys.yaml", text)
        return try APIKeys(settings, TestTokens.logger)
    }

    private func grant(_ keys: APIKeys, _ key: String) -> Grant? { key.withBytes { keys.grant(for: $0) } }

    @Test func `a key that was made grants what its entry says`() throws {
        let (key, entry) = try APIKeyMaker.make(name: "ci \"1\"", publish: ["a/**"], subscribe: ["b", "*"], manage: [])
        let (other, second) = try APIKeyMaker.make(name: "two", publish: [], subscribe: [], manage: ["**"])
        #expect(!entry.contains(key))
        let keys = try keys(entry + second)
        let grant = try #require(self.grant(keys, key))
        #expect((grant.subject, grant.source, grant.expiry) == ("ci \"1\"", .apiKey, nil))
        #expect(grant.publish.filters.map(\.text) == ["a/**"])
        #expect(grant.subscribe.filters.map(\.text) == ["b", "*"])
        #expect(grant.manage.isEmpty)
        #expect(self.grant(keys, other)?.manage.isEverything == true)
        #expect(keys.count == 2 && keys.isConfigured)
    }

    @Test func `keys are long and never the same`() {
        let made = (0..<100).map { _ in APIKeys.make() }
        #expect(Set(made).count == 100)
        #expect(made.allSatisfy { $0.hasPrefix("hk_") && Base64URL.decode($0.utf8.dropFirst(3))?.count == 32 })
        #expect(made.allSatisfy { $0.utf8.count == APIKeys.textLength })
    }

    @Test func `what is not exactly a key grants nothing`() throws {
        let (key, entry) = try APIKeyMaker.make(name: "ci", publish: ["a"], subscribe: [], manage: [])
        let keys = try keys(entry)
        let flipped = String(key.dropLast()) + (key.hasSuffix("A") ? "B" : "A")
        for wrong in ["", "hk_", String(key.dropLast()), key + "A", "hk-" + key.dropFirst(3), flipped, APIKeys.make()] {
            #expect(grant(keys, wrong) == nil)
        }
    }

    @Test func `a file that is read again replaces the keys, and a bad one does not`() throws {
        let (old, oldEntry) = try APIKeyMaker.make(name: "old", publish: ["a"], subscribe: [], manage: [])
        let (new, newEntry) = try APIKeyMaker.make(name: "new", publish: ["a"], subscribe: [], manage: [])
        let keys = try keys(oldEntry)
        try files.write("keys.yaml", newEntry + "- name: [")
        keys.reload(because: "a test")
        #expect(grant(keys, old) != nil)
        try files.write("keys.yaml", newEntry)
        keys.reload(because: "a test")
        #expect(grant(keys, old) == nil)
        #expect(grant(keys, new) != nil)
        try files.write("keys.yaml", "")
        keys.reload(because: "a test")
        #expect(keys.count == 0)
    }

    @Test func `a file that changes is read again by itself`() async throws {
        let keys = try keys("")
        let running = Task { await keys.run() }
        let (key, entry) = try APIKeyMaker.make(name: "ci", publish: [], subscribe: [], manage: [])
        try files.write("keys.yaml", entry)
        while grant(keys, key) == nil { try await Task.sleep(for: .milliseconds(50)) }
        running.cancel()
        await running.value
    }

    private static let digest = String(repeating: "0", count: 64)

    @Test(arguments: [
        ("a: b", "is no list"), ("- a", "line 1: is no mapping"), ("- name: a", "sha256 is missing"),
        ("- sha256: \(digest)", "name is missing"), ("- {name: a, sha256: hk_abc}", "not 64 hexadecimal digits"),
        ("- {name: a, sha256: \(digest), publsh: [a]}", "\"publsh\" is no key"),
        ("- {name: a, sha256: \(digest), publish: a}", "publish is no list"),
        ("- {name: a, sha256: \(digest), publish: [a//b]}", "\"a//b\": segment 2 is empty"),
        ("- {name: a, sha256: \(digest), publish: [[a]]}", "is empty"),
        ("- {name: a, sha256: \"\(digest)\"}\n- {name: a, sha256: \"1\(digest.dropFirst())\"}", "another key has it"),
        ("- {name: a, sha256: \"\(digest)\"}\n- {name: b, sha256: \"\(digest)\"}", "line 2: another entry"),
        ("- {name: a, name: b, sha256: \"\(digest)\"}", "is no YAML"), ("[", "is no YAML"),
    ])
    func `what is wrong in a file is named with its line`(text: String, reason: String) {
        let failure = #expect(throws: StartFailure.self) { try keys(text) }
        #expect(failure?.description.contains(reason) == true, "\(failure?.description ?? "")")
    }

    @Test func `without a file there are no keys`() throws {
        let keys = try APIKeys(ServerSettings(), TestTokens.logger)
        #expect(!keys.isConfigured)
        #expect(grant(keys, APIKeys.make()) == nil)
    }
}
