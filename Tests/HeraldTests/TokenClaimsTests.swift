import HeraldCore
import Testing

@testable import Herald

private func claims(_ payload: String) throws(TokenFault) -> TokenClaims { try TokenClaims(Array(payload.utf8)) }

private func filters(_ set: FilterSet) -> [String] { set.filters.map(\.text) }

@Suite struct TokenClaimsTests {
    @Test func `all claims are read`() throws {
        let read = try claims(
            """
            {"sub":"alice","jti":"7","iss":"us","aud":["them","others"],"iat":1,"nbf":2,"exp":3,
             "herald":{"publish":["a/*"],"subscribe":["a/**","b"],"manage":["**"],"later":1}}
            """)
        let grant = read.grant
        #expect((grant.subject, grant.tokenID) == ("alice", "7"))
        #expect((grant.issuedAt, grant.notBefore, grant.expiry) == (1, 2, 3))
        #expect(read.issuer == "us")
        #expect(read.audience == ["them", "others"])
        #expect(filters(grant.publish) == ["a/*"])
        #expect(filters(grant.subscribe) == ["a/**", "b"])
        #expect(filters(grant.manage) == ["**"])
    }

    @Test func `what is not granted is not there`() throws {
        let grant = try claims(#"{"herald":{}}"#).grant
        #expect(grant.publish.isEmpty && grant.subscribe.isEmpty && grant.manage.isEmpty)
        #expect(grant.expiry == nil && grant.subject == nil)
    }

    @Test(arguments: [
        ("1700000000", 1_700_000_000, 1_700_000_000), ("1700000000.9", 1_700_000_000, 1_700_000_001),
        ("1.7e9", 1_700_000_000, 1_700_000_000), ("-1.5", -2, -1),
    ])
    func `a fraction of a second never lengthens a token's life`(text: String, expiry: Int64, begin: Int64) throws {
        let grant = try claims(#"{"exp":\#(text),"nbf":\#(text),"herald":{}}"#).grant
        #expect(grant.expiry == expiry)
        #expect(grant.notBefore == begin)
    }

    @Test(arguments: [
        (#"{"exp":"1","herald":{}}"#, "exp"), (#"{"exp":1e300,"herald":{}}"#, "exp"),
        (#"{"exp":1e999,"herald":{}}"#, "exp"), (#"{"nbf":null,"herald":{}}"#, "nbf"),
        (#"{"iat":9223372036854775808,"herald":{}}"#, "iat"), (#"{"exp":9007199254740992,"herald":{}}"#, "exp"),
        (#"{"sub":1,"herald":{}}"#, "sub"), (#"{"jti":[],"herald":{}}"#, "jti"), (#"{"iss":{},"herald":{}}"#, "iss"),
        (#"{"aud":1,"herald":{}}"#, "aud"), (#"{"aud":["a",1],"herald":{}}"#, "aud"),
        (#"{"herald":[]}"#, "herald"), (#"{"herald":null,"mercure":{}}"#, "herald"),
        (#"{"herald":{"publish":"a"}}"#, "herald.publish"), (#"{"herald":{"subscribe":[1]}}"#, "herald.subscribe"),
        (#"{"herald":{"manage":["a/**/b"]}}"#, "herald.manage"), (#"{"mercure":{"publish":{}}}"#, "mercure.publish"),
        (#"[]"#, "set"), (#"{"herald":{}"#, "set"), (#"{"sub":"a","sub":"b","herald":{}}"#, "set"),
        (#"{"herald":{"publish":[],"publish":["**"]}}"#, "set"), (#"{"herald":{},"her\u0061ld":{}}"#, "set"),
    ])
    func `a malformed claim is named`(payload: String, name: String) {
        let fault = #expect(throws: TokenFault.self) { try claims(payload) }
        guard case .claim(name, _)? = fault else {
            Issue.record("\(payload): \(fault?.text ?? "nothing is wrong")")
            return
        }
    }

    @Test func `a malformed filter is shown escaped and bounded`() throws {
        let filter = #"a\u001b"# + String(repeating: "x", count: 5000)
        let fault = try #require(
            #expect(throws: TokenFault.self) { try claims(#"{"herald":{"publish":["\#(filter)"]}}"#) })
        #expect(fault.text.contains(#"item 1, "a\u001bxxx"#))
        #expect(fault.text.utf8.count < 250)
    }

    @Test func `lists and texts are bounded`() throws {
        func payload(_ count: Int) -> String {
            #"{"herald":{"publish":[\#((0..<count).map { "\"t\($0)\"" }.joined(separator: ","))]}}"#
        }
        #expect(try claims(payload(1000)).grant.publish.filters.count == 1000)
        #expect(throws: TokenFault.claim("herald.publish", "has more than 1000 items")) { try claims(payload(1001)) }
        func subject(_ count: Int) -> String { #"{"sub":"\#(String(repeating: "s", count: count))","herald":{}}"# }
        #expect(try claims(subject(1024)).grant.subject?.utf8.count == 1024)
        #expect(throws: TokenFault.claim("sub", "is longer than 1024 bytes")) { try claims(subject(1025)) }
    }

    @Test func `a token without rights is of no use`() {
        #expect(throws: TokenFault.noRights) { try claims(#"{"sub":"alice"}"#) }
    }

    @Test(arguments: [
        ("*", "**"), ("books/1", "books/1"), ("books/{id}", "books/*"), ("{a}/x/{b_2.c}", "*/x/*"), ("{x}", "*"),
        ("https://example.com/books/1", nil), ("books/*", nil), ("**", nil), ("books/{id}.json", nil),
        ("books{/id}", nil), ("{+path}", nil), ("a/{b,c}", nil), ("a/{b:3}", nil), ("a/{b*}", nil), ("a/{}", nil),
        ("", nil),
    ])
    func `a selector of Mercure is a filter or nothing`(selector: String, filter: String?) throws {
        let grant = try claims(#"{"mercure":{"publish":["\#(selector)"],"subscribe":["\#(selector)"]}}"#).grant
        #expect(filters(grant.publish) == (filter.map { [$0] } ?? []))
        #expect(filters(grant.subscribe) == filters(grant.publish))
        #expect(grant.manage.isEmpty)
    }

    @Test func `Mercure's claim never lets anybody manage, and gives way to Herald's`() throws {
        #expect(try claims(#"{"mercure":{"manage":["*"]}}"#).grant.manage.isEmpty)
        let both = try claims(#"{"herald":{"publish":["a"]},"mercure":{"publish":["*"],"subscribe":["*"]}}"#).grant
        #expect(filters(both.publish) == ["a"])
        #expect(both.subscribe.isEmpty)
    }
}

@Suite struct Base64URLTests {
    @Test func `what is written is read`() {
        var bytes: [UInt8] = []
        for byte in 0..<200 {
            #expect(Base64URL.decode(Base64URL.encode(bytes).utf8) == bytes)
            bytes.append(UInt8(truncatingIfNeeded: byte &* 89))
        }
        #expect(Base64URL.encode([0xFB, 0xFF]) == "-_8")
    }

    @Test(arguments: ["A", "AB", "ABC", "AA=", "AA==", "A+", "A/", "A A", "AAAAA", "\u{E4}A"])
    func `what would not be written so is not read`(text: String) {
        #expect(Base64URL.decode(text.utf8) == nil)
    }
}
