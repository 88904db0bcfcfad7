import Testing

@testable import Herald

private func read(_ flags: [String: [String]]) async throws(SettingsRefused) -> LoadedSettings {
    try await SettingsReader(flags: flags, environment: [:], file: nil, validateFilter: { _ in nil }).read()
}

@Suite struct AccessSettingTests {
    @Test(arguments: ["token-secret-file", "token-key-file", "api-key-file"])
    func `who can be told apart may come from other machines`(key: String) async throws {
        let settings = try await read(["listen": ["0.0.0.0:80"], key: ["/file"]]).settings
        #expect(settings.isAuthenticationConfigured)
        #expect(settings.areTokensConfigured == (key != "api-key-file"))
    }

    @Test func `a key set's URL is enough, too`() async throws {
        let loaded = try await read(["listen": ["0.0.0.0:80"], "token-jwks": ["https://a.test/keys"]])
        #expect(loaded.settings.isAuthenticationConfigured)
        #expect(loaded.warnings.isEmpty)
    }

    @Test func `names and leeway alone tell nobody apart`() async throws {
        let flags = ["token-issuer": ["us"], "token-audience": ["them"], "token-leeway": ["1s"]]
        let loaded = try await read(flags)
        #expect(!loaded.settings.isAuthenticationConfigured)
        #expect(loaded.warnings.count == 3)
        #expect(loaded.warnings.allSatisfy { $0.hasSuffix("without token-secret-file, token-key-file or token-jwks") })
        let refresh = try await read(["token-jwks-refresh": ["1m"], "token-key-file": ["/file"]])
        #expect(refresh.warnings == ["token-jwks-refresh (--token-jwks-refresh): means nothing without token-jwks"])
    }

    @Test(arguments: ["http://127.0.0.1:8080/keys", "https://a.test/keys?x=1", "HTTPS://a.test"])
    func `a key set's URL is one of HTTP`(url: String) async throws {
        #expect(try await read(["token-jwks": [url]]).settings.tokenJWKS == url)
    }

    @Test(arguments: [
        "", "a.test/keys", "file:///keys", "ftp://a.test", "https://", "https:///keys", "https://me:secret@a.test/keys",
        "https://me@a.test", "https://a.test/#keys", "https://a.test/a b", "https://\u{E4}.test",
    ])
    func `anything else is refused`(url: String) async {
        await #expect(throws: SettingsRefused.self) { try await read(["token-jwks": [url]]) }
    }

    @Test func `a name has bounds`() async throws {
        let longest = String(repeating: "x", count: 1024)
        #expect(try await read(["token-issuer": [longest]]).settings.tokenIssuer == longest)
        for text in ["", longest + "x"] {
            await #expect(throws: SettingsRefused.self) { try await read(["token-audience": [text]]) }
        }
    }
}
