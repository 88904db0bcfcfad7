import HeraldCore
import Testing

@testable import Herald

@Suite struct OriginTests {
    @Test(arguments: [
        ("https://app.example", "https://app.example"), ("HTTPS://App.Example:443", "https://app.example"),
        ("http://localhost:5173", "http://localhost:5173"), ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"), ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"), ("https://10.0.0.1:65535", "https://10.0.0.1:65535"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"), ("app+x.y-1://a_b", "app+x.y-1://a_b"),
    ])
    func `an origin has one form`(text: String, form: String) throws {
        let origin = try #require(Origin(text))
        #expect(origin.description == form)
        #expect(origin == Origin(form) && AllowedOrigin(text) == .one(origin))
    }

    @Test(arguments: [
        "", "null", "*", "https", "https://", "app.example", "//app.example", "https:app.example",
        "https://app.example/", "https://app.example/a", "https://app.example?a", "https://app.example#a",
        "https://user@app.example", "https://app.example:", "https://app.example:0", "https://app.example:65536",
        "https://app.example:x", "https://app.example:+1", "https://app.example: 1", "https://app.example:443:443",
        " https://app.example", "https://app.example ", "https://app.example,https://b.example",
        "https://bücher.example",
        "https://*.example", "https://a b", "https://[::1", "https://::1", "https://[]", "https://[app.example]",
        "https://[::1]x", "https://[::1]:", "1http://a", "ht_tp://a", "https://a\u{0}b", "https://a\"><script>",
        "https://%61pp.example", "https://https://app.example",
    ])
    func `anything else is no origin`(text: String) {
        #expect(Origin(text) == nil)
    }

    @Test func `an entry may be all, or none of its own`() {
        #expect(AllowedOrigin("*") == .any && AllowedOrigin("null") == .null)
        #expect(AllowedOrigin("NULL") == nil && AllowedOrigin("**") == nil && AllowedOrigin("") == nil)
    }

    /// Behind a proxy that ends TLS, a page of https sends requests that come without.
    @Test(arguments: [
        ("http://a.example", "a.example", false, true), ("http://a.example", "A.EXAMPLE", false, true),
        ("http://a.example", "a.example:80", false, true), ("https://a.example", "a.example", false, true),
        ("https://a.example", "a.example:443", false, true), ("https://a.example", "a.example:443", true, true),
        ("https://a.example", "a.example", true, true), ("http://a.example:81", "a.example:81", false, true),
        ("http://[::1]:8080", "[::1]:8080", false, true), ("http://127.0.0.1:8080", "127.0.0.1:8080", false, true),
        // Another host, another port.
        ("http://b.example", "a.example", false, false), ("http://a.example.b", "a.example", false, false),
        ("http://a.example", "a.example.b", false, false), ("http://a.example:8080", "a.example", false, false),
        ("http://a.example", "a.example:8080", false, false), ("http://a.example", "a.example:443", false, false),
        ("https://a.example", "a.example:80", false, false), ("http://localhost:1", "127.0.0.1:1", false, false),
        // What came over TLS was not sent by a page of http, unless somebody is on the way.
        ("http://a.example", "a.example", true, false), ("http://a.example:443", "a.example:443", true, false),
        // No page of HTTP at all, and no host.
        ("chrome-extension://a.example", "a.example", false, false), ("ws://a.example", "a.example", false, false),
        ("http://a.example", "", false, false), ("http://a.example", "a.example:", false, false),
    ])
    func `a page is the server's own by host and port`(origin: String, host: String, isSecure: Bool, isOwn: Bool) throws
    {
        #expect(try #require(Origin(origin)).isOwn(host: host, isSecure: isSecure) == isOwn)
        #expect(
            OriginPolicy([]).caller(origin: origin, host: host, isSecure: isSecure) == (isOwn ? .own : .refused))
    }
}

@Suite struct OriginPolicyTests {
    private func policy(_ texts: String...) -> OriginPolicy { OriginPolicy(texts.compactMap(AllowedOrigin.init)) }

    private func caller(_ policy: OriginPolicy, _ origin: String, host: String? = "herald.example")
        -> OriginPolicy.Caller
    {
        policy.caller(origin: origin, host: host, isSecure: false)
    }

    @Test func `pages of a list are told apart by their places in it`() {
        let policy = policy("https://a.example", "http://b.example:80", "https://a.example:443")
        #expect(caller(policy, "https://a.example") == .allowed(0))
        #expect(caller(policy, "HTTPS://A.EXAMPLE:443") == .allowed(0))
        #expect(caller(policy, "http://b.example") == .allowed(1))
        #expect(caller(policy, "http://herald.example") == .own)
        for origin in ["http://a.example", "https://a.example:8443", "https://x.a.example", "https://a.example.b", ""] {
            #expect(caller(policy, origin) == .refused)
        }
    }

    @Test func `a page without an origin needs an entry`() {
        #expect(caller(policy("https://a.example"), "null") == .refused)
        #expect(caller(policy("https://a.example", "null"), "null") == .allowed(1))
        #expect(caller(policy("*"), "null") == .own)
    }

    @Test func `what is no origin is refused unless all are allowed`() {
        for origin in ["", "*", "nonsense", "https://a.example, https://b.example"] {
            #expect(caller(policy("https://a.example", "null"), origin) == .refused)
            #expect(caller(policy("*"), origin) == .own)
        }
    }

    @Test func `without a host no page is the server's own`() {
        #expect(caller(policy(), "http://herald.example", host: nil) == .refused)
        #expect(caller(policy("http://herald.example"), "http://herald.example", host: nil) == .allowed(0))
    }

    @Test func `the headers of a preflight are those of the API, and a CloudEvent's attributes`() {
        #expect(
            Preflight.attributes(in: "Content-Type, CE-Id,ce-mytrace9 , ce-, ce-a_b, ce-a:b, x-ce-a, ce-ü")
                == ["ce-id", "ce-mytrace9"])
    }
}

@Suite struct AnswerHeadersTests {
    private func blocks(_ origins: [String], credentials: Bool = false) -> (AnswerHeaders.Situation) -> String {
        var settings = ServerSettings()
        settings.allowedOrigins = origins.compactMap(AllowedOrigin.init)
        settings.allowCredentials = credentials
        let headers = AnswerHeaders(settings)
        return { headers.blocks[$0.index] }
    }

    private func lines(_ block: String) -> Set<String> {
        Set(block.split(separator: "\r\n").map(String.init))
    }

    @Test func `an allowed page is named in its answers alone`() {
        let blocks = blocks(["https://a.example", "null"], credentials: true)
        for isPost in [false, true] {
            let first = lines(blocks(.init(audience: .page(0), isPost: isPost)))
            #expect(
                first.isSuperset(of: [
                    "Access-Control-Allow-Origin: https://a.example", "Access-Control-Allow-Credentials: true",
                    "Access-Control-Expose-Headers: ETag, Herald-Cursor, Retry-After, WWW-Authenticate", "Vary: Origin",
                ]))
            #expect(
                lines(blocks(.init(audience: .page(1), isPost: isPost))).contains("Access-Control-Allow-Origin: null"))
            let own = blocks(.init(audience: .own, isPost: isPost))
            #expect(lines(own).contains("Vary: Origin") && !own.contains("Access-Control"))
            let other = blocks(.init(audience: .everybody, isPost: isPost))
            #expect(!other.contains("Vary") && !other.contains("Access-Control"))
        }
    }

    @Test func `where all pages are allowed answers say so to everyone, and do not vary`() {
        let own = blocks(["*"])(.init(audience: .own))
        #expect(lines(own).contains("Access-Control-Allow-Origin: *"))
        #expect(!own.contains("Vary") && !own.contains("Credentials"))
    }

    @Test func `without a list nothing is said of pages`() {
        let own = blocks([])(.init(audience: .own))
        #expect(!own.contains("Vary") && !own.contains("Access-Control"))
    }

    @Test func `no answer is taken for another type, and none is given to pages of other sites`() {
        let isolation = "Cross-Origin-Resource-Policy: same-origin"
        for (origins, isOpen) in [([], false), (["https://a.example"], false), (["*"], true)] {
            let blocks = blocks(origins)
            var audiences: [(AnswerHeaders.Situation.Audience, isForOthers: Bool)] = [
                (.everybody, false), (.own, isOpen), (.importers, true),
            ]
            audiences += origins.indices.map { (.page($0), true) }
            for (audience, isForOthers) in audiences {
                let (read, post) = (blocks(.init(audience: audience)), blocks(.init(audience: audience, isPost: true)))
                #expect(lines(read).contains("X-Content-Type-Options: nosniff"))
                #expect(lines(post).contains("X-Content-Type-Options: nosniff"))
                #expect(lines(read).contains(isolation) != isForOthers && !lines(post).contains(isolation))
            }
        }
    }

    @Test func `HTTPS is asked for in answers over TLS, for whole seconds`() {
        var settings = ServerSettings()
        for (time, line) in [
            (Duration.zero, nil), (.milliseconds(999), nil), (.seconds(1), "max-age=1"),
            (.seconds(86_400), "max-age=86400"),
        ] {
            settings.hsts = time
            let blocks = AnswerHeaders(settings).blocks
            for audience in [.everybody, .own] as [AnswerHeaders.Situation.Audience] {
                for isPost in [false, true] {
                    let secure = lines(
                        blocks[AnswerHeaders.Situation(audience: audience, isPost: isPost, isSecure: true).index])
                    let plain = blocks[AnswerHeaders.Situation(audience: audience, isPost: isPost).index]
                    #expect(secure.first { $0.hasPrefix("Strict") } == line.map { "Strict-Transport-Security: \($0)" })
                    #expect(!plain.contains("Strict"))
                }
            }
        }
    }

    @Test func `each situation has a block of its own`() {
        var settings = ServerSettings()
        settings.allowedOrigins = [.null, .any]
        var indices: Set<Int> = []
        for audience in [.everybody, .own, .importers, .page(0), .page(1)] as [AnswerHeaders.Situation.Audience] {
            for (isPost, isSecure) in [(false, false), (false, true), (true, false), (true, true)] {
                let situation = AnswerHeaders.Situation(audience: audience, isPost: isPost, isSecure: isSecure)
                indices.insert(situation.index)
            }
        }
        #expect(indices.sorted() == Array(AnswerHeaders(settings).blocks.indices))
    }
}

@Suite struct OriginSettingTests {
    private func read(_ flags: [String: [String]], _ environment: [String: String] = [:]) async -> (
        LoadedSettings?, [String]
    ) {
        let reader = SettingsReader(flags: flags, environment: environment, validateFilter: { _ in nil })
        do {
            return (try await reader.read(), [])
        } catch {
            return (nil, error.mistakes.map(\.description))
        }
    }

    @Test func `origins are kept in one form`() async throws {
        let (loaded, mistakes) = await read(["allowed-origins": ["HTTPS://A.example:443", "null"]])
        #expect(mistakes.isEmpty)
        #expect(loaded?.settings.allowedOrigins.map(\.description) == ["https://a.example", "null"])
    }

    @Test func `credentials are not for all pages`() async {
        let (_, mistakes) = await read(["allowed-origins": ["*"], "allow-credentials": ["true"]])
        #expect(mistakes.count == 1)
        #expect(mistakes.first?.hasPrefix("allow-credentials (--allow-credentials): is not possible with *") == true)
    }

    @Test func `credentials without origins are a warning`() async throws {
        let (loaded, _) = await read(["allow-credentials": ["true"]])
        #expect(
            loaded?.warnings == ["allow-credentials (--allow-credentials): means nothing without allowed-origins"])
        let (other, _) = await read(["allow-credentials": ["true"], "allowed-origins": ["https://a.example"]])
        #expect(other?.warnings == [])
    }

    @Test func `there may be a thousand origins, and not one more`() async {
        let origins = (0...1000).map { "https://a\($0).example" }
        #expect(await read(["allowed-origins": Array(origins.dropLast())]).1.isEmpty)
        let mistakes = await read(["allowed-origins": origins]).1
        #expect(mistakes == ["allowed-origins (--allowed-origins): names 1001; expected at most 1000"])
    }
}
